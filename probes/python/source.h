// The source text of a module, by the file name in its code object.
#pragma once

#include <string>

#include "probes/python/compat.h"

namespace watcher::python {

/// A bytes object with the file's content: from the file itself, or from the zip archive it lies in. Empty: not to be had
/// (no exception is left; a module without source runs as it is).
Ref read_source(const std::string& path);

}  // namespace watcher::python

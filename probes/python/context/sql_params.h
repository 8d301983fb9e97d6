// A statement's parameters as a bounded text, recorded only on request. Secrets are left out by name.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <string_view>

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

inline constexpr std::size_t kMaxParamsBytes = 1024;

/// Writes the parameters, returns the bytes written. A value whose key names a secret is written as `***`; without
/// keys, all values of a statement that mentions such a name are. Runs no code of the host.
std::size_t describe_params(std::string_view statement, PyObject* params, char (&room)[kMaxParamsBytes]);

}  // namespace watcher::python

// Inserts a post-hook behind every binding of a watched name: `x = e` becomes `x = e; hook(x)`, in the interpreter's
// own syntax tree. Never `x = hook(e)`: that would cost CPython its in-place string concatenation and change line
// tables.
//
// The hook stands in the tree as a marker string, "\0watcher:<n>", which load_hooks replaces by the callable in the
// code object's constants: nothing enters the module's names or builtins.
//
// Threads: the GIL is held.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "probes/python/names/names.h"
#include "probes/python/names/rules.h"

namespace watcher::python {

inline constexpr std::string_view kMarker{"\0watcher:", 9};

struct Transformed {
  std::vector<std::unique_ptr<Site>> sites;  // indexed by the marker's number
  bool changed() const { return !sites.empty(); }
};

/// Rewrites `tree` in place. `statement`: it is one of several that run in the same namespace, as at a prompt. False: a
/// Python exception is set and the tree must not be used.
bool transform(PyObject* tree, std::string_view source, const RuleSet& rules, bool statement, Transformed* out);

}  // namespace watcher::python

// Which names of a module are assigned from watch(): found in its syntax tree, so that every other binding of the same
// variable can be hooked too. Whether a value really came from watch() is decided when the line runs.
//
// Threads: the GIL is held.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "probes/python/transform/ast_nodes.h"

namespace watcher::python {

/// `global` and `nonlocal` declarations of one function or class body (nested ones excluded).
struct Declarations {
  std::set<std::string, std::less<>> globals;
  std::set<std::string, std::less<>> nonlocals;
};
Declarations declarations_of(PyObject* scope_node);

class WatchCalls {
 public:
  using Names = std::set<std::string, std::less<>>;

  /// Reads the tree; nothing to find unless the source says "watcher".
  void scan(PyObject* tree);
  /// The same for what is typed at a prompt or is a cell: what earlier ones imported counts, and is kept for later
  /// ones.
  void scan_statement(PyObject* tree);

  bool any() const { return !functions_.empty() || !modules_.empty(); }
  /// Is this expression a call of watch()?
  bool is_watch_call(PyObject* expression) const;
  bool global(std::string_view name) const { return globals_.find(name) != globals_.end(); }
  /// `scope` is the FunctionDef, Lambda or ClassDef node that owns the variable.
  bool local(PyObject* scope, std::string_view name) const;

 private:
  void find_imports(PyObject* node);
  void find_bindings(PyObject* node, std::vector<PyObject*>& scopes);
  void bound(PyObject* target, const std::vector<PyObject*>& scopes);

  Names functions_;  // what `watch` is called here
  Names modules_;    // what the module `watcher` is called here
  Names globals_;
  std::map<PyObject*, Names> locals_;
  std::set<PyObject*> tracking_;  // functions with a call that says track_locals
};

/// Has a statement at a prompt imported watch()?
bool watch_was_imported();

}  // namespace watcher::python

// The walk over one module's syntax tree that inserts the hooks; see transform.h. Internal to the transform.
//
// Threads: the GIL is held.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "probes/python/transform/ast_nodes.h"
#include "probes/python/transform/transform.h"
#include "probes/python/transform/watch_calls.h"

namespace watcher::python {

/// One function, lambda, class body or the module, while it is being rewritten.
struct LexicalScope {
  enum Kind : std::uint8_t { kModule, kFunction, kClass, kComprehension };
  Kind kind = kModule;
  LexicalScope* parent = nullptr;
  PyObject* node = nullptr;
  std::string qualified;  // __qualname__, "" for the module
  Declarations declared;
  bool has_sites = false;  // variables of its own are hooked: it needs an entry hook
  std::shared_ptr<Comprehension> comprehension = nullptr;
};

/// A name and the node whose line its store has (borrowed from the tree).
struct Binding {
  std::string name;
  PyObject* at;
};
using Bindings = std::deque<Binding>;

/// Where a node hangs: a field of its parent, or an element of a list.
struct Place {
  PyObject* holder;
  const char* field;  // null: the list's element
  ssize_t index;
  Ref get() const;
  bool set(PyObject* node) const;
};

/// A name that was bound by a target and has not been told yet.
struct Pending {
  Binding binding;
  Place place;
  bool seen = false;  // code that ran since may have read it
};
using PendingNames = std::vector<Pending>;

class Transformer {
 public:
  Transformer(std::string_view source, const RuleSet& rules, bool statement, Transformed* out);
  bool run(PyObject* tree, std::string_view source);

 private:
  // Names and sites (transform.cpp).
  bool is_global(const std::string& name, const LexicalScope& scope) const;
  LexicalScope& owner_of(const std::string& name, LexicalScope& scope) const;  // follows `nonlocal` outwards
  bool wanted(const std::string& name, LexicalScope& scope, bool* from_rule) const;
  Site* add_site(SiteKind kind, const std::string& name, LexicalScope& scope, int line, bool from_rule);
  /// Stands for the hook of the site added last.
  Ref make_marker(PyObject* at);
  Ref hook_call(PyObject* at, PyObject* argument);
  /// The hook of a binding as an expression placed at `at`; empty when the name is not watched.
  Ref hook(const Binding& binding, LexicalScope& scope, SiteKind kind, PyObject* at, PyObject* argument = nullptr);
  void append_hook(PyObject* list, const Binding& binding, LexicalScope& scope, SiteKind kind, PyObject* at);
  void append_call(PyObject* list, PyObject* call, const LexicalScope& scope, PyObject* at);
  void append_entry(PyObject* list, LexicalScope& scope, PyObject* at);
  LexicalScope nested(LexicalScope& scope, LexicalScope::Kind kind, PyObject* node, std::string_view name);

  // Bodies (transform.cpp).
  bool rewrite_body(PyObject* node, LexicalScope& scope, const Bindings& opening = {});
  bool rewrite_statements(PyObject* body, ssize_t first, PyObject* out, LexicalScope& scope);
  bool rewrite_block(PyObject* node, const char* attribute, LexicalScope& scope, const Bindings& opening = {},
                     PyObject* at = nullptr, SiteKind kind = SiteKind::kStore);

  // Targets and comprehensions (transform_targets.cpp).
  bool rewrite_target(const Place& place, LexicalScope& scope, SiteKind kind, PendingNames* pending);
  bool rewrite_targets(PyObject* node, const char* attribute, LexicalScope& scope, SiteKind kind,
                       PendingNames* pending);
  bool pour_into_sink(const Pending& earlier, LexicalScope& scope, SiteKind kind);
  /// `(hook(…), …, expression)[-1]`; the expression itself when nothing is pending. Empty: failed.
  Ref after_hooks(const PendingNames& pending, PyObject* expression, LexicalScope& scope, SiteKind kind);
  bool tell_before(const Place& expression, PendingNames* pending, LexicalScope& scope, SiteKind kind);

  // Unpacking that may fail (transform_unpacking.cpp).
  struct Split;
  bool put_off(const Place& place, LexicalScope& scope, Split* split);
  bool split_target(const Place& place, LexicalScope& scope, Split* split);
  /// `rest`: the statement that binds what was put off; empty when nothing was.
  bool split_targets(PyObject* node, const char* field, LexicalScope& scope, Ref* rest);
  bool split_into_body(PyObject* node, PyObject* holder, const char* field, LexicalScope& scope);
  bool guard_import(PyObject* node, PyObject* out, LexicalScope& scope);
  void append_import_hook(PyObject* list, PyObject* node, ssize_t index, LexicalScope& scope, PyObject* failed_at);
  Ref rewrite_comprehension(PyObject* node, LexicalScope& scope);
  bool rewrite_generators(PyObject* node, LexicalScope& inner);

  // Type parameters (transform_generics.cpp).
  bool add_type_parameter(PyObject* node, ssize_t index, LexicalScope& inner);
  void append_type_parameters(PyObject* list, PyObject* node, LexicalScope& inner, const std::string& holder,
                              PyObject* at);
  bool decorate_with_type_parameters(PyObject* node, LexicalScope& inner);

  // Statements and expressions (transform_statements.cpp).
  bool rewrite_statement(PyObject* statement, PyObject* out, LexicalScope& scope);
  bool rewrite_statement_itself(PyObject* statement, PyObject* out, LexicalScope& scope);
  bool append_check(PyObject* out, PyObject* node, LexicalScope& scope);
  bool append_attribute_hooks(PyObject* target, PyObject* out, LexicalScope& scope);
  bool rewrite_assignment(PyObject* node, PyObject* out, LexicalScope& scope);
  bool rewrite_function(PyObject* node, PyObject* out, LexicalScope& scope);
  bool rewrite_class(PyObject* node, PyObject* out, LexicalScope& scope);
  bool rewrite_for(PyObject* node, LexicalScope& scope);
  bool rewrite_with(PyObject* node, LexicalScope& scope);
  bool rewrite_try(PyObject* node, LexicalScope& scope);
  bool rewrite_match(PyObject* node, LexicalScope& scope);
  bool rewrite_delete(PyObject* node, PyObject* out, LexicalScope& scope);
  bool rewrite_import(PyObject* node, PyObject* out, LexicalScope& scope);
  bool rewrite_expressions(PyObject* node, LexicalScope& scope);
  Ref rewrite_expression(PyObject* node, LexicalScope& scope);
  bool rewrite_lambda(PyObject* node, LexicalScope& scope);

  struct HandlerName {
    std::string name;
    std::int32_t id;
  };
  const RuleSet& rules_;
  Transformed* out_;
  const bool walk_expressions_;   // a walrus, lambda or comprehension may occur
  const bool checks_dictionary_;  // a statement may occur that changes globals by their dictionary, and needs a hook
  const bool statement_;          // what watch() was called for in an earlier one is watched
  bool interactive_ = false;      // each expression statement is printed
  WatchCalls calls_;
  std::vector<HandlerName> handlers_;  // `except … as name` around the current statement
  std::int32_t next_handler_ = 1;
  bool failed_ = false;
};

/// 3.13 lists the attributes that methods store, by the look of it, in the class's `__static_attributes__`.
bool is_static_attribute(PyObject* target);
/// Names bound by a `case` pattern.
void names_in_pattern(PyObject* pattern, Bindings* out);
/// What a part of an import statement binds.
Binding import_binding(PyObject* node, PyObject* alias);
/// Parameters of a FunctionDef or Lambda.
Bindings parameters_of(PyObject* node);

}  // namespace watcher::python

#include "probes/python/transform/transform.h"

#include "probes/python/transform/transformer.h"

namespace watcher::python {
namespace {

bool is_docstring(PyObject* statement) {
  if (kind_of(statement) != Node::kExpr) return false;
  Ref value = get(statement, "value");
  if (!value || kind_of(value.get()) != Node::kConstant) return false;
  Ref text = get(value.get(), "value");
  return text && text.get()->type == &PyUnicode_Type;
}

bool is_future_import(PyObject* statement) {
  return kind_of(statement) == Node::kImportFrom && get_text(statement, "module") == "__future__";
}

/// Statements that leave no instruction and so no line: an entry hook there would be traced where nothing ran before.
bool leaves_no_line(PyObject* statement, bool in_function) {
  const Node kind = kind_of(statement);
  if (kind == Node::kGlobal || kind == Node::kNonlocal) return true;
  if (kind == Node::kAnnAssign) return in_function && !get(statement, "value");
  if (compat.minor >= 10) return false;  // 3.10+ keeps the line of `pass` and of a lone constant
  Ref value = get(statement, "value");
  if (kind == Node::kPass) return true;
  if (kind != Node::kExpr) return false;
  return value && kind_of(value.get()) == Node::kConstant;
}

bool all_constant(const Ref& list) {
  for (ssize_t i = 0; i < length(list); ++i)
    if (!is_node(item(list, i)) || kind_of(item(list, i)) != Node::kConstant) return false;
  return true;
}

constexpr ssize_t kMaxOnStack = 30;  // STACK_USE_GUIDELINE: larger displays start empty

/// The part of a display, `a or b` or an f-string that is evaluated before the whole; empty when none is.
Ref first_of_display(PyObject* node) {
  if (Ref elements = get(node, "elts"); length(elements) > 0) {
    const bool tuple = kind_of(node) == Node::kTuple;
    const bool folded = all_constant(elements) && (tuple || (compat.minor >= 9 && length(elements) > 2));
    const bool starred = compat.minor >= 9 && kind_of(item(elements, 0)) == Node::kStarred;
    const bool large = compat.minor >= 10 && length(elements) > kMaxOnStack;
    return folded || starred || large ? Ref() : Ref::borrow(item(elements, 0));
  }
  Ref keys = get(node, "keys");
  Ref values = get(node, "values");
  if (!keys && length(values) > 0) return Ref::borrow(item(values, 0));
  if (length(keys) == 0 || !is_node(item(keys, 0)) || (compat.minor >= 10 && length(keys) * 2 > kMaxOnStack))
    return Ref();
  return Ref::borrow(length(keys) > 1 && all_constant(keys) ? item(values, 0) : item(keys, 0));
}

/// One step towards the expression that is evaluated first; empty at the end.
Ref evaluated_before(PyObject* node) {
  const Node kind = kind_of(node);
  if (kind == Node::kConstant || kind == Node::kName) return Ref();
  Ref decorators = get(node, "decorator_list");
  if (length(decorators) > 0) return Ref::borrow(item(decorators, 0));
  if (kind == Node::kWith || kind == Node::kAsyncWith) {
    Ref items = get(node, "items");
    return length(items) > 0 ? get(item(items, 0), "context_expr") : Ref();
  }
  if (kind == Node::kAugAssign) return get(node, "target");
  if (kind == Node::kList || kind == Node::kTuple || kind == Node::kBoolOp || kind == Node::kOther)
    if (Ref first = first_of_display(node)) return first;
  for (const char* attribute : {"value", "test", "iter", "left", "func"}) {
    Ref next = get(node, attribute);
    if (next && is_node(next.get()) && get_int(next.get(), "lineno", 0) > 0) return next;
  }
  return Ref();
}

/// The node whose line is traced first when `statement` runs: an entry hook placed there adds no line event.
Ref first_evaluated(PyObject* statement) {
  Ref at = Ref::borrow(statement);
  for (Ref next = evaluated_before(at.get()); next; next = evaluated_before(at.get())) at = static_cast<Ref&&>(next);
  return at;
}

bool may_reach_into_namespace(std::string_view source) {
  for (const char* word : {"globals", "vars(", "locals(", "exec(", "eval(", "__dict__"})
    if (source.empty() || source.find(word) != source.npos) return true;
  return false;
}

void join_comprehension(Site* site, const std::shared_ptr<Comprehension>& comprehension) {
  std::vector<std::string>& names = comprehension->names;
  std::size_t index = 0;
  while (index < names.size() && names[index] != site->text) ++index;
  if (index == names.size()) names.push_back(site->text);
  site->comprehension = comprehension;
  site->comprehension_name = index;
  comprehension->sites.push_back(site);
}

bool append_all(PyObject* out, PyObject* list) {
  for (ssize_t i = 0; i < size_of(list); ++i)
    if (PyList_Append(out, list_items(list)[i]) != 0) return false;
  return true;
}

}  // namespace

bool transform(PyObject* tree, std::string_view source, const RuleSet& rules, bool statement, Transformed* out) {
  return ast_start() && Transformer(source, rules, statement, out).run(tree, source);
}

Transformer::Transformer(std::string_view source, const RuleSet& rules, bool statement, Transformed* out)
    : rules_(rules),
      out_(out),
      walk_expressions_(source.empty() || source.find(":=") != source.npos || source.find("lambda") != source.npos ||
                        (rules.names_locals() && source.find("for") != source.npos)),
      checks_dictionary_(
          (compat.minor <= 11 ? rules.names_globals() : rules.breaks() || source.find("on_change") != source.npos) &&
          may_reach_into_namespace(source)),
      statement_(statement) {}

bool Transformer::run(PyObject* tree, std::string_view source) {
  if (statement_)
    calls_.scan_statement(tree);
  else if (source.find("watcher") != source.npos)
    calls_.scan(tree);
  interactive_ = kind_of(tree) == Node::kInteractive;
  if (rules_.empty() && !calls_.any() && !(statement_ && any_watched_global())) return true;
  LexicalScope module;
  module.node = tree;
  if (kind_of(tree) != Node::kExpression) return rewrite_body(tree, module) && !failed_;
  Ref body = get(tree, "body");
  Ref rewritten = body && walk_expressions_ ? rewrite_expression(body.get(), module) : Ref();
  return walk_expressions_ ? rewritten && set(tree, "body", rewritten.get()) && !failed_ : true;
}

bool Transformer::is_global(const std::string& name, const LexicalScope& scope) const {
  if (scope.kind == LexicalScope::kComprehension) return false;
  return scope.kind == LexicalScope::kModule || scope.declared.globals.count(name) != 0;
}

LexicalScope& Transformer::owner_of(const std::string& name, LexicalScope& scope) const {
  LexicalScope* owner = &scope;
  while (owner->declared.nonlocals.count(name) != 0 && owner->parent->kind != LexicalScope::kModule) {
    owner = owner->parent;
    while (owner->kind == LexicalScope::kClass && owner->parent->kind != LexicalScope::kModule) owner = owner->parent;
  }
  return *owner;
}

bool Transformer::wanted(const std::string& name, LexicalScope& scope, bool* from_rule) const {
  const bool global = is_global(name, scope);
  if (!global && name == "super") return false;  // reading it would give the function a `__class__` cell
  const LexicalScope& owner = owner_of(name, scope);
  *from_rule = global ? rules_.wants_global(name) : rules_.wants(name, owner.qualified, false);
  return *from_rule ||
         (global ? calls_.global(name) || (statement_ && any_watched_global(name)) : calls_.local(owner.node, name));
}

Site* Transformer::add_site(SiteKind kind, const std::string& name, LexicalScope& scope, int line, bool from_rule) {
  auto site = std::make_unique<Site>();
  site->kind = kind;
  site->declared_global = is_global(name, scope);
  site->from_rule = from_rule;
  site->text = name;
  site->function = scope.qualified.empty() ? "<module>" : scope.qualified;
  site->file = rules_.path();
  site->owner = site->file;
  site->rules = &rules_;
  if (scope.kind == LexicalScope::kComprehension && !name.empty()) join_comprehension(site.get(), scope.comprehension);
  if (!site->declared_global) site->owner += "\n" + owner_of(name, scope).qualified;
  if (scope.kind == LexicalScope::kComprehension) site->owner += ".<comprehension>";
  site->line = line;
  site->subject.scope = site->declared_global ? Scope::kGlobal : Scope::kLocal;
  for (const HandlerName& handler : handlers_)
    if ((handler.name == name || kind == SiteKind::kCheck) && scope.kind != LexicalScope::kComprehension)
      site->handlers.push_back(handler.id);
  if (!site->declared_global) scope.has_sites = true;
  out_->sites.push_back(std::move(site));
  return out_->sites.back().get();
}

Ref Transformer::make_marker(PyObject* at) {
  std::string marker(kMarker);
  marker += std::to_string(out_->sites.size() - 1);
  Ref text(PyUnicode_FromStringAndSize(marker.data(), static_cast<ssize_t>(marker.size())));
  return text ? make_constant(at, text.get()) : Ref();
}

Ref Transformer::hook_call(PyObject* at, PyObject* argument) {
  Ref function = make_marker(at);
  return function ? make_call(at, function.get(), argument) : Ref();
}

Ref Transformer::hook(const Binding& binding, LexicalScope& scope, SiteKind kind, PyObject* at, PyObject* argument) {
  bool from_rule = false;
  if (!wanted(binding.name, scope, &from_rule)) return Ref();
  add_site(kind, binding.name, scope, get_int(binding.at, "lineno", get_int(at, "lineno", 0)), from_rule);
  Ref own = argument != nullptr         ? Ref::borrow(argument)
            : kind == SiteKind::kDelete ? make_constant(at, &_Py_NoneStruct)
                                        : make_name(at, binding.name);
  Ref call = own ? hook_call(at, own.get()) : Ref();
  if (!call) failed_ = true;
  return call;
}

void Transformer::append_hook(PyObject* list, const Binding& binding, LexicalScope& scope, SiteKind kind,
                              PyObject* at) {
  Ref call = hook(binding, scope, kind, at);
  if (!call) return;
  append_call(list, call.get(), scope, at);
}

void Transformer::append_call(PyObject* list, PyObject* call, const LexicalScope& scope, PyObject* at) {
  const bool printed = interactive_ && scope.kind == LexicalScope::kModule;
  Ref statement = printed ? make_silent_statement(at, call) : make_statement(at, call);
  if (!statement || PyList_Append(list, statement.get()) != 0) failed_ = true;
}

void Transformer::append_entry(PyObject* list, LexicalScope& scope, PyObject* at) {
  add_site(SiteKind::kEnter, "", scope, 0, false);
  Ref none = make_constant(at, &_Py_NoneStruct);
  Ref call = none ? hook_call(at, none.get()) : Ref();
  if (!call) failed_ = true;
  if (call) append_call(list, call.get(), scope, at);
}

LexicalScope Transformer::nested(LexicalScope& scope, LexicalScope::Kind kind, PyObject* node, std::string_view name) {
  LexicalScope inner;
  inner.kind = kind;
  inner.parent = &scope;
  inner.node = node;
  inner.qualified = name;
  if (scope.kind != LexicalScope::kModule && scope.declared.globals.count(inner.qualified) == 0)
    inner.qualified = scope.qualified + (scope.kind == LexicalScope::kFunction ? ".<locals>." : ".") + inner.qualified;
  return inner;
}

// The new body: docstring and __future__ imports, entry hook, hooks of the `opening` bindings (parameters), the rest.
bool Transformer::rewrite_body(PyObject* node, LexicalScope& scope, const Bindings& opening) {
  Ref body = get(node, "body");
  Ref out(PyList_New(0));
  Ref parameters(PyList_New(0));
  Ref rest(PyList_New(0));
  if (!body || !out || !parameters || !rest) return false;
  const ssize_t count = length(body);
  if (count == 0) return true;
  ssize_t first = 0;
  while (first < count && ((first == 0 && is_docstring(item(body, 0))) || is_future_import(item(body, first))))
    PyList_Append(out.get(), item(body, first++));
  ssize_t shown = first;
  while (shown < count && leaves_no_line(item(body, shown), scope.kind == LexicalScope::kFunction)) ++shown;
  Ref at = first_evaluated(item(body, shown < count ? shown : count - 1));
  if (scope.kind == LexicalScope::kClass)
    append_type_parameters(parameters.get(), node, scope, "__type_params__", at.get());
  for (const Binding& binding : opening) append_hook(parameters.get(), binding, scope, SiteKind::kStore, at.get());
  if (!rewrite_statements(body.get(), first, rest.get(), scope)) return false;
  if (scope.has_sites || (scope.kind == LexicalScope::kModule && out_->changed()))
    append_entry(out.get(), scope, at.get());
  return append_all(out.get(), parameters.get()) && append_all(out.get(), rest.get()) && set(node, "body", out.get());
}

bool Transformer::rewrite_statements(PyObject* body, ssize_t first, PyObject* out, LexicalScope& scope) {
  for (ssize_t i = first; i < size_of(body); ++i) {
    PyObject* statement = list_items(body)[i];
    if (PyList_Append(out, statement) != 0 || !rewrite_statement(statement, out, scope)) return false;
  }
  return !failed_;
}

bool Transformer::rewrite_block(PyObject* node, const char* attribute, LexicalScope& scope, const Bindings& opening,
                                PyObject* at, SiteKind kind) {
  Ref body = get(node, attribute);
  if (length(body) == 0) return true;
  Ref out(PyList_New(0));
  if (!out) return false;
  for (const Binding& binding : opening) append_hook(out.get(), binding, scope, kind, at != nullptr ? at : binding.at);
  return rewrite_statements(body.get(), 0, out.get(), scope) && set(node, attribute, out.get());
}

}  // namespace watcher::python

#include "probes/python/transform/transformer.h"

namespace watcher::python {

namespace {

Bindings bindings_of(const PendingNames& pending) {
  Bindings out;
  for (const Pending& name : pending) out.push_back(name.binding);
  return out;
}

bool is_simple(PyObject* statement) {
  const Node kind = kind_of(statement);
  return kind == Node::kExpr || kind == Node::kAssign || kind == Node::kAugAssign || kind == Node::kDelete;
}

/// `globals()`, `vars()`, exec() and the like occur in it.
bool reaches_into_namespace(PyObject* node) {
  const std::string_view name = get_text(node, kind_of(node) == Node::kAttribute ? "attr" : "id");
  for (std::string_view known : {"globals", "vars", "locals", "exec", "eval", "__dict__", "__globals__"})
    if (name == known) return true;
  bool found = false;
  for_each_child(node, [&found](PyObject* child) { found = found || reaches_into_namespace(child); });
  return found;
}

bool append_import(PyObject* out, PyObject* node, PyObject* alias) {
  Ref names(PyList_New(0));
  Ref statement = names && PyList_Append(names.get(), alias) == 0 ? make_import(node, names.get()) : Ref();
  return statement && PyList_Append(out, statement.get()) == 0;
}

}  // namespace

void names_in_pattern(PyObject* pattern, Bindings* out) {
  const Node kind = kind_of(pattern);
  Ref fields = fields_of(pattern);
  for (ssize_t i = 0; fields && i < size_of(fields.get()); ++i) {
    Ref value(PyObject_GetAttr(pattern, tuple_items(fields.get())[i]));
    if (!value) {
      PyErr_Clear();
    } else if (value.get()->type == &PyList_Type) {
      for (ssize_t k = 0; k < length(value); ++k)
        if (is_node(item(value, k))) names_in_pattern(item(value, k), out);
    } else if (is_node(value.get())) {
      names_in_pattern(value.get(), out);
    }
  }
  const std::string_view name = kind == Node::kMatchAs || kind == Node::kMatchStar ? get_text(pattern, "name")
                                : kind == Node::kMatchMapping                      ? get_text(pattern, "rest")
                                                                                   : std::string_view();
  for (const Binding& known : *out)
    if (known.name == name) return;  // of an alternative
  if (!name.empty()) out->push_back({std::string(name), pattern});
}

Bindings parameters_of(PyObject* node) {
  Bindings out;
  Ref arguments = get(node, "args");
  if (!arguments) return out;
  for (const char* group : {"posonlyargs", "args", "kwonlyargs"}) {
    Ref list = get(arguments.get(), group);
    for (ssize_t i = 0; i < length(list); ++i)
      out.push_back({std::string(get_text(item(list, i), "arg")), item(list, i)});
  }
  for (const char* single : {"vararg", "kwarg"}) {
    Ref argument = get(arguments.get(), single);
    if (argument) out.push_back({std::string(get_text(argument.get(), "arg")), argument.get()});
  }
  return out;
}

// The statement itself is already in `out`; hooks that belong behind it are appended there.
bool Transformer::rewrite_statement(PyObject* node, PyObject* out, LexicalScope& scope) {
  const bool reaches = checks_dictionary_ && is_simple(node) && reaches_into_namespace(node);
  return rewrite_statement_itself(node, out, scope) && (!reaches || append_check(out, node, scope));
}

bool Transformer::append_check(PyObject* out, PyObject* node, LexicalScope& scope) {
  add_site(SiteKind::kCheck, "", scope, get_int(node, "lineno", 0), false);
  Ref none = make_constant(node, &_Py_NoneStruct);
  Ref call = none ? hook_call(node, none.get()) : Ref();
  if (call) append_call(out, call.get(), scope, node);
  return call && !failed_;
}

bool Transformer::rewrite_statement_itself(PyObject* node, PyObject* out, LexicalScope& scope) {
  if (walk_expressions_ && !rewrite_expressions(node, scope)) return false;
  switch (kind_of(node)) {
    case Node::kAssign:
    case Node::kAugAssign:
    case Node::kAnnAssign:
    case Node::kTypeAlias:
      return rewrite_assignment(node, out, scope);
    case Node::kDelete:
      return rewrite_delete(node, out, scope);
    case Node::kImport:
    case Node::kImportFrom:
      return rewrite_import(node, out, scope);
    case Node::kFunctionDef:
    case Node::kAsyncFunctionDef:
      return rewrite_function(node, out, scope);
    case Node::kClassDef:
      return rewrite_class(node, out, scope);
    case Node::kFor:
    case Node::kAsyncFor:
      return rewrite_for(node, scope);
    case Node::kWith:
    case Node::kAsyncWith:
      return rewrite_with(node, scope);
    case Node::kIf:
    case Node::kWhile:
      return rewrite_block(node, "body", scope) && rewrite_block(node, "orelse", scope);
    case Node::kTry:
    case Node::kTryStar:
      return rewrite_try(node, scope);
    case Node::kMatch:
      return rewrite_match(node, scope);
    default:
      return !failed_;
  }
}

bool Transformer::rewrite_assignment(PyObject* node, PyObject* out, LexicalScope& scope) {
  const Node kind = kind_of(node);
  Ref value = get(node, "value");
  if (kind == Node::kAnnAssign && !value) return true;  // a declaration binds nothing
  const bool from_watch = value && (calls_.is_watch_call(value.get()) || kind_of(value.get()) == Node::kTuple ||
                                    kind_of(value.get()) == Node::kList);
  const SiteKind site = from_watch && calls_.any() ? SiteKind::kWatchBind : SiteKind::kStore;
  PendingNames pending;
  Ref rest;
  if (kind == Node::kAssign && site == SiteKind::kStore && !split_targets(node, "targets", scope, &rest)) return false;
  const char* field = kind == Node::kAssign ? "targets" : kind == Node::kTypeAlias ? "name" : "target";
  if (!rewrite_targets(node, field, scope, site, &pending)) return false;
  if (kind == Node::kTypeAlias) {
    const std::string name(get_text(get(node, "name").get(), "id"));
    LexicalScope inner = nested(scope, LexicalScope::kFunction, node, name);
    append_type_parameters(out, node, inner, name, node);
  }
  for (const Pending& name : pending) append_hook(out, name.binding, scope, site, name.binding.at);
  if (rest) return PyList_Append(out, rest.get()) == 0 && rewrite_assignment(rest.get(), out, scope);
  return !failed_ && (site != SiteKind::kWatchBind || append_attribute_hooks(get(node, field).get(), out, scope));
}

/// `self.x = watch(…)` becomes `self.x = watch(…); hook(self)`.
bool Transformer::append_attribute_hooks(PyObject* target, PyObject* out, LexicalScope& scope) {
  Ref elements = target->type == &PyList_Type ? Ref::borrow(target) : get(target, "elts");
  for (ssize_t i = 0; i < length(elements); ++i)
    if (!append_attribute_hooks(item(elements, i), out, scope)) return false;
  if (target->type == &PyList_Type || kind_of(target) != Node::kAttribute) return true;
  Ref object = get(target, "value");
  if (!object || kind_of(object.get()) != Node::kName) return true;
  const std::string base(get_text(object.get(), "id"));
  add_site(SiteKind::kWatchAttribute, base + "." + std::string(get_text(target, "attr")), scope,
           get_int(target, "lineno", 0), false);
  Ref name = make_name(target, base);
  Ref call = name ? hook_call(target, name.get()) : Ref();
  if (call) append_call(out, call.get(), scope, target);
  return call && !failed_;
}

// `del a, b[9]` becomes a statement for each: the first is gone when the second fails.
bool Transformer::rewrite_delete(PyObject* node, PyObject* out, LexicalScope& scope) {
  Ref targets = get(node, "targets");
  for (bool flat = false; !flat;) {
    flat = true;
    Ref spread(PyList_New(0));
    for (ssize_t i = 0; spread && i < length(targets); ++i) {
      Ref elements = get(item(targets, i), "elts");
      if (!elements && PyList_Append(spread.get(), item(targets, i)) != 0) return false;
      for (ssize_t k = 0; k < length(elements); ++k) PyList_Append(spread.get(), item(elements, k));
      flat = flat && !elements;
    }
    if (size_of(spread.get()) == 0) return true;  // `del ()`
    targets = static_cast<Ref&&>(spread);
  }
  for (ssize_t i = 0; i < length(targets); ++i) {
    PyObject* target = item(targets, i);
    Ref statement = i == 0 ? Ref::borrow(node) : make_delete(target);
    Ref single(PyList_New(0));
    if (!statement || !single || PyList_Append(single.get(), target) != 0 ||
        !set(statement.get(), "targets", single.get()))
      return false;
    if (i > 0 && PyList_Append(out, statement.get()) != 0) return false;
    if (kind_of(target) == Node::kName)
      append_hook(out, {std::string(get_text(target, "id")), target}, scope, SiteKind::kDelete, target);
  }
  return !failed_;
}

bool Transformer::rewrite_function(PyObject* node, PyObject* out, LexicalScope& scope) {
  const std::string name(get_text(node, "name"));
  LexicalScope inner = nested(scope, LexicalScope::kFunction, node, name);
  inner.declared = declarations_of(node);
  if (!rewrite_body(node, inner, parameters_of(node)) || !decorate_with_type_parameters(node, inner)) return false;
  append_hook(out, {name, node}, scope, SiteKind::kStore, node);
  return !failed_;
}

bool Transformer::rewrite_class(PyObject* node, PyObject* out, LexicalScope& scope) {
  const std::string name(get_text(node, "name"));
  LexicalScope inner = nested(scope, LexicalScope::kClass, node, name);
  inner.declared = declarations_of(node);
  if (!rewrite_body(node, inner)) return false;
  append_hook(out, {name, node}, scope, SiteKind::kStore, node);
  return !failed_;
}

bool Transformer::rewrite_for(PyObject* node, LexicalScope& scope) {
  PendingNames pending;
  if (!split_into_body(node, node, "target", scope)) return false;
  if (!rewrite_targets(node, "target", scope, SiteKind::kStore, &pending)) return false;
  return rewrite_block(node, "body", scope, bindings_of(pending)) && rewrite_block(node, "orelse", scope);
}

// `with a as x, b as y`: x is bound before b is evaluated, so its hook goes in front of b: `(hook(x), b)[1]`.
bool Transformer::rewrite_with(PyObject* node, LexicalScope& scope) {
  Ref items = get(node, "items");
  PendingNames pending;
  SiteKind kind = SiteKind::kStore;
  for (ssize_t i = 0; i < length(items); ++i) {
    Ref entered = get(item(items, i), "context_expr");
    if (!tell_before({item(items, i), "context_expr", 0}, &pending, scope, kind)) return false;
    const bool is_last = i + 1 == length(items) && get(item(items, i), "optional_vars");
    if (is_last && !calls_.any() && !split_into_body(node, item(items, i), "optional_vars", scope)) return false;
    kind = entered && calls_.is_watch_call(entered.get()) ? SiteKind::kWatchBind : SiteKind::kStore;
    if (!rewrite_targets(item(items, i), "optional_vars", scope, kind, &pending)) return false;
  }
  return rewrite_block(node, "body", scope, bindings_of(pending), nullptr, kind);
}

bool Transformer::rewrite_try(PyObject* node, LexicalScope& scope) {
  if (!rewrite_block(node, "body", scope)) return false;
  Ref handlers = get(node, "handlers");
  for (ssize_t i = 0; i < length(handlers); ++i) {
    PyObject* handler = item(handlers, i);
    const std::string name(get_text(handler, "name"));
    Bindings opening;
    if (!name.empty()) {
      opening.push_back({name, handler});
      handlers_.push_back({name, next_handler_++});
    }
    const std::size_t before = out_->sites.size();
    if (!rewrite_block(handler, "body", scope, opening)) return false;
    if (name.empty()) continue;
    // the first site made here is the handler's own binding, when the name is watched at all
    if (out_->sites.size() > before && out_->sites[before]->text == name)
      out_->sites[before]->binds_handler = handlers_.back().id;
    handlers_.pop_back();
  }
  return rewrite_block(node, "orelse", scope) && rewrite_block(node, "finalbody", scope);
}

// Names of a pattern are bound before its guard runs, whether or not the guard then fails.
bool Transformer::rewrite_match(PyObject* node, LexicalScope& scope) {
  Ref cases = get(node, "cases");
  for (ssize_t i = 0; i < length(cases); ++i) {
    PyObject* branch = item(cases, i);
    Bindings bindings;
    Ref pattern = get(branch, "pattern");
    if (pattern) names_in_pattern(pattern.get(), &bindings);
    Ref guard = get(branch, "guard");
    Ref body = get(branch, "body");
    if (guard) {
      PendingNames pending;
      for (const Binding& binding : bindings) pending.push_back({binding, {}, false});
      bindings.clear();
      if (!tell_before({branch, "guard", 0}, &pending, scope, SiteKind::kStore)) return false;
    }
    // placed on the first body statement: a line of its own would show up in a trace
    if (!rewrite_block(branch, "body", scope, bindings, length(body) > 0 ? item(body, 0) : nullptr)) return false;
  }
  return true;
}

Binding import_binding(PyObject* node, PyObject* alias) {
  const std::string_view name = get_text(alias, "name"), as = get_text(alias, "asname");
  const bool first_part = as.empty() && kind_of(node) == Node::kImport;
  const std::string_view bound = as.empty() ? name.substr(0, first_part ? name.find('.') : name.npos) : as;
  return {std::string(bound), compat.minor >= 10 ? alias : node};
}

bool Transformer::rewrite_import(PyObject* node, PyObject* out, LexicalScope& scope) {
  if (get_text(node, "module") == "__future__") return true;
  Ref names = get(node, "names");
  for (ssize_t i = 0; i < length(names); ++i) {
    PyObject* alias = item(names, i);
    if (get_text(alias, "name") == "*") {
      if (rules_.empty() && !calls_.any()) return true;
      Site* site =
          add_site(SiteKind::kStar, std::string(get_text(node, "module")), scope, get_int(node, "lineno", 0), true);
      site->import_level = get_int(node, "level", 0);
      Ref none = make_constant(node, &_Py_NoneStruct);
      Ref call = none ? hook_call(node, none.get()) : Ref();
      if (call) append_call(out, call.get(), scope, node);
      return call && !failed_;
    }
    // `import a, b` becomes two statements: the first has happened when the second fails
    if (kind_of(node) == Node::kImport && i > 0 && !append_import(out, node, alias)) return false;
    append_import_hook(out, node, i, scope, nullptr);
  }
  if (length(names) < 2) return !failed_;
  if (kind_of(node) == Node::kImportFrom) return guard_import(node, out, scope);
  Ref first(PyList_New(0));
  return first && PyList_Append(first.get(), item(names, 0)) == 0 && set(node, "names", first.get()) && !failed_;
}

// Expressions directly in this node; statements inside it have their own turn.
bool Transformer::rewrite_expressions(PyObject* node, LexicalScope& scope) {
  Ref fields = fields_of(node);
  for (ssize_t i = 0; fields && i < size_of(fields.get()); ++i) {
    PyObject* name = tuple_items(fields.get())[i];
    Ref value(PyObject_GetAttr(node, name));
    if (!value) {
      PyErr_Clear();
    } else if (value.get()->type == &PyList_Type) {
      for (ssize_t k = 0; k < length(value); ++k) {
        PyObject* element = item(value, k);
        if (!is_node(element) || is_statement(element)) continue;
        if (length(get(element, "body")) > 0) {  // an except handler or match_case: its statements have their own turn
          Ref test = get(element, "type");
          if (!test) test = get(element, "guard");
          if (!test) continue;
          Ref rewritten = rewrite_expression(test.get(), scope);
          if (!rewritten || !set(element, get(element, "type") ? "type" : "guard", rewritten.get())) return false;
          continue;
        }
        Ref rewritten = rewrite_expression(element, scope);
        if (!rewritten || PyList_SetItem(value.get(), k, rewritten.release()) != 0) return false;
      }
    } else if (is_node(value.get()) && !is_statement(value.get())) {
      Ref rewritten = rewrite_expression(value.get(), scope);
      if (!rewritten || PyObject_SetAttr(node, name, rewritten.get()) != 0) return false;
    }
  }
  return true;
}

Ref Transformer::rewrite_expression(PyObject* node, LexicalScope& scope) {
  const Node kind = kind_of(node);
  if (kind == Node::kName || kind == Node::kConstant) return Ref::borrow(node);
  if (kind == Node::kLambda) {
    Ref arguments = get(node, "args");  // defaults belong to the scope around
    if (!arguments || !rewrite_expressions(arguments.get(), scope) || !rewrite_lambda(node, scope)) return Ref();
    return Ref::borrow(node);
  }
  if (!rewrite_expressions(node, scope)) return Ref();
  if (kind == Node::kListComp || kind == Node::kSetComp || kind == Node::kDictComp || kind == Node::kGeneratorExp)
    return rewrite_comprehension(node, scope);
  if (kind != Node::kNamedExpr) return Ref::borrow(node);
  Ref target = get(node, "target");
  Ref value = get(node, "value");
  const SiteKind site = value && calls_.is_watch_call(value.get()) ? SiteKind::kWatchBind : SiteKind::kStore;
  Ref call = hook({std::string(get_text(target.get(), "id")), target.get()}, scope, site, node, node);
  if (failed_) return Ref();
  return call ? static_cast<Ref&&>(call) : Ref::borrow(node);
}

// `lambda x: e` becomes `lambda x: (enter(), hook(x), e)[-1]`.
bool Transformer::rewrite_lambda(PyObject* node, LexicalScope& scope) {
  LexicalScope inner = nested(scope, LexicalScope::kFunction, node, "<lambda>");
  Ref body = get(node, "body");
  Ref rewritten = body ? rewrite_expression(body.get(), inner) : Ref();
  if (!rewritten) return false;
  Ref hooks(PyList_New(0));
  for (const Binding& binding : parameters_of(node)) {
    Ref call = hook(binding, inner, SiteKind::kStore, body.get());
    if (call) PyList_Append(hooks.get(), call.get());
  }
  if (inner.has_sites) {
    add_site(SiteKind::kEnter, "", inner, 0, false);
    Ref none = make_constant(body.get(), &_Py_NoneStruct);
    Ref call = none ? hook_call(body.get(), none.get()) : Ref();
    if (!call || PyList_Insert(hooks.get(), 0, call.get()) != 0) return false;
  }
  if (size_of(hooks.get()) == 0) return set(node, "body", rewritten.get());
  PyList_Append(hooks.get(), rewritten.get());
  Ref sequence = make_sequence(body.get(), hooks.get());
  return sequence && set(node, "body", sequence.get());
}

}  // namespace watcher::python

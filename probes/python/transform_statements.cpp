#include "probes/python/transformer.h"

namespace watcher::python {

void names_in_target(PyObject* target, Bindings* out) {
  switch (kind_of(target)) {
    case Node::kName:
      out->push_back({std::string(get_text(target, "id")), target});
      break;
    case Node::kStarred: {
      Ref value = get(target, "value");
      if (value) names_in_target(value.get(), out);
      break;
    }
    case Node::kTuple:
    case Node::kList: {
      Ref elements = get(target, "elts");
      for (ssize_t i = 0; i < length(elements); ++i) names_in_target(item(elements, i), out);
      break;
    }
    default:
      break;  // attributes and subscripts bind no name
  }
}

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
  if (walk_expressions_ && !rewrite_expressions(node, scope)) return false;
  switch (kind_of(node)) {
    case Node::kAssign:
    case Node::kAugAssign:
    case Node::kAnnAssign:
    case Node::kTypeAlias:
    case Node::kDelete:
      return rewrite_assignment(node, out, scope);
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
  Bindings bindings;
  Ref value = get(node, "value");
  if (kind == Node::kAnnAssign && !value) return true;  // a declaration binds nothing
  Ref targets = get(node, "targets");
  for (ssize_t i = 0; i < length(targets); ++i) names_in_target(item(targets, i), &bindings);
  Ref target = get(node, kind == Node::kTypeAlias ? "name" : "target");
  if (target) names_in_target(target.get(), &bindings);
  const bool from_watch = value && (calls_.is_watch_call(value.get()) || kind_of(value.get()) == Node::kTuple ||
                                    kind_of(value.get()) == Node::kList);
  const SiteKind site = kind == Node::kDelete        ? SiteKind::kDelete
                        : from_watch && calls_.any() ? SiteKind::kWatchBind
                                                     : SiteKind::kStore;
  for (const Binding& binding : bindings) append_hook(out, binding, scope, site, binding.at);
  return !failed_;
}

bool Transformer::rewrite_function(PyObject* node, PyObject* out, LexicalScope& scope) {
  const std::string name(get_text(node, "name"));
  LexicalScope inner = nested(scope, LexicalScope::kFunction, node, name);
  inner.declared = declarations_of(node);
  if (!rewrite_body(node, inner, parameters_of(node))) return false;
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
  Bindings bindings;
  Ref target = get(node, "target");
  if (target) names_in_target(target.get(), &bindings);
  return rewrite_block(node, "body", scope, bindings) && rewrite_block(node, "orelse", scope);
}

// `with a as x, b as y`: x is bound before b is evaluated, so its hook goes in front of b: `(hook(x), b)[1]`.
bool Transformer::rewrite_with(PyObject* node, LexicalScope& scope) {
  Ref items = get(node, "items");
  Bindings pending;
  for (ssize_t i = 0; i < length(items); ++i) {
    Ref context = get(item(items, i), "context_expr");
    Ref hooks(PyList_New(0));
    for (const Binding& binding : pending) {
      Ref call = hook(binding, scope, SiteKind::kStore, context.get());
      if (call) PyList_Append(hooks.get(), call.get());
    }
    if (size_of(hooks.get()) > 0) {
      PyList_Append(hooks.get(), context.get());
      Ref sequence = make_sequence(context.get(), hooks.get());
      if (!sequence || !set(item(items, i), "context_expr", sequence.get())) return false;
    }
    pending.clear();
    Ref target = get(item(items, i), "optional_vars");
    if (target) names_in_target(target.get(), &pending);
  }
  return rewrite_block(node, "body", scope, pending);
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
      Ref hooks(PyList_New(0));
      for (const Binding& binding : bindings) {
        Ref call = hook(binding, scope, SiteKind::kStore, guard.get());
        if (call) PyList_Append(hooks.get(), call.get());
      }
      bindings.clear();
      if (size_of(hooks.get()) > 0) {
        PyList_Append(hooks.get(), guard.get());
        Ref sequence = make_sequence(guard.get(), hooks.get());
        if (!sequence || !set(branch, "guard", sequence.get())) return false;
      }
    }
    // placed on the first body statement: a line of its own would show up in a trace
    if (!rewrite_block(branch, "body", scope, bindings, length(body) > 0 ? item(body, 0) : nullptr)) return false;
  }
  return true;
}

bool Transformer::rewrite_import(PyObject* node, PyObject* out, LexicalScope& scope) {
  if (get_text(node, "module") == "__future__") return true;
  Ref names = get(node, "names");
  for (ssize_t i = 0; i < length(names); ++i) {
    PyObject* alias = item(names, i);
    std::string_view name = get_text(alias, "name");
    const std::string_view as = get_text(alias, "asname");
    if (name == "*") {
      if (rules_.empty() && !calls_.any()) return true;
      Site* site =
          add_site(SiteKind::kStar, std::string(get_text(node, "module")), scope, get_int(node, "lineno", 0), true);
      site->import_level = get_int(node, "level", 0);
      Ref none = make_constant(node, &_Py_NoneStruct);
      Ref call = none ? hook_call(node, none.get()) : Ref();
      Ref statement = call ? make_statement(node, call.get()) : Ref();
      return statement && PyList_Append(out, statement.get()) == 0;
    }
    if (as.empty() && kind_of(node) == Node::kImport) name = name.substr(0, name.find('.'));
    append_hook(out, {std::string(as.empty() ? name : as), compat.minor >= 10 ? alias : node}, scope, SiteKind::kStore,
                node);
  }
  return !failed_;
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

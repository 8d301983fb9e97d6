#include "probes/python/transform/watch_calls.h"

#include "probes/python/events/values.h"

namespace watcher::python {
namespace {

bool opens_scope(Node kind) {
  return kind == Node::kFunctionDef || kind == Node::kAsyncFunctionDef || kind == Node::kClassDef ||
         kind == Node::kLambda;
}

void collect_declarations(PyObject* node, Declarations* out) {
  const Node kind = kind_of(node);
  if (kind == Node::kGlobal || kind == Node::kNonlocal) {
    Ref names = get(node, "names");
    for (ssize_t i = 0; i < length(names); ++i) {
      ssize_t size = 0;
      const char* text = PyUnicode_AsUTF8AndSize(item(names, i), &size);
      if (text == nullptr) {
        PyErr_Clear();
        continue;
      }
      (kind == Node::kGlobal ? out->globals : out->nonlocals).emplace(text, static_cast<std::size_t>(size));
    }
    return;
  }
  if (opens_scope(kind)) return;
  for_each_child(node, [out](PyObject* child) {
    if (is_statement(child) || kind_of(child) == Node::kOther) collect_declarations(child, out);
  });
}

}  // namespace

Declarations declarations_of(PyObject* scope_node) {
  Declarations out;
  Ref body = get(scope_node, "body");
  for (ssize_t i = 0; i < length(body); ++i) collect_declarations(item(body, i), &out);
  return out;
}

namespace {

struct Imported {
  WatchCalls::Names functions, modules;
};
Imported& imported() {
  static auto* names = new Imported;  // process-lifetime
  return *names;
}

}  // namespace

bool watch_was_imported() {
  return !imported().functions.empty() || !imported().modules.empty();
}

void WatchCalls::scan_statement(PyObject* tree) {
  functions_ = imported().functions;
  modules_ = imported().modules;
  scan(tree);
  imported() = {functions_, modules_};
}

void WatchCalls::scan(PyObject* tree) {
  find_imports(tree);
  if (!any()) return;
  std::vector<PyObject*> scopes;
  find_bindings(tree, scopes);
}

namespace {

/// Both return the value, the one at once, the other when the block is entered.
bool is_watch(std::string_view function) {
  return function == "watch" || function == "watching";
}

/// Is track_locals given, and not plainly as False?
bool tracks_locals(PyObject* call) {
  Ref keywords = get(call, "keywords");
  for (ssize_t i = 0; i < length(keywords); ++i) {
    if (get_text(item(keywords, i), "arg") != "track_locals") continue;
    Ref value = get(item(keywords, i), "value");
    Ref constant = value && kind_of(value.get()) == Node::kConstant ? get(value.get(), "value") : Ref();
    return !constant || encode(constant.get(), scratch_before).word != 0;
  }
  return false;
}

}  // namespace

void WatchCalls::find_imports(PyObject* node) {
  const Node kind = kind_of(node);
  if (kind == Node::kImport || kind == Node::kImportFrom) {
    if (kind == Node::kImportFrom && get_text(node, "module") != "watcher") return;
    Ref names = get(node, "names");
    for (ssize_t i = 0; i < length(names); ++i) {
      const std::string_view name = get_text(item(names, i), "name");
      const std::string_view alias = get_text(item(names, i), "asname");
      if (name == "*") functions_.insert({"watch", "watching"});
      if (kind == Node::kImport ? name == "watcher" : is_watch(name))
        (kind == Node::kImport ? modules_ : functions_).emplace(alias.empty() ? name : alias);
    }
    return;
  }
  for_each_child(node, [this](PyObject* child) { find_imports(child); });
}

bool WatchCalls::is_watch_call(PyObject* expression) const {
  if (kind_of(expression) != Node::kCall) return false;
  Ref function = get(expression, "func");
  if (!function) return false;
  if (kind_of(function.get()) == Node::kName)
    return functions_.find(get_text(function.get(), "id")) != functions_.end();
  if (kind_of(function.get()) != Node::kAttribute || !is_watch(get_text(function.get(), "attr"))) return false;
  Ref module = get(function.get(), "value");
  return module && kind_of(module.get()) == Node::kName &&
         modules_.find(get_text(module.get(), "id")) != modules_.end();
}

bool WatchCalls::local(PyObject* scope, std::string_view name) const {
  const auto found = locals_.find(scope);
  return tracking_.count(scope) != 0 || (found != locals_.end() && found->second.find(name) != found->second.end());
}

void WatchCalls::find_bindings(PyObject* node, std::vector<PyObject*>& scopes) {
  const Node kind = kind_of(node);
  const bool scope = opens_scope(kind);
  if (scope) scopes.push_back(node);
  if (kind == Node::kAssign || kind == Node::kAnnAssign || kind == Node::kNamedExpr) {
    Ref value = get(node, "value");
    Ref targets = get(node, "targets");
    Ref target = get(node, "target");
    const bool tuple = value && (kind_of(value.get()) == Node::kTuple || kind_of(value.get()) == Node::kList);
    if (value && !tuple && !scopes.empty() && is_watch_call(value.get()) && tracks_locals(value.get()))
      tracking_.insert(scopes.back());
    if (value && (tuple || is_watch_call(value.get()))) {
      if (target) bound(target.get(), scopes);
      for (ssize_t i = 0; i < length(targets); ++i) bound(item(targets, i), scopes);
    }
  }
  if (kind == Node::kWith || kind == Node::kAsyncWith) {
    Ref items = get(node, "items");
    for (ssize_t i = 0; i < length(items); ++i) {
      Ref entered = get(item(items, i), "context_expr");
      Ref target = get(item(items, i), "optional_vars");
      if (entered && target && is_watch_call(entered.get())) bound(target.get(), scopes);
    }
  }
  for_each_child(node, [&](PyObject* child) { find_bindings(child, scopes); });
  if (scope) scopes.pop_back();
}

// A tuple target takes all its names: hooks of names that no watch() call reaches stay silent.
void WatchCalls::bound(PyObject* target, const std::vector<PyObject*>& scopes) {
  if (kind_of(target) == Node::kTuple || kind_of(target) == Node::kList) {
    Ref elements = get(target, "elts");
    for (ssize_t i = 0; i < length(elements); ++i) bound(item(elements, i), scopes);
    return;
  }
  if (kind_of(target) != Node::kName) return;
  const std::string name(get_text(target, "id"));
  for (std::size_t i = scopes.size(); i > 0; --i) {
    const Declarations declared = declarations_of(scopes[i - 1]);
    if (declared.globals.count(name) != 0) break;
    locals_[scopes[i - 1]].insert(name);
    if (declared.nonlocals.count(name) == 0) return;
  }
  globals_.insert(name);
}

}  // namespace watcher::python

// Unpacking that may fail behind a watched name: `a, (b, c) = e` becomes `a, rest[None] = e; hook(a); ((b, c),) =
// rest()`, so that a is told when e's second element is no pair.
#include "probes/python/transform/transformer.h"

namespace watcher::python {
namespace {

bool only_names(PyObject* target) {
  const Node kind = kind_of(target);
  if (kind == Node::kStarred) return only_names(get(target, "value").get());
  if (kind != Node::kTuple && kind != Node::kList) return kind == Node::kName;
  Ref elements = get(target, "elts");
  for (ssize_t i = 0; i < length(elements); ++i)
    if (!only_names(item(elements, i))) return false;
  return true;
}

bool is_bound_again(PyObject* node, const Ref& names, ssize_t index) {
  const std::string name = import_binding(node, item(names, index)).name;
  for (ssize_t i = index + 1; i < length(names); ++i)
    if (import_binding(node, item(names, i)).name == name) return true;
  return false;
}

}  // namespace

struct Transformer::Split {
  Ref put_off;               // targets, in the order in which they are bound
  PyObject* told = nullptr;  // the watched name before them that was bound last
  bool begun = false;
};

bool Transformer::put_off(const Place& place, LexicalScope& scope, Split* split) {
  Ref target = place.get();
  if (!target) return false;
  if (kind_of(target.get()) == Node::kStarred) return put_off({target.get(), "value", 0}, scope, split);
  const ssize_t index = size_of(split->put_off.get());
  if (PyList_Append(split->put_off.get(), target.get()) != 0) return false;
  add_site(SiteKind::kPutOff, "", scope, 0, false)->is_first = index == 0;
  Ref marker = make_marker(split->told);  // a line of its own would show up in a trace
  Ref rest = marker ? make_item_target(split->told, marker.get()) : Ref();
  split->begun = true;
  return rest && place.set(rest.get());
}

bool Transformer::split_target(const Place& place, LexicalScope& scope, Split* split) {
  if (split->begun) return put_off(place, scope, split);
  Ref target = place.get();
  if (!target) return false;
  bool from_rule = false;
  switch (kind_of(target.get())) {
    case Node::kName:
      if (wanted(std::string(get_text(target.get(), "id")), scope, &from_rule)) split->told = target.get();
      return true;
    case Node::kStarred:
      return split_target({target.get(), "value", 0}, scope, split);
    case Node::kTuple:
    case Node::kList: {
      if (split->told != nullptr) return put_off(place, scope, split);
      Ref elements = get(target.get(), "elts");
      for (ssize_t i = 0; i < length(elements); ++i)
        if (!split_target({elements.get(), nullptr, i}, scope, split)) return false;
      return true;
    }
    case Node::kAttribute:
      return split->told == nullptr || !is_static_attribute(target.get()) || put_off(place, scope, split);
    default:
      return true;
  }
}

bool Transformer::split_targets(PyObject* node, const char* field, LexicalScope& scope, Ref* rest) {
  Split split{Ref(PyList_New(0))};
  Ref target = get(node, field);
  if (!target || !split.put_off) return false;
  if (target.get()->type == &PyList_Type) {
    for (ssize_t i = 0; i < length(target); ++i)
      if (!split_target({target.get(), nullptr, i}, scope, &split)) return false;
  } else if (!split_target({node, field, 0}, scope, &split)) {
    return false;
  }
  if (!split.begun) return true;
  PyObject* at = item(split.put_off, 0);
  add_site(SiteKind::kTakeUp, "", scope, 0, false);
  Ref none = make_constant(at, &_Py_NoneStruct);
  Ref call = none ? hook_call(at, none.get()) : Ref();
  if (call) *rest = make_unpacking(at, split.put_off.get(), call.get());
  return static_cast<bool>(*rest);
}

// The statement that `split_targets` makes begins the body of `node`.
bool Transformer::split_into_body(PyObject* node, PyObject* holder, const char* field, LexicalScope& scope) {
  Ref target = get(holder, field);
  if (!target || !only_names(target.get())) return true;  // an expression in it would be walked again with the body
  Ref rest;
  if (!split_targets(holder, field, scope, &rest)) return false;
  Ref body = get(node, "body");
  return !rest || (body && PyList_Insert(body.get(), 0, rest.get()) == 0);
}

// `hook(x)`, or `hook(bound())` where that is not to be read from x: behind the failed statement, and of `from m import
// a as x, b as x` what x was first. `failed_at`: in the handler, placed there.
void Transformer::append_import_hook(PyObject* list, PyObject* node, ssize_t index, LexicalScope& scope,
                                     PyObject* failed_at) {
  Ref names = get(node, "names");
  PyObject* alias = item(names, index);
  const Binding binding = import_binding(node, alias);
  PyObject* at = failed_at != nullptr ? failed_at : node;
  const bool again = kind_of(node) == Node::kImportFrom && is_bound_again(node, names, index);
  bool from_rule = false;
  if (!wanted(binding.name, scope, &from_rule)) return;
  if (failed_at == nullptr && !again) return append_hook(list, binding, scope, SiteKind::kStore, at);
  Ref module = get(node, "module"), name = get(alias, "name"), empty(PyUnicode_FromStringAndSize("", 0));
  Ref known(again ? PyTuple_Pack(2, module ? module.get() : empty.get(), name.get()) : nullptr);
  Ref argument = make_constant(at, known ? known.get() : &_Py_NoneStruct);
  Site* site = add_site(SiteKind::kBound, binding.name, scope, 0, from_rule);
  site->index = failed_at != nullptr ? static_cast<std::int32_t>(index) : -1;
  site->import_level = get_int(node, "level", 0);
  Ref value = argument ? hook_call(at, argument.get()) : Ref();
  Ref call = value ? hook(binding, scope, SiteKind::kStore, at, value.get()) : Ref();
  if (call)
    append_call(list, call.get(), scope, at);
  else
    failed_ = true;
}

// `from m import a, b` becomes `try: from m import a, b`, `except: hook(bound()); raise`. Two statements would not do:
// the package imports b before a is bound. A handler with a line would be traced, but for 3.8 and 3.10.
bool Transformer::guard_import(PyObject* node, PyObject* out, LexicalScope& scope) {
  Ref names = get(node, "names");
  Ref handler(PyList_New(0));
  Ref none = compat.minor >= 10 ? make_without_line(node) : make_constant(node, &_Py_NoneStruct);
  if (!handler || !none) return false;
  for (ssize_t i = 0; i + 1 < length(names); ++i) append_import_hook(handler.get(), node, i, scope, none.get());
  if (failed_ || size_of(handler.get()) == 0) return !failed_;
  Ref guarded = make_try(node, none.get(), handler.get());
  ssize_t at = size_of(out) - 1;
  while (list_items(out)[at] != node) --at;  // its hooks are behind it
  return guarded && PyList_SetItem(out, at, guarded.release()) == 0;
}

}  // namespace watcher::python

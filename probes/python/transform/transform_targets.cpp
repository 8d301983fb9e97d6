// Assignment targets and the variables of comprehensions.
//
// Each name is told before anything else can happen to it. `a, b[9] = e` stores a and may fail afterwards: a's hook
// goes in front of b, which is evaluated between the two: `a, (hook(a), b)[-1][9] = e`. Of `a, a = e` the first value
// is never to be seen by anybody: a sink stands in its place, `sink[None], a = e`, and tells it.
#include "probes/python/transform/transformer.h"

namespace watcher::python {
namespace {

/// Where it is not after all, the hook behind it has nothing to do.
bool may_be_inlined(PyObject* node) {
  return compat.minor >= 12 && kind_of(node) != Node::kGeneratorExp;
}

}  // namespace

bool is_static_attribute(PyObject* target) {
  if (compat.minor < 13 || kind_of(target) != Node::kAttribute) return false;
  Ref object = get(target, "value");
  return object && kind_of(object.get()) == Node::kName && get_text(object.get(), "id") == "self";
}

Ref Place::get() const {
  return field != nullptr ? python::get(holder, field) : Ref::borrow(list_items(holder)[index]);
}

bool Place::set(PyObject* node) const {
  if (node == nullptr) return false;
  if (field != nullptr) return python::set(holder, field, node);
  return PyList_SetItem(holder, index, Ref::borrow(node).release()) == 0;
}

bool Transformer::rewrite_targets(PyObject* node, const char* attribute, LexicalScope& scope, SiteKind kind,
                                  PendingNames* pending) {
  Ref target = get(node, attribute);
  if (!target) return true;
  if (target.get()->type != &PyList_Type) return rewrite_target({node, attribute, 0}, scope, kind, pending);
  for (ssize_t i = 0; i < length(target); ++i)  // the node keeps the list
    if (!rewrite_target({target.get(), nullptr, i}, scope, kind, pending)) return false;
  return true;
}

bool Transformer::rewrite_target(const Place& place, LexicalScope& scope, SiteKind kind, PendingNames* pending) {
  Ref target = place.get();
  if (!target) return false;
  switch (kind_of(target.get())) {
    case Node::kName: {
      const std::string name(get_text(target.get(), "id"));
      bool from_rule = false;
      if (!wanted(name, scope, &from_rule)) return true;
      for (std::size_t i = 0; i < pending->size(); ++i) {
        if ((*pending)[i].binding.name != name || (*pending)[i].seen) continue;
        if (!pour_into_sink((*pending)[i], scope, kind)) return false;
        pending->erase(pending->begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
      pending->push_back({{name, target.get()}, place, false});
      return true;
    }
    case Node::kStarred:
      return rewrite_target({target.get(), "value", 0}, scope, kind, pending);
    case Node::kTuple:
    case Node::kList:
      return rewrite_targets(target.get(), "elts", scope, kind, pending);
    case Node::kAttribute:
    case Node::kSubscript:
      if (is_static_attribute(target.get())) {  // must stay as it is
        for (Pending& earlier : *pending) earlier.seen = true;
        return true;
      }
      return tell_before({target.get(), "value", 0}, pending, scope, kind);
    default:
      return true;
  }
}

bool Transformer::pour_into_sink(const Pending& earlier, LexicalScope& scope, SiteKind kind) {
  bool from_rule = false;
  PyObject* at = earlier.binding.at;
  if (!wanted(earlier.binding.name, scope, &from_rule)) return true;
  Site* site = add_site(SiteKind::kSink, earlier.binding.name, scope, get_int(at, "lineno", 0), from_rule);
  site->sinks_watch = kind == SiteKind::kWatchBind;
  Ref marker = make_marker(at);
  Ref target = marker ? make_item_target(at, marker.get()) : Ref();
  return target && earlier.place.set(target.get());
}

Ref Transformer::after_hooks(const PendingNames& pending, PyObject* expression, LexicalScope& scope, SiteKind kind) {
  Ref parts(PyList_New(0));
  for (const Pending& name : pending) {
    Ref call = hook(name.binding, scope, kind, expression);
    if (call) PyList_Append(parts.get(), call.get());
  }
  if (failed_ || !parts) return Ref();
  if (size_of(parts.get()) == 0) return Ref::borrow(expression);
  PyList_Append(parts.get(), expression);
  return make_sequence(expression, parts.get());
}

bool Transformer::tell_before(const Place& expression, PendingNames* pending, LexicalScope& scope, SiteKind kind) {
  if (pending->empty()) return true;
  Ref node = expression.get();
  Ref told = node ? after_hooks(*pending, node.get(), scope, kind) : Ref();
  pending->clear();
  return told && expression.set(told.get());
}

// The variables of a `for` are told in front of what is evaluated next: its first condition, the next `for`'s iterable,
// or the element.
bool Transformer::rewrite_generators(PyObject* node, LexicalScope& inner) {
  Ref generators = get(node, "generators");
  PendingNames pending;
  for (ssize_t i = 0; i < length(generators); ++i) {
    PyObject* generator = item(generators, i);
    if (i > 0 && !tell_before({generator, "iter", 0}, &pending, inner, SiteKind::kStore)) return false;
    if (!rewrite_targets(generator, "target", inner, SiteKind::kStore, &pending)) return false;
    Ref conditions = get(generator, "ifs");
    if (length(conditions) > 0 && !tell_before({conditions.get(), nullptr, 0}, &pending, inner, SiteKind::kStore))
      return false;
  }
  const char* element = kind_of(node) == Node::kDictComp ? "key" : "elt";
  return tell_before({node, element, 0}, &pending, inner, SiteKind::kStore);
}

// `[…]` becomes `(begin(), […])[-1]`, and with an end where its variables live in the frame around it.
Ref Transformer::rewrite_comprehension(PyObject* node, LexicalScope& scope) {
  LexicalScope inner;
  inner.kind = LexicalScope::kComprehension;
  inner.parent = &scope;
  inner.node = node;
  inner.qualified = scope.qualified;
  inner.comprehension = std::make_shared<Comprehension>();
  if (!rewrite_generators(node, inner)) return Ref();
  if (!inner.has_sites || kind_of(node) == Node::kGeneratorExp) return Ref::borrow(node);
  Ref parts(PyList_New(0));
  Ref none = make_constant(node, &_Py_NoneStruct);
  auto append_call_of = [&](SiteKind kind) {
    add_site(kind, "", inner, 0, false)->comprehension = inner.comprehension;
    Ref call = hook_call(node, none.get());
    return call && PyList_Append(parts.get(), call.get()) == 0;
  };
  if (!parts || !none || !append_call_of(SiteKind::kBegin) || PyList_Append(parts.get(), node) != 0) return Ref();
  if (may_be_inlined(node) && !append_call_of(SiteKind::kLeave)) return Ref();
  return make_sequence(node, parts.get(), 1);
}

}  // namespace watcher::python

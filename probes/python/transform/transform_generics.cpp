// `def f[T]`, `class C[T]`, `type X[T]`: the parameters are bound in a scope of their own in which no statement can
// stand. They are told by the first who has them: a decorator, the class's body, the statement behind the alias.
#include "probes/python/transform/transformer.h"

namespace watcher::python {

bool Transformer::add_type_parameter(PyObject* node, ssize_t index, LexicalScope& inner) {
  Ref parameters = get(node, "type_params");
  PyObject* parameter = item(parameters, index);
  const std::string name(get_text(parameter, "name"));
  bool from_rule = false;
  if (!wanted(name, inner, &from_rule) || !from_rule) return false;
  Site* site = add_site(SiteKind::kTypeParameter, name, inner, get_int(parameter, "lineno", 0), true);
  site->index = static_cast<std::int32_t>(index);
  const std::string_view of = get_text(node, "name");
  Ref alias = of.empty() ? get(node, "name") : Ref();
  const std::string shown(alias ? get_text(alias.get(), "id") : of);
  site->function =
      nested(*inner.parent, LexicalScope::kFunction, node, "<generic parameters of " + shown + ">").qualified;
  return true;
}

void Transformer::append_type_parameters(PyObject* list, PyObject* node, LexicalScope& inner, const std::string& holder,
                                         PyObject* at) {
  const ssize_t count = length(get(node, "type_params"));
  for (ssize_t i = 0; i < count && !failed_; ++i) {
    if (!add_type_parameter(node, i, inner)) continue;
    Ref name = make_name(at, holder);
    Ref call = name ? hook_call(at, name.get()) : Ref();
    if (!call) failed_ = true;
    if (call) append_call(list, call.get(), inner, at);
  }
}

bool Transformer::decorate_with_type_parameters(PyObject* node, LexicalScope& inner) {
  const ssize_t count = length(get(node, "type_params"));
  Ref decorators = get(node, "decorator_list");
  for (ssize_t i = count; i > 0; --i) {  // the last one is called first
    if (!add_type_parameter(node, i - 1, inner)) continue;
    Ref marker = make_marker(node);
    if (!marker || PyList_Append(decorators.get(), marker.get()) != 0) return false;
  }
  return !failed_;
}

}  // namespace watcher::python

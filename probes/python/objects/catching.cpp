// How the changes of an object become known, by what it is.
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/attributes.h"
#include "probes/python/objects/object_graph.h"
#include "probes/python/objects/object_parts.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {

namespace {

ContainerKind* kind_of_shape(Shape shape, PyObject* type) {
  switch (shape) {
    case Shape::kList:
      return &list_kind;
    case Shape::kDict:
      return &dict_kind;
    case Shape::kSet:
      return &set_kind;
    case Shape::kOrderedDict:
      ordered_kind.base = &PyODict_Type;
      return &ordered_kind;
    case Shape::kDeque:
      deque_kind.base = base_named(type, "collections.deque");
      return &deque_kind;
    case Shape::kNone:
      break;
  }
  return nullptr;
}

/// The methods are led when the first object comes that is not of the very base type.
bool lead_kind(ContainerKind& kind) {
  static ContainerKind* led[8];
  static std::size_t led_count = 0;
  for (std::size_t i = 0; i < led_count; ++i)
    if (led[i] == &kind) return true;
  if (!learn_methods(kind)) return false;
  lead_methods(kind);
  if (kind.type == nullptr) lead_wrappers(kind);
  led[led_count++] = &kind;
  return true;
}

/// Types of C that store attributes as Python's classes do, and whose end can be led.
bool is_known_type(PyObject* type) {
  const std::string_view name = type_name(type);
  return type == &PyModule_Type || type == &PyType_Type || name == "types.SimpleNamespace" ||
         (has_flag(type, kExceptionSubclass) && !has_flag(type, kHeapType));
}

bool is_known_container(PyObject* type) {
  const std::string_view name = type_name(type);
  return name == "collections.deque" || name == "collections.OrderedDict" || name == "OrderedDict" ||
         name == "collections.defaultdict";
}

bool catch_items(PyObject* type, Shape shape) {
  if (!is_python_class(type) && !is_known_container(type)) return false;
  ContainerKind* kind = kind_of_shape(shape, type);
  if (kind == nullptr || kind->base == nullptr || !lead_kind(*kind)) return false;
  lead_slots(*kind, type);
  return true;
}

bool catch_attributes(PyObject* object) {
  PyObject* type = object->type;
  if (has_flag(type, kTypeSubclass)) return is_python_class(object) && lead_attribute_stores(type);
  if (!is_python_class(type) && !is_known_type(type)) return false;
  return has_attributes(type) && lead_attribute_stores(type);
}

bool has_buffer(const PyObject* type) {
  return suite_slot(type, kTypeAsBuffer, 0) != nullptr;
}

}  // namespace

bool is_unwatchable_part(PyObject* object) {
  return has_flag(object->type, kTypeSubclass) || object->type == &PyModule_Type ||
         PyType_IsSubtype(object->type, &PyModule_Type) != 0;
}

bool catch_changes(PyObject* object) {
  PyObject* type = object->type;
  if (const ContainerKind* kind = kind_of(type)) {
    if (type == kind->type) return true;
    if (must_stay_plain(object)) return false;
    Py_IncRef(kind->type);
    object->type = kind->type;
    if (kind == &dict_kind) watch_dict_calls(object);
    return true;
  }
  if (has_buffer(type)) return false;
  const Shape shape = shape_of(type);
  const bool items = shape != Shape::kNone && catch_items(type, shape);
  const bool attributes = catch_attributes(object);
  if ((!items && !attributes) || !lead_ends(type)) return false;
  if (items && (shape == Shape::kDict || shape == Shape::kOrderedDict)) watch_dict_calls(object);
  return true;
}

void release_changes(PyObject* object) {
  const ContainerKind* kind = kind_of(object->type);
  if (kind != nullptr || shape_of(object->type) == Shape::kDict) unwatch_dict_calls(object);
  if (kind == nullptr || object->type != kind->type) return;
  object->type = kind->base;
  Py_DecRef(kind->type);
}

}  // namespace watcher::python

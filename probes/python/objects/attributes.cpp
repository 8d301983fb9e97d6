#include "probes/python/objects/attributes.h"

#include <string.h>

#include "probes/python/containers/quick_change.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/object_graph.h"

extern "C" PyObject** _PyObject_GetDictPtr(PyObject*);

namespace watcher::python {
namespace {

using SetAttribute = int (*)(PyObject* self, PyObject* name, PyObject* value);
constexpr int kDictOffset = 288;                         // of a type: has its objects a dictionary?
constexpr int kObjectMember = 16, kOldObjectMember = 6;  // T_OBJECT_EX, T_OBJECT

// The functions by which types store attributes; a subclass made later inherits ours, whose original is the same.
enum Store { kInstance, kClass, kModule, kStores };
constinit SetAttribute originals[kStores]{};
constinit SetAttribute python_override = nullptr;  // what a class has that defines __setattr__
constinit WrapperFunction set_wrapper = nullptr, delete_wrapper = nullptr;

bool is_class(const PyObject* object) {
  return has_flag(object->type, kTypeSubclass);
}

bool is_text(PyObject* name, const char* text) {
  return PyUnicode_CompareWithASCIIString(name, text) == 0;
}

/// `x.__dict__ = {…}` exchanges all attributes; `x.__class__ = D` makes it an object whose stores go elsewhere.
void record_exchange(const Mutation& change, PyObject* self, PyObject* name) {
  if (is_text(name, "__class__")) {
    if (!catch_changes(self)) return forget_dying(self);
    if (WatchedContainer* watched = watched_containers.find(self)) watched->type = self->type;
  } else if (is_text(name, "__dict__") && !is_class(self)) {
    PyObject* now = attributes_of(self);
    change.record_item(Op::kSetAttr, element_step(name), nullptr, now, false);
    if (now != nullptr) adopt_attributes(self, now);
    adopt_all(self);
  }
}

/// `call` stores or deletes; true for success.
template <class Call>
auto record_store(PyObject* self, PyObject* name, bool deletes, Call call) {
  const Mutation change(self);
  bool known = false;
  Ref old;
  if (PyErr_Occurred() == nullptr) [[likely]] {
    old = Ref::borrow(stored_attribute(self, name, &known));
  } else {
    KeepException keep;
    old = Ref::borrow(stored_attribute(self, name, &known));
  }
  const auto result = call();
  if (!succeeded(result)) return result;
  if (!known) {
    KeepException keep;
    record_exchange(change, self, name);
    return result;
  }
  PyObject* now = deletes ? nullptr : stored_attribute(self, name, &known);
  change.record_item(deletes ? Op::kDelAttr : Op::kSetAttr, element_step(name), old.get(), now);
  return result;
}

bool writes_finalizers(const PyObject* object, PyObject* name) {
  return is_class(object) && name->type == &PyUnicode_Type && (is_text(name, "__del__") || is_text(name, "__bases__"));
}

template <Store which>
int store_original(PyObject* self, PyObject* name, PyObject* value) {
  const int result = originals[which](self, name, value);
  if (which == kClass && writes_finalizers(self, name)) finalizers_were_written();
  return result;
}

PyObject** dict_place(PyObject* object) {
  return is_class(object) ? &field_ref<PyObject*>(object, kTypeDict) : _PyObject_GetDictPtr(object);
}

/// Where stores to an attribute go: into a dictionary, or past one (a slot, a property).
struct Destination {
  PyObject* descriptor;  // of the class, when it takes stores; else null
  PyObject** dict;       // null: there is none
};
Destination destination_of(PyObject* object, PyObject* name) {
  PyObject* descriptor = _PyType_Lookup(object->type, name);
  if (descriptor != nullptr && field(descriptor->type, kTypeDescrSet) != nullptr) return {descriptor, nullptr};
  return {nullptr, dict_place(object)};
}

/// As stored_attribute, but may leave an exception. A property's stores are stores of their own.
PyObject* lying_attribute(PyObject* object, PyObject* name, const Destination& at, bool* known) {
  *known = at.descriptor == nullptr || at.descriptor->type == &PyMemberDescr_Type;
  if (at.descriptor == nullptr)
    return at.dict != nullptr && *at.dict != nullptr ? PyDict_GetItemWithError(*at.dict, name) : nullptr;
  if (!*known) return nullptr;
  const auto* member = field<const PyMemberDef*>(at.descriptor, kMemberDefinition);
  // A class may borrow another one's slot: a store by it is refused, for its objects end before it.
  *known = (member->type == kObjectMember || member->type == kOldObjectMember) &&
           PyType_IsSubtype(object->type, field<PyObject*>(at.descriptor, kDescriptorType)) != 0;
  return *known ? field<PyObject*>(object, static_cast<int>(member->offset)) : nullptr;
}

/// An attribute that lies in the instance and is there already. False: it takes the long way.
bool store_quickly(WatchedContainer* watched, PyObject* name, PyObject* value, int* status) {
  QuickChange quick(watched);
  if (!quick || value == nullptr || !quick.take_after(value) || !quick.take_name(name)) return false;
  bool known = false;
  PyObject* self = watched->object;
  const Destination at = destination_of(self, name);
  const PyObject* old = lying_attribute(self, name, at, &known);
  if (!known || old == nullptr || !quick.take_before(old)) return false;
  // what the interpreter comes to when it has looked for both once more
  *status = at.dict != nullptr && *at.dict != nullptr ? PyDict_SetItem(*at.dict, name, value)
                                                      : originals[kInstance](self, name, value);
  if (*status == 0) quick.tell(Op::kSetAttr);
  return true;
}

template <Store which>
int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
  WatchedContainer* watched = watched_containers.find(self);
  if (watched == nullptr || name->type != &PyUnicode_Type) [[likely]]
    return store_original<which>(self, name, value);
  if (int status; which == kInstance && store_quickly(watched, name, value, &status)) return status;
  return record_store(self, name, value == nullptr, [&] { return store_original<which>(self, name, value); });
}
constexpr SetAttribute kOurs[kStores] = {set_attribute<kInstance>, set_attribute<kClass>, set_attribute<kModule>};

/// Does the type, apart from overrides in Python, store by our function in place of that one?
bool leads(const PyObject* type, void* original) {
  for (; type != nullptr; type = field<PyObject*>(type, kTypeBase)) {
    const auto store = field<SetAttribute>(type, kTypeSetAttr);
    if (store == python_override) continue;
    for (int i = 0; i < kStores; ++i)
      if (store == kOurs[i]) return reinterpret_cast<void*>(originals[i]) == original;
    return false;
  }
  return false;
}

PyObject* none_or_null(int status) {
  if (status != 0) return nullptr;
  incref(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

// `object.__setattr__(x, …)`. The interpreter refuses it for a type whose slot is not that very function; ours stands
// for it.
template <WrapperFunction& original, ssize_t arguments>
PyObject* lead_store(PyObject* self, PyObject* args, void* slot, PyObject* kwargs) {
  const bool led = size_of(args) == arguments && leads(self->type, slot);
  PyObject* name = size_of(args) == arguments ? tuple_items(args)[0] : nullptr;
  auto call = [&]() -> PyObject* {
    if (!led) {
      PyObject* result = original(self, args, slot, kwargs);
      if (name != nullptr && writes_finalizers(self, name)) finalizers_were_written();
      return result;
    }
    PyObject* value = arguments == 2 ? tuple_items(args)[1] : nullptr;
    const int status = reinterpret_cast<SetAttribute>(slot)(self, name, value);
    if (writes_finalizers(self, name)) finalizers_were_written();
    return none_or_null(status);
  };
  if (name == nullptr || name->type != &PyUnicode_Type || watched_containers.find(self) == nullptr) return call();
  for (const SetAttribute known : originals)
    if (reinterpret_cast<void*>(known) == slot && slot != nullptr)
      return record_store(self, name, arguments == 1, call);
  return call();
}

bool start() {
  static const bool started = [] {
    originals[kInstance] = PyObject_GenericSetAttr;
    originals[kClass] = field<SetAttribute>(&PyType_Type, kTypeSetAttr);
    originals[kModule] = field<SetAttribute>(&PyModule_Type, kTypeSetAttr);
    void* override_slot = nullptr;
    set_wrapper = lead_wrapper(&PyBaseObject_Type, "__setattr__", lead_store<set_wrapper, 2>, &override_slot);
    if (set_wrapper == nullptr) return false;
    delete_wrapper = lead_wrapper(&PyBaseObject_Type, "__delattr__", lead_store<delete_wrapper, 1>, nullptr);
    python_override = reinterpret_cast<SetAttribute>(override_slot);
    return delete_wrapper != nullptr;
  }();
  return started;
}

// ---- `x.__dict__`: what is done to that dict is done to the attributes

PyObject* (*base_get_dict)(PyObject*, void*) = nullptr;

PyObject* get_dict(PyObject* self, void* closure) {
  PyObject* dict = base_get_dict(self, closure);
  if (dict != nullptr && watched_containers.find(self) != nullptr) adopt_attributes(self, dict);
  return dict;
}

/// The class's own descriptor, not the interpreter's table: other classes keep theirs.
void lead_dict_getter(PyObject* type) {
  static constinit PyGetSetDef ours{};
  const Ref name(PyUnicode_InternFromString("__dict__"));
  PyObject* descriptor = name ? _PyType_Lookup(type, name.get()) : nullptr;
  if (descriptor == nullptr || descriptor->type != &PyGetSetDescr_Type) return;
  auto& definition = field_ref<const PyGetSetDef*>(descriptor, kGetSetDefinition);
  if (definition == &ours || (base_get_dict != nullptr && definition->get != base_get_dict)) return;
  if (!has_flag(field<PyObject*>(descriptor, kDescriptorType), kHeapType)) return;
  base_get_dict = definition->get;
  ours = *definition;
  ours.get = get_dict;
  definition = &ours;
}

bool has_slots(PyObject* type) {
  for (; type != nullptr && has_flag(type, kHeapType); type = field<PyObject*>(type, kTypeBase)) {
    const auto* slot = field<const PyMemberDef*>(type, kTypeMembers);
    for (; slot != nullptr && slot->name != nullptr; ++slot)
      if (slot->type == kObjectMember) return true;
  }
  return false;
}

}  // namespace

PyObject* stored_attribute(PyObject* object, PyObject* name, bool* known) {
  PyObject* value = lying_attribute(object, name, destination_of(object, name), known);
  if (value == nullptr) PyErr_Clear();
  return value;
}

PyObject* attributes_of(PyObject* object) {
  PyObject** dict = dict_place(object);
  return dict != nullptr ? *dict : nullptr;
}

bool has_attributes(PyObject* type) {
  constexpr unsigned long kValues = kIntSubclass | kTupleSubclass | kBytesSubclass | kTextSubclass;
  return !has_flag(type, kValues) && (field<ssize_t>(type, kDictOffset) != 0 || has_slots(type));
}

bool lead_attribute_stores(PyObject* type) {
  if (!start()) return false;
  const auto store = field<SetAttribute>(type, kTypeSetAttr);
  if (store == python_override) {  // what it calls in the end is seen
    PyObject* base = field<PyObject*>(type, kTypeBase);
    while (base != nullptr && field<SetAttribute>(base, kTypeSetAttr) == python_override)
      base = field<PyObject*>(base, kTypeBase);
    const auto leaf = base != nullptr ? field<SetAttribute>(base, kTypeSetAttr) : nullptr;
    bool known = false;
    for (int i = 0; i < kStores; ++i) known = known || leaf == originals[i] || leaf == kOurs[i];
    if (known && !has_flag(type, kTypeSubclass)) lead_dict_getter(type);
    return known;
  }
  for (int i = 0; i < kStores; ++i) {
    if (store == kOurs[i]) return true;
    if (store != originals[i]) continue;
    if (!has_flag(type, kTypeSubclass)) lead_dict_getter(type);
    field_ref<SetAttribute>(type, kTypeSetAttr) = kOurs[i];
    PyType_Modified(type);
    return true;
  }
  return false;
}

}  // namespace watcher::python

// Mutators of set.
#include <algorithm>
#include <vector>

#include "probes/python/containers/containers.h"
#include "probes/python/events/repr.h"

namespace watcher::python {
namespace {

enum SetMutator {
  kSetAdd,
  kSetRemove,
  kSetDiscard,
  kSetPop,
  kSetClear,
  kSetUpdate,
  kSetIntersection,
  kSetDifference,
  kSetSymmetricDifference,
};
extern constinit Mutator mutators[9];

using Combine = PyObject* (*)(PyObject* self, PyObject* other);
using Init = int (*)(PyObject* self, PyObject* args, PyObject* kwargs);

bool succeeded(const PyObject* result) {
  return result != nullptr;
}
bool succeeded(int status) {
  return status == 0;
}

bool contains(PyObject* set, PyObject* plain_element) {
  const int found = PySequence_Contains(set, plain_element);
  if (found < 0) PyErr_Clear();
  return found > 0;
}

/// All elements, or the first ones, by reference: sets keep the objects they were given.
struct Elements : HeldItems {
  explicit Elements(PyObject* set) : Elements(set, static_cast<std::size_t>(size_of_set(set))) {}
  Elements(PyObject* set, std::size_t most) : HeldItems(most) {
    std::size_t position = 0;
    while (PyObject* element = size() < most ? next_of_set(set, &position) : nullptr) add(element);
  }
};

/// Elements of the first that are not, by identity, in the second.
std::vector<PyObject*> missing_from(const Elements& wanted, const Elements& others) {
  std::vector<PyObject*> sorted(others.data(), others.data() + others.size());
  std::sort(sorted.begin(), sorted.end());
  std::vector<PyObject*> missing;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!std::binary_search(sorted.begin(), sorted.end(), wanted[i])) missing.push_back(wanted[i]);
  return missing;
}

void record_whole(const Mutation& change, Op op, const Elements& before, PyObject* self) {
  change.record(op, nullptr, encode_items(set_kind, before.data(), before.size(), scratch_before),
                encode_repr(self, scratch_after));
  adopt_all(self);
}

void record_element(const Mutation& change, Op op, PyObject* element, bool was_in, bool is_in) {
  change.record_item(op, element_step(element), was_in ? element : nullptr, is_in ? element : nullptr);
}

/// One event an element that came or went. An element replaced by an equal one (intersections take either) did not
/// change.
bool record_difference(const Mutation& change, Op op, const Elements& before, const Elements& after) {
  const std::vector<PyObject*> came = missing_from(after, before);
  const std::vector<PyObject*> went = missing_from(before, after);
  if (op == Op::kIntersectionUpdate && !came.empty()) return false;
  for (PyObject* element : went) record_element(change, op, element, true, false);
  for (PyObject* element : came) record_element(change, op, element, false, true);
  return !came.empty() || !went.empty();
}

/// An operation of which nothing is known but its outcome.
template <class Call>
auto by_outcome(const Mutation& change, PyObject* self, Op op, Call call) {
  const Elements before(self);
  const auto result = call();
  KeepException keep;
  const Elements after(self);
  const bool changed = before.size() != after.size() || !missing_from(after, before).empty();
  if (!succeeded(result) && !changed) return result;
  if (change.nested() || !record_difference(change, op, before, after)) record_whole(change, op, before, self);
  return result;
}

/// The distinct elements that other sets, lists, tuples or dicts name, so far as looking them up runs no code of the
/// host's.
class NamedElements {
 public:
  NamedElements() : set_(PySet_New(nullptr)) {}

  bool add(PyObject* other) {
    const PyObject* type = other->type;
    if (!set_) return false;
    if (type == &PyList_Type || type == list_kind.type) return add(list_items(other), size_of(other));
    if (type == &PyTuple_Type) return add(tuple_items(other), size_of(other));
    std::size_t position = 0;
    if (type == &PySet_Type || type == &PyFrozenSet_Type || type == set_kind.type) {
      while (PyObject* element = next_of_set(other, &position))
        if (!add(element, 0)) return false;
      return true;
    }
    PyObject *key, *value;
    ssize_t at = 0;
    if (type != &PyDict_Type && type != dict_kind.type) return false;
    while (PyDict_Next(other, &at, &key, &value))
      if (!add(key, 0)) return false;
    return true;
  }
  Elements elements() const { return Elements(set_.get()); }

 private:
  bool add(PyObject* const* items, ssize_t count) {
    for (ssize_t i = 0; i < count; ++i)
      if (!add(items[i], 0)) return false;
    return true;
  }
  bool add(PyObject* element, int) {
    if (!is_plain_key(element)) return false;
    if (PySet_Add(set_.get(), element) == 0) return true;
    PyErr_Clear();
    return false;
  }

  Ref set_;
};

/// An update or a difference with known elements: costs as much as they are, however large the set is.
template <class Call>
auto by_elements(const Mutation& change, PyObject* self, Op op, const Elements& named, Call call) {
  std::vector<bool> was_in(named.size());
  bool idle = true;
  for (std::size_t i = 0; i < named.size(); ++i) {
    was_in[i] = contains(self, named[i]);
    idle = idle && was_in[i] == (op == Op::kUpdate);
  }
  const Elements before(self, idle ? kMaxReprItems + 1 : 0);  // what changes nothing may still rearrange
  const auto result = call();
  KeepException keep;
  bool any = false;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const bool is_in = contains(self, named[i]);
    if (was_in[i] == is_in) continue;
    record_element(change, op, named[i], was_in[i], is_in);
    any = true;
  }
  if (!any && succeeded(result))
    change.record(
        op, nullptr,
        idle ? encode_items(set_kind, before.data(), before.size(), scratch_before) : encode_repr(self, scratch_before),
        encode_repr(self, scratch_after));
  return result;
}

template <class Call>
auto combine(PyObject* self, Op op, PyObject* const* others, ssize_t count, Call call) {
  const Mutation change(self);
  if (!change) return call();
  if (op == Op::kUpdate || op == Op::kDifferenceUpdate) {
    NamedElements named;
    ssize_t understood = 0;
    while (understood < count && named.add(others[understood])) ++understood;
    if (understood == count) return by_elements(change, self, op, named.elements(), call);
  }
  return by_outcome(change, self, op, call);
}

bool is_any_set(const PyObject* object) {
  return object->type == set_kind.type || PyType_IsSubtype(object->type, &PySet_Type) != 0 ||
         PyType_IsSubtype(object->type, &PyFrozenSet_Type) != 0;
}

template <int slot, Op op>
PyObject* in_place(PyObject* self, PyObject* other) {
  auto call = [&] { return suite_slot<Combine>(&PySet_Type, kTypeAsNumber, slot)(self, other); };
  return is_any_set(other) ? combine(self, op, &other, 1, call) : call();  // else: NotImplemented
}

template <SetMutator which, Op op>
PyObject* combine_method(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  return combine(self, op, args, count, [&] { return call_base(mutators[which], self, args, count, names); });
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  const Mutation change(self);
  auto call = [&] { return field<Init>(&PySet_Type, kTypeInit)(self, args, kwargs); };
  return change ? by_outcome(change, self, Op::kReinit, call) : call();
}

PyObject* add(PyObject* self, PyObject* element) {
  const Mutation change(self);
  const ssize_t size = size_of_set(self);
  PyObject* result = call_base(mutators[kSetAdd], self, element);
  if (result != nullptr && change) record_element(change, Op::kAdd, element, size_of_set(self) == size, true);
  return result;
}

template <SetMutator which, Op op>
PyObject* take(PyObject* self, PyObject* element) {
  const Mutation change(self);
  const ssize_t size = size_of_set(self);
  PyObject* result = call_base(mutators[which], self, element);
  if (result != nullptr && change && size_of_set(self) < size) record_element(change, op, element, true, false);
  return result;
}

PyObject* pop(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  PyObject* element = call_base(mutators[kSetPop], self, args, count, names);
  if (element != nullptr && change) record_element(change, Op::kPop, element, true, false);
  return element;
}

PyObject* clear(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[kSetClear], self, args, count, names); };
  if (!change) return call();
  const Elements before(self);
  PyObject* result = call();
  if (result != nullptr) record_whole(change, Op::kClear, before, self);
  return result;
}

constinit Mutator mutators[9] = {
    {.name = "add", .one_argument = add},
    {.name = "remove", .one_argument = take<kSetRemove, Op::kRemove>},
    {.name = "discard", .one_argument = take<kSetDiscard, Op::kDiscard>},
    {.name = "pop", .fast = pop},
    {.name = "clear", .fast = clear},
    {.name = "update", .fast = combine_method<kSetUpdate, Op::kUpdate>},
    {.name = "intersection_update", .fast = combine_method<kSetIntersection, Op::kIntersectionUpdate>},
    {.name = "difference_update", .fast = combine_method<kSetDifference, Op::kDifferenceUpdate>},
    {.name = "symmetric_difference_update",
     .fast = combine_method<kSetSymmetricDifference, Op::kSymmetricDifferenceUpdate>},
};

enum { kSlotInPlaceAnd = 15, kSlotInPlaceOr = 19, kSlotInPlaceSubtract = 23, kSlotInPlaceXor = 25, kSlotInit = 60 };
const PyTypeSlot slots[] = {
    {kSlotInPlaceAnd, reinterpret_cast<void*>(in_place<kNumberInPlaceAnd, Op::kIntersectionUpdate>)},
    {kSlotInPlaceOr, reinterpret_cast<void*>(in_place<kNumberInPlaceOr, Op::kUpdate>)},
    {kSlotInPlaceSubtract, reinterpret_cast<void*>(in_place<kNumberInPlaceSubtract, Op::kDifferenceUpdate>)},
    {kSlotInPlaceXor, reinterpret_cast<void*>(in_place<kNumberInPlaceXor, Op::kSymmetricDifferenceUpdate>)},
    {kSlotInit, reinterpret_cast<void*>(init)},
};

/// copy.copy() takes no state setter.
bool called_by_copy() {
  const auto* globals = field<PyObject*>(current_frame(), compat.frame_globals);
  PyObject* name = PyDict_GetItemString(const_cast<PyObject*>(globals), "__name__");
  return name != nullptr && name->type == &PyUnicode_Type && PyUnicode_CompareWithASCIIString(name, "copy") == 0;
}

bool may_hold_a_set(PyObject* elements) {
  for (ssize_t i = 0; i < size_of(elements); ++i) {
    const PyObject* type = list_items(elements)[i]->type;
    if (type != &PyTuple_Type && field(type, kTypeHash) != field(&PyBaseObject_Type, kTypeHash) &&
        !has_flag(type, kHeapType))
      continue;
    return true;
  }
  return false;
}

// (set, ([elements],), None): what set.__reduce__ gives. For pickle, elements that may hold the set itself come after
// it, by set.update.
PyObject* reduce(PyObject* self) {
  const Ref elements(PyList_New(0));
  std::size_t position = 0;
  while (PyObject* element = elements ? next_of_set(self, &position) : nullptr)
    if (PyList_Append(elements.get(), element) != 0) return nullptr;
  if (elements && may_hold_a_set(elements.get()) && !called_by_copy()) {
    const Ref nothing(PyTuple_New(0));
    const Ref update(PyObject_GetAttrString(&PySet_Type, "update"));
    return nothing && update ? PyTuple_Pack(6, &PySet_Type, nothing.get(), elements.get(), &_Py_NoneStruct,
                                            &_Py_NoneStruct, update.get())
                             : nullptr;
  }
  const Ref arguments(elements ? PyTuple_Pack(1, elements.get()) : nullptr);
  return arguments ? PyTuple_Pack(3, &PySet_Type, arguments.get(), &_Py_NoneStruct) : nullptr;
}

// What set.__repr__ gives for an exact set.
PyObject* repr(PyObject* self) {
  if (size_of_set(self) == 0) return PyUnicode_FromString("set()");
  const int entered = Py_ReprEnter(self);
  if (entered != 0) return entered < 0 ? nullptr : PyUnicode_FromString("set(...)");
  const Ref elements(PySequence_List(self));
  const Ref text(elements ? PyObject_Repr(elements.get()) : nullptr);
  const Ref inner(text ? PyUnicode_Substring(text.get(), 1, size_of(text.get()) - 1) : nullptr);
  PyObject* result = inner ? PyUnicode_FromFormat("{%U}", inner.get()) : nullptr;
  Py_ReprLeave(self);
  return result;
}

}  // namespace

constinit ContainerKind set_kind{"set", "builtins.set", &PySet_Type, mutators, slots, reduce, repr};

}  // namespace watcher::python

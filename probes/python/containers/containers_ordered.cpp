// Mutators of collections.OrderedDict. Its type stays: slots and methods of the type itself lead here.
//
// Some of its methods call the slots of the object, some do not, and that differs by version and for subclasses: what a
// slot recorded meanwhile is not recorded again.
#include "probes/python/containers/containers.h"
#include "probes/python/interpreter/leading.h"

namespace watcher::python {
namespace {

enum OrderedMutator { kOrderedPop, kOrderedPopItem, kOrderedSetDefault, kOrderedClear, kOrderedMove, kOrderedMutators };
extern constinit Mutator mutators[kOrderedMutators];
enum OrderedSlot { kOrderedSetItem };

using SetItem = int (*)(PyObject* self, PyObject* key, PyObject* value);

PyObject* value_of(PyObject* dict, PyObject* key) {
  PyObject* value = is_plain_key(key) ? PyDict_GetItemWithError(dict, key) : nullptr;
  if (value == nullptr) PyErr_Clear();
  return value;
}

int set_subscript(PyObject* self, PyObject* key, PyObject* value) {
  const auto base = reinterpret_cast<SetItem>(ordered_kind.base_slots[kOrderedSetItem]);
  const Mutation change(self);
  if (!change) return base(self, key, value);
  const ssize_t size = PyDict_Size(self);
  const Ref old = Ref::borrow(value_of(self, key));
  const int status = base(self, key, value);
  if (status != 0) return status;
  const bool exact = is_plain_key(key) || PyDict_Size(self) > size;
  change.record_item(value != nullptr ? Op::kSetItem : Op::kDelItem, key_step(key), old.get(), value, exact);
  return status;
}

PyObject* pop(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  const ssize_t size = PyDict_Size(self);
  PyObject* result = call_base(mutators[kOrderedPop], self, args, count, names);
  if (result != nullptr && change && !change.nested() && count > 0 && PyDict_Size(self) < size)
    change.record_item(Op::kPop, key_step(args[0]), result, nullptr);
  return result;
}

PyObject* popitem(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  PyObject* result = call_base(mutators[kOrderedPopItem], self, args, count, names);
  if (result != nullptr && change && !change.nested())
    change.record_item(Op::kPopItem, key_step(tuple_items(result)[0]), tuple_items(result)[1], nullptr);
  return result;
}

PyObject* setdefault(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  const ssize_t size = PyDict_Size(self);
  PyObject* result = call_base(mutators[kOrderedSetDefault], self, args, count, names);
  if (result != nullptr && change && !change.nested() && count > 0 && PyDict_Size(self) > size)
    change.record_item(Op::kSetDefault, key_step(args[0]), nullptr, result);
  return result;
}

template <OrderedMutator which, Op op>
PyObject* rearrange(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[which], self, args, count, names); };
  if (!change) return call();
  Shadow before;
  before.assign(encode_repr(self, scratch_before));
  const Ref held(PyDict_Copy(self));  // destructors of what goes run behind the event
  PyErr_Clear();
  PyObject* result = call();
  if (result != nullptr) change.record(op, nullptr, before.value(), encode_repr(self, scratch_after));
  return result;
}

PyObject* move_to_end(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  const Ref key = Ref::borrow(change && count > 0 ? args[0] : nullptr);
  PyObject* result = call_base(mutators[kOrderedMove], self, args, count, names);
  if (result == nullptr || !change) return result;
  const Ref value = Ref::borrow(key ? value_of(self, key.get()) : nullptr);
  if (value)
    change.record_item(Op::kMoveToEnd, key_step(key.get()), value.get(), value.get());
  else
    change.record(Op::kMoveToEnd, nullptr, {}, encode_repr(self, scratch_after), false);
  return result;
}

constinit Mutator mutators[kOrderedMutators] = {
    {.name = "pop", .fast = pop},
    {.name = "popitem", .fast = popitem},
    {.name = "setdefault", .fast = setdefault},
    {.name = "clear", .fast = rearrange<kOrderedClear, Op::kClear>},
    {.name = "move_to_end", .fast = move_to_end},
};

const PyTypeSlot slots[] = {{3, reinterpret_cast<void*>(set_subscript)}};

}  // namespace

constinit ContainerKind ordered_kind{"OrderedDict", "collections.OrderedDict", nullptr, mutators, slots, nullptr};

}  // namespace watcher::python

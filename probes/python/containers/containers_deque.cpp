// Mutators of collections.deque. Its type stays: slots and methods of the type itself lead here.
#include "probes/python/containers/containers.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/object_parts.h"

namespace watcher::python {
namespace {

enum DequeMutator {
  kDequeAppend,
  kDequeAppendLeft,
  kDequeExtend,
  kDequeExtendLeft,
  kDequePop,
  kDequePopLeft,
  kDequeInsert,
  kDequeRemove,
  kDequeRotate,
  kDequeReverse,
  kDequeClear,
  kDequeMutators
};
extern constinit Mutator mutators[kDequeMutators];
enum DequeSlot { kDequeSetItem, kDequeConcat, kDequeRepeat, kDequeInit };

using SetIndex = int (*)(PyObject* self, ssize_t index, PyObject* value);
using Concat = PyObject* (*)(PyObject* self, PyObject* other);
using Repeat = PyObject* (*)(PyObject* self, ssize_t times);
using Init = int (*)(PyObject* self, PyObject* args, PyObject* kwargs);

template <class Slot>
Slot base_slot(DequeSlot slot) {
  return reinterpret_cast<Slot>(deque_kind.base_slots[slot]);
}

/// All items, by reference.
struct Items : HeldItems {
  explicit Items(PyObject* deque) : HeldItems(static_cast<std::size_t>(size_of(deque))) {
    DequeItems items(deque);
    while (PyObject* item = items.next()) add(item);
  }
};

bool same_items(const Items& before, PyObject* deque) {
  if (static_cast<ssize_t>(before.size()) != size_of(deque)) return false;
  DequeItems items(deque);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (items.next() != before[i]) return false;
  return true;
}

void record_whole(const Mutation& change, Op op, const Items& before, PyObject* self) {
  change.record(op, nullptr, encode_items(deque_kind, before.data(), before.size(), scratch_before),
                encode_repr(self, scratch_after));
  adopt_all(self);
}

template <class Call>
auto whole(PyObject* self, Op op, Call call) {
  const Mutation change(self);
  if (!change) return call();
  const Items before(self);
  const auto result = call();
  KeepException keep;
  if (succeeded(result) || !same_items(before, self)) record_whole(change, op, before, self);
  return result;
}

template <DequeMutator which, Op op>
PyObject* rearrange(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  return whole(self, op, [&] { return call_base(mutators[which], self, args, count, names); });
}

template <DequeMutator which, Op op>
PyObject* combine(PyObject* self, PyObject* other) {
  return whole(self, op, [&] { return call_base(mutators[which], self, other); });
}

/// With a bound an append pushes an item out at the other end: then the whole is told.
template <DequeMutator which, Op op>
PyObject* append(PyObject* self, PyObject* item) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[which], self, item); };
  if (!change) return call();
  constexpr int kMaxLength = 64;
  if (field<ssize_t>(self, kMaxLength) == size_of(self)) return whole(self, op, call);
  PyObject* result = call();
  if (result != nullptr) change.record_item(op, index_step(op == Op::kAppend ? size_of(self) - 1 : 0), nullptr, item);
  return result;
}

template <DequeMutator which, Op op>
PyObject* pop(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  PyObject* item = call_base(mutators[which], self, args, count, names);
  if (item != nullptr && change) change.record_item(op, index_step(op == Op::kPop ? size_of(self) : 0), item, nullptr);
  return item;
}

int set_index(PyObject* self, ssize_t index, PyObject* value) {
  const auto base = base_slot<SetIndex>(kDequeSetItem);
  const Mutation change(self);
  if (!change) return base(self, index, value);
  const Ref old = Ref::borrow(deque_item(self, index));
  const int status = base(self, index, value);
  if (status == 0)
    change.record_item(value != nullptr ? Op::kSetItem : Op::kDelItem, index_step(index), old.get(), value);
  return status;
}

PyObject* in_place_concat(PyObject* self, PyObject* other) {
  return whole(self, Op::kExtend, [&] { return base_slot<Concat>(kDequeConcat)(self, other); });
}

PyObject* in_place_repeat(PyObject* self, ssize_t times) {
  return whole(self, Op::kRepeat, [&] { return base_slot<Repeat>(kDequeRepeat)(self, times); });
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  return whole(self, Op::kReinit, [&] { return base_slot<Init>(kDequeInit)(self, args, kwargs); });
}

constinit Mutator mutators[kDequeMutators] = {
    {.name = "append", .one_argument = append<kDequeAppend, Op::kAppend>},
    {.name = "appendleft", .one_argument = append<kDequeAppendLeft, Op::kAppendLeft>},
    {.name = "extend", .one_argument = combine<kDequeExtend, Op::kExtend>},
    {.name = "extendleft", .one_argument = combine<kDequeExtendLeft, Op::kExtendLeft>},
    {.name = "pop", .fast = pop<kDequePop, Op::kPop>},
    {.name = "popleft", .fast = pop<kDequePopLeft, Op::kPopLeft>},
    {.name = "insert", .fast = rearrange<kDequeInsert, Op::kInsert>},
    {.name = "remove", .one_argument = combine<kDequeRemove, Op::kRemove>},
    {.name = "rotate", .fast = rearrange<kDequeRotate, Op::kRotate>},
    {.name = "reverse", .fast = rearrange<kDequeReverse, Op::kReverse>},
    {.name = "clear", .fast = rearrange<kDequeClear, Op::kClear>},
};

enum { kSlotSetItem = 39, kSlotInPlaceConcat = 42, kSlotInPlaceRepeat = 43, kSlotInit = 60 };
const PyTypeSlot slots[] = {
    {kSlotSetItem, reinterpret_cast<void*>(set_index)},
    {kSlotInPlaceConcat, reinterpret_cast<void*>(in_place_concat)},
    {kSlotInPlaceRepeat, reinterpret_cast<void*>(in_place_repeat)},
    {kSlotInit, reinterpret_cast<void*>(init)},
};

}  // namespace

constinit ContainerKind deque_kind{"deque", "collections.deque", nullptr, mutators, slots, nullptr};

}  // namespace watcher::python

// Mutators of list.
#include "probes/python/containers/containers.h"
#include "probes/python/containers/quick_change.h"

namespace watcher::python {
namespace {

enum ListMutator { kListAppend, kListExtend, kListInsert, kListPop, kListRemove, kListClear, kListSort, kListReverse };
extern constinit Mutator mutators[8];

using SetItem = int (*)(PyObject* self, PyObject* key, PyObject* value);
using SetIndex = int (*)(PyObject* self, ssize_t index, PyObject* value);
using Concat = PyObject* (*)(PyObject* self, PyObject* other);
using Repeat = PyObject* (*)(PyObject* self, ssize_t times);
using Init = int (*)(PyObject* self, PyObject* args, PyObject* kwargs);

template <class Slot>
Slot base_sequence(int slot) {
  return suite_slot<Slot>(&PyList_Type, kTypeAsSequence, slot);
}

bool succeeded(const PyObject* result) {
  return result != nullptr;
}
bool succeeded(int status) {
  return status == 0;
}

std::size_t length(const PyObject* list) {
  return static_cast<std::size_t>(size_of(list));
}
bool is_exact_sequence(const PyObject* value) {
  return value->type == &PyList_Type || value->type == &PyTuple_Type || value->type == list_kind.type;
}
/// Runs no code when used as an index.
bool is_plain_index(const PyObject* value) {
  return value->type == &PyLong_Type || value == &_Py_NoneStruct;
}

bool same_items(const HeldItems& before, const PyObject* list) {
  if (before.size() != length(list)) return false;
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i] != list_items(list)[i]) return false;
  return true;
}

void record_whole(const Mutation& change, Op op, const HeldItems& before, PyObject* list) {
  change.record(op, nullptr, encode_items(list_kind, before.data(), before.size(), scratch_before),
                encode_repr(list, scratch_after));
  adopt_all(list);
}

/// Runs a mutator that may change anything, or change something and then raise.
template <class Call>
auto whole(PyObject* self, Op op, Call call) {
  const Mutation change(self);
  if (!change) return call();
  const HeldItems before(list_items(self), length(self));
  const auto result = call();
  if (succeeded(result) || !same_items(before, self)) record_whole(change, op, before, self);
  return result;
}

/// Where one item came or went: the first place from which the longer sequence runs one ahead. Among equal neighbours
/// the first one is meant, as list.remove finds it.
std::size_t moved_index(PyObject* const* shorter, std::size_t size, PyObject* const* longer) {
  std::size_t at = 0;
  while (at < size && shorter[at] == longer[at]) ++at;
  while (at > 0 && longer[at - 1] == longer[at]) --at;
  return at;
}

int set_index(PyObject* self, ssize_t index, PyObject* value) {
  const auto base = base_sequence<SetIndex>(kSequenceSetItem);
  if (value != nullptr && index >= 0 && index < size_of(self)) {
    QuickChange quick(self);
    if (quick && quick.take_before(list_items(self)[index]) && quick.take_after(value) && quick.take_index(index)) {
      const int status = base(self, index, value);
      if (status == 0) quick.tell(Op::kSetItem);
      return status;
    }
  }
  const Mutation change(self);
  if (!change || index < 0 || index >= size_of(self)) return base(self, index, value);
  const Ref old = Ref::borrow(list_items(self)[index]);
  const int status = base(self, index, value);
  if (status == 0)
    change.record_item(value != nullptr ? Op::kSetItem : Op::kDelItem, index_step(index), old.get(), value);
  return status;
}

/// The part of a list that a slice can change: [first, end), the steps' gaps included.
struct Extent {
  ssize_t first = 0, end = 0;
  bool with_gaps = false;

  Extent(PyObject* slice, ssize_t size) {
    ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step) != 0) {
      PyErr_Clear();  // the base operation raises it again
      return;
    }
    const ssize_t count = PySlice_AdjustIndices(size, &start, &stop, step);
    with_gaps = step != 1 && step != -1;
    first = step > 0 || count == 0 ? start : start + (count - 1) * step;
    end = count == 0 ? start : (step > 0 ? start + (count - 1) * step : start) + 1;
  }
};

int set_slice(PyObject* self, PyObject* slice, PyObject* value) {
  const auto base = suite_slot<SetItem>(&PyList_Type, kTypeAsMapping, kMappingSetItem);
  const Mutation change(self);
  const Op op = value != nullptr ? Op::kSetItem : Op::kDelItem;
  const bool plain = is_plain_index(field<PyObject*>(slice, kSliceStart)) &&
                     is_plain_index(field<PyObject*>(slice, kSliceStop)) &&
                     is_plain_index(field<PyObject*>(slice, kSliceStep));
  if (!plain) return whole(self, op, [&] { return base(self, slice, value); });
  const std::size_t size = length(self);
  const Extent extent(slice, size_of(self));
  const auto replaced = static_cast<std::size_t>(extent.end - extent.first);
  // Reading a foreign iterable may run code that changes the list; then all of it has to be known.
  const bool quiet = value == nullptr || is_exact_sequence(value);
  const HeldItems before(list_items(self) + (quiet ? extent.first : 0), quiet ? replaced : size);
  const int status = base(self, slice, value);
  if (status != 0) return status;  // a slice store changes all or nothing
  if (!quiet && change.nested()) {
    record_whole(change, op, before, self);
    return status;
  }
  const std::size_t now = replaced + length(self) - size;
  const PathStep path{.kind = PathKind::kRange, .index = extent.first, .end = extent.end};
  const Value old = encode_items(list_kind, before.data() + (quiet ? 0 : extent.first), replaced, scratch_before);
  const bool nothing_left = value == nullptr && !extent.with_gaps;
  change.record(op, &path, old,
                nothing_left ? Value{} : encode_items(list_kind, list_items(self) + extent.first, now, scratch_after));
  adopt_parts(self, list_items(self) + extent.first, now);
  return status;
}

int set_subscript(PyObject* self, PyObject* key, PyObject* value) {
  const auto base = suite_slot<SetItem>(&PyList_Type, kTypeAsMapping, kMappingSetItem);
  if (watched_containers.find(self) == nullptr) return base(self, key, value);
  if (key->type == &PySlice_Type) return set_slice(self, key, value);
  if (suite_slot(key->type, kTypeAsNumber, kNumberIndex) == nullptr) return base(self, key, value);
  ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);  // once: __index__ may be the host's code
  if (index == -1 && PyErr_Occurred() != nullptr) return -1;
  if (index < 0) index += size_of(self);
  return set_index(self, index, value);
}

/// `call` appends items. Only an exact list or tuple is sure not to run code while it is read.
template <class Call>
auto extend(PyObject* self, const PyObject* items, Call call) {
  const Mutation change(self);
  if (!change) return call();
  const std::size_t old_size = length(self);
  const HeldItems before(list_items(self), is_exact_sequence(items) ? 0 : old_size);
  const auto result = call();
  if (change.nested() || length(self) < old_size) {
    if (succeeded(result) || !same_items(before, self)) record_whole(change, Op::kExtend, before, self);
  } else if (succeeded(result) || length(self) > old_size) {
    const PathStep path{.kind = PathKind::kRange, .index = static_cast<std::int64_t>(old_size), .end = size_of(self)};
    change.record(Op::kExtend, &path, {},
                  encode_items(list_kind, list_items(self) + old_size, length(self) - old_size, scratch_after));
    adopt_parts(self, list_items(self) + old_size, length(self) - old_size);
  }
  return result;
}

PyObject* in_place_concat(PyObject* self, PyObject* other) {
  return extend(self, other, [&] { return base_sequence<Concat>(kSequenceInPlaceConcat)(self, other); });
}

PyObject* in_place_repeat(PyObject* self, ssize_t times) {
  return whole(self, Op::kRepeat, [&] { return base_sequence<Repeat>(kSequenceInPlaceRepeat)(self, times); });
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  return whole(self, Op::kReinit, [&] { return field<Init>(&PyList_Type, kTypeInit)(self, args, kwargs); });
}

/// PyList_Append, in line while there is room.
bool append_item(PyObject* list, PyObject* item) {
  const ssize_t size = size_of(list);
  if (size >= field<ssize_t>(list, kListCapacity)) return PyList_Append(list, item) == 0;
  incref(item);
  list_items(list)[size] = item;
  field_ref<ssize_t>(list, kSize) = size + 1;
  return true;
}

PyObject* append(PyObject* self, PyObject* item) {
  if (QuickChange quick(self); quick && quick.take_after(item) && quick.take_index(size_of(self))) {
    if (!append_item(self, item)) return nullptr;
    quick.tell(Op::kAppend);
    incref(&_Py_NoneStruct);
    return &_Py_NoneStruct;
  }
  const Mutation change(self);
  PyObject* result = call_base(mutators[kListAppend], self, item);
  if (result != nullptr && change) change.record_item(Op::kAppend, index_step(size_of(self) - 1), nullptr, item);
  return result;
}

PyObject* extend_method(PyObject* self, PyObject* items) {
  return extend(self, items, [&] { return call_base(mutators[kListExtend], self, items); });
}

PyObject* insert(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[kListInsert], self, args, count, names); };
  if (!change || count != 2 || names != nullptr) return call();
  if (args[0]->type != &PyLong_Type) {
    const HeldItems before(list_items(self), length(self));
    PyObject* result = call();
    if (result != nullptr && !change.nested())
      change.record_item(Op::kInsert,
                         index_step(static_cast<ssize_t>(moved_index(before.data(), before.size(), list_items(self)))),
                         nullptr, args[1]);
    else if (result != nullptr)
      record_whole(change, Op::kInsert, before, self);
    return result;
  }
  const ssize_t size = size_of(self);
  PyObject* result = call();
  if (result == nullptr) return nullptr;
  ssize_t index = PyNumber_AsSsize_t(args[0], nullptr);  // an int beyond the range is clamped
  if (index < 0) index = index + size < 0 ? 0 : index + size;
  change.record_item(Op::kInsert, index_step(index < size ? index : size), nullptr, args[1]);
  return result;
}

/// Records that one item went, wherever it was; what went is told by comparing identities.
void record_removed(const Mutation& change, Op op, const HeldItems& before, PyObject* self) {
  if (change.nested() || length(self) + 1 != before.size()) return record_whole(change, op, before, self);
  const std::size_t index = moved_index(list_items(self), length(self), before.data());
  change.record_item(op, index_step(static_cast<ssize_t>(index)), before[index], nullptr);
}

PyObject* pop(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[kListPop], self, args, count, names); };
  if (!change) return call();
  if (count == 1 && args[0]->type != &PyLong_Type) {
    const HeldItems before(list_items(self), length(self));
    PyObject* result = call();
    if (result != nullptr) record_removed(change, Op::kPop, before, self);
    return result;
  }
  const ssize_t size = size_of(self);
  PyObject* result = call();
  if (result == nullptr) return nullptr;
  const ssize_t index = count == 1 ? PyNumber_AsSsize_t(args[0], nullptr) : -1;
  change.record_item(Op::kPop, index_step(index < 0 ? index + size : index), result, nullptr);
  return result;
}

PyObject* remove(PyObject* self, PyObject* item) {
  const Mutation change(self);
  if (!change) return call_base(mutators[kListRemove], self, item);
  const HeldItems before(list_items(self), length(self));
  PyObject* result = call_base(mutators[kListRemove], self, item);
  if (result != nullptr) record_removed(change, Op::kRemove, before, self);
  return result;
}

template <ListMutator which, Op op>
PyObject* rearrange(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  return whole(self, op, [&] { return call_base(mutators[which], self, args, count, names); });
}

constinit Mutator mutators[8] = {
    {.name = "append", .one_argument = append},
    {.name = "extend", .one_argument = extend_method},
    {.name = "insert", .fast = insert},
    {.name = "pop", .fast = pop},
    {.name = "remove", .one_argument = remove},
    {.name = "clear", .fast = rearrange<kListClear, Op::kClear>},
    {.name = "sort", .fast = rearrange<kListSort, Op::kSort>},
    {.name = "reverse", .fast = rearrange<kListReverse, Op::kReverse>},
};

enum { kSlotMappingSetItem = 3, kSlotSetItem = 39, kSlotInPlaceConcat = 42, kSlotInPlaceRepeat = 43, kSlotInit = 60 };
const PyTypeSlot slots[] = {
    {kSlotMappingSetItem, reinterpret_cast<void*>(set_subscript)},
    {kSlotSetItem, reinterpret_cast<void*>(set_index)},
    {kSlotInPlaceConcat, reinterpret_cast<void*>(in_place_concat)},
    {kSlotInPlaceRepeat, reinterpret_cast<void*>(in_place_repeat)},
    {kSlotInit, reinterpret_cast<void*>(init)},
};

// (list, (), None, iterator): items come after the object itself, so that a list inside itself is no problem.
PyObject* reduce(PyObject* self) {
  const Ref nothing(PyTuple_New(0));
  const Ref items(PyObject_GetIter(self));
  if (!nothing || !items) return nullptr;
  return PyTuple_Pack(4, &PyList_Type, nothing.get(), &_Py_NoneStruct, items.get());
}

}  // namespace

constinit ContainerKind list_kind{"list", "builtins.list", &PyList_Type, mutators, slots, reduce};

}  // namespace watcher::python

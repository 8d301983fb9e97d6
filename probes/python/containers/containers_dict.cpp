// Mutators of dict.
#include <vector>

#include "probes/python/containers/containers.h"
#include "probes/python/containers/quick_change.h"

namespace watcher::python {
namespace {

enum DictMutator { kDictPop, kDictPopItem, kDictSetDefault, kDictUpdate, kDictClear };
extern constinit Mutator mutators[5];

using SetItem = int (*)(PyObject* self, PyObject* key, PyObject* value);
using Combine = PyObject* (*)(PyObject* self, PyObject* other);
using Init = int (*)(PyObject* self, PyObject* args, PyObject* kwargs);

constexpr int kMaxSearched = 4096;  // entries looked at for a key whose comparison is the host's own code

bool succeeded(const PyObject* result) {
  return result != nullptr;
}
bool succeeded(int status) {
  return status == 0;
}

bool is_exact_dict(const PyObject* value) {
  return value->type == &PyDict_Type || value->type == dict_kind.type;
}

PyObject* value_of(PyObject* dict, PyObject* plain_key) {
  PyObject* value = PyDict_GetItemWithError(dict, plain_key);
  if (value == nullptr) PyErr_Clear();
  return value;
}

PyObject* value_by_identity(PyObject* dict, const PyObject* wanted) {
  PyObject *key, *value;
  ssize_t position = 0;
  for (int i = 0; i < kMaxSearched && PyDict_Next(dict, &position, &key, &value); ++i)
    if (key == wanted) return value;
  return nullptr;
}

PyObject* call_pop(PyObject* self, PyObject* key) {
  return call_base(mutators[kDictPop], self, &key, 1, nullptr);
}

// pop() looks the key up once and hands over what was there.
int delete_unplain(const Mutation& change, PyObject* self, PyObject* key) {
  const Ref old(call_pop(self, key));
  if (!old) return -1;
  change.record_item(Op::kDelItem, key_step(key), old.get(), nullptr);
  return 0;
}

/// The item that was stored last: the loop that counts in one item needs no look-up of what it was. It is still there
/// as long as its dict has the version that the store gave it, which no dict ever had before; 3.13 has no versions, but
/// our dict watcher tells of other changes.
struct LatestItem {
  const PyObject* dict = nullptr;
  std::uint64_t version = 0, step = 0;
  Word value;
};
constinit LatestItem latest_item;

std::uint64_t version_of(const PyObject* dict) {
  constexpr int kVersion = 24;  // ma_version_tag; 3.13: who watches it
  return field<std::uint64_t>(dict, kVersion);
}

/// False: it takes the long way.
bool set_quickly(PyObject* self, PyObject* key, PyObject* value, int* status) {
  QuickChange quick(self);
  if (value == nullptr || !quick || !quick.take_after(value) || !quick.take_key(key)) return false;
  const LatestItem& latest = latest_item;
  if (latest.dict == self && latest.step == quick.step() && latest.version == version_of(self))
    quick.take_before(latest.value);
  else if (!quick.take_before(value_of(self, key)))
    return false;
  *status = set_item_untold(self, key, value);
  if (*status != 0) return true;
  const bool known = compat.minor <= 12 || tells_changes(self);
  latest_item = {
      .dict = known ? self : nullptr, .version = version_of(self), .step = quick.step(), .value = quick.after()};
  quick.tell(Op::kSetItem);
  return true;
}

int set_subscript(PyObject* self, PyObject* key, PyObject* value) {
  if (int status; set_quickly(self, key, value, &status)) return status;
  const auto base = suite_slot<SetItem>(&PyDict_Type, kTypeAsMapping, kMappingSetItem);
  const Mutation change(self);
  if (!change) return base(self, key, value);
  const ssize_t size = PyDict_Size(self);
  const bool plain = is_plain_key(key);
  if (!plain && value == nullptr && size != 0) return delete_unplain(change, self, key);
  const Ref old = Ref::borrow(plain ? value_of(self, key) : value_by_identity(self, key));
  const int status = base(self, key, value);
  if (status != 0) return status;
  const bool exact = plain || (!change.nested() && (old || PyDict_Size(self) != size));
  change.record_item(value != nullptr ? Op::kSetItem : Op::kDelItem, key_step(key), old.get(), value, exact);
  return status;
}

PyObject* pop(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  const ssize_t size = PyDict_Size(self);
  PyObject* result = call_base(mutators[kDictPop], self, args, count, names);
  if (result != nullptr && change && PyDict_Size(self) < size)
    change.record_item(Op::kPop, key_step(args[0]), result, nullptr);
  return result;
}

PyObject* popitem(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  PyObject* result = call_base(mutators[kDictPopItem], self, args, count, names);
  if (result != nullptr && change)
    change.record_item(Op::kPopItem, key_step(tuple_items(result)[0]), tuple_items(result)[1], nullptr);
  return result;
}

PyObject* setdefault(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  const ssize_t size = PyDict_Size(self);
  PyObject* result = call_base(mutators[kDictSetDefault], self, args, count, names);
  if (result != nullptr && change && PyDict_Size(self) > size)
    change.record_item(Op::kSetDefault, key_step(args[0]), nullptr, result);
  return result;
}

void record_whole(const Mutation& change, Op op, PyObject* before, PyObject* self) {
  change.record(op, nullptr, encode_repr(before, scratch_before), encode_repr(self, scratch_after));
  adopt_all(self);
}

PyObject* clear(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[kDictClear], self, args, count, names); };
  const Ref before(change ? PyDict_Copy(self) : nullptr);
  if (!before) {
    PyErr_Clear();
    return call();
  }
  PyObject* result = call();
  if (result != nullptr) record_whole(change, Op::kClear, before.get(), self);
  return result;
}

/// The keys that an update names and what they held before.
class NamedKeys {
 public:
  explicit NamedKeys(PyObject* dict) : dict_(dict) {}

  /// False: reading or looking up that argument runs code of the host's, or is no business of ours.
  bool add(PyObject* other) {
    if (!is_exact_dict(other)) return false;
    PyObject *key, *value;
    ssize_t position = 0;
    const PyObject* first = first_ != nullptr ? first_ : (first_ = other);
    while (PyDict_Next(other, &position, &key, &value)) {
      if (!is_plain_key(key)) return false;
      if (first != other && value_of(first_, key) != nullptr) continue;  // named twice: one event
      entries_.push_back({Ref::borrow(key), Ref::borrow(value_of(dict_, key))});
    }
    return true;
  }
  void add_name(PyObject* name) {
    if (first_ == nullptr || value_of(first_, name) == nullptr)
      entries_.push_back({Ref::borrow(name), Ref::borrow(value_of(dict_, name))});
  }

  /// One event a key. Without `all` only for those that changed: the update did not get to its end.
  bool record(const Mutation& change, Op op, bool all) const {
    for (const Entry& entry : entries_) {
      PyObject* now = value_of(dict_, entry.key.get());
      if (all || now != entry.old.get()) change.record_item(op, key_step(entry.key.get()), entry.old.get(), now);
    }
    return !entries_.empty();
  }

 private:
  struct Entry {
    Ref key, old;
  };
  PyObject* dict_;
  PyObject* first_ = nullptr;
  std::vector<Entry> entries_;
};

/// Compares with a copy made before: old keys stay in their order, new ones come after them.
bool record_difference(const Mutation& change, Op op, PyObject* before, PyObject* self) {
  PyObject *old_key, *old, *key, *now;
  ssize_t old_position = 0, position = 0;
  while (PyDict_Next(before, &old_position, &old_key, &old))  // first a look whether that holds
    if (!PyDict_Next(self, &position, &key, &now) || key != old_key) return false;
  bool any = false;
  old_position = position = 0;
  while (PyDict_Next(self, &position, &key, &now)) {
    old = nullptr;
    PyDict_Next(before, &old_position, &old_key, &old);
    if (old == now) continue;
    change.record_item(op, key_step(key), old, now);
    any = true;
  }
  return any;
}

bool same_entries(PyObject* before, PyObject* self) {
  PyObject *old_key, *old, *key, *now;
  ssize_t old_position = 0, position = 0;
  if (PyDict_Size(before) != PyDict_Size(self)) return false;
  while (PyDict_Next(before, &old_position, &old_key, &old))
    if (!PyDict_Next(self, &position, &key, &now) || key != old_key || old != now) return false;
  return true;
}

/// An update whose argument may run code of the host's: nothing is known about it but its outcome.
template <class Call>
auto update_by_copy(const Mutation& change, PyObject* self, Op op, Call call) {
  const Ref before(PyDict_Copy(self));
  if (!before) PyErr_Clear();
  const auto result = call();
  if (!before) return result;
  KeepException keep;
  if (!succeeded(result) && same_entries(before.get(), self)) return result;
  if (change.nested() || !record_difference(change, op, before.get(), self))
    record_whole(change, op, before.get(), self);
  return result;
}

template <class Call>
auto update_by_keys(const Mutation& change, PyObject* self, Op op, const NamedKeys& keys, Call call) {
  const auto result = call();
  KeepException keep;
  if (!keys.record(change, op, succeeded(result)) && succeeded(result)) record_whole(change, op, self, self);
  return result;
}

PyObject* update(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  const Mutation change(self);
  auto call = [&] { return call_base(mutators[kDictUpdate], self, args, count, names); };
  if (!change) return call();
  NamedKeys keys(self);
  if (count > 1 || (count == 1 && !keys.add(args[0]))) return update_by_copy(change, self, Op::kUpdate, call);
  const ssize_t named = names != nullptr ? PyTuple_Size(names) : 0;
  for (ssize_t i = 0; i < named; ++i) keys.add_name(tuple_items(names)[i]);
  return update_by_keys(change, self, Op::kUpdate, keys, call);
}

PyObject* in_place_or(PyObject* self, PyObject* other) {
  const Mutation change(self);
  auto call = [&] { return suite_slot<Combine>(&PyDict_Type, kTypeAsNumber, kNumberInPlaceOr)(self, other); };
  if (!change) return call();
  NamedKeys keys(self);
  if (!keys.add(other)) return update_by_copy(change, self, Op::kUpdate, call);
  return update_by_keys(change, self, Op::kUpdate, keys, call);
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  const Mutation change(self);
  auto call = [&] { return field<Init>(&PyDict_Type, kTypeInit)(self, args, kwargs); };
  return change ? update_by_copy(change, self, Op::kReinit, call) : call();
}

constinit Mutator mutators[5] = {{.name = "pop", .fast = pop},
                                 {.name = "popitem", .fast = popitem},
                                 {.name = "setdefault", .fast = setdefault},
                                 {.name = "update", .fast = update},
                                 {.name = "clear", .fast = clear}};

// (dict, (), None, None, iterator of pairs)
PyObject* reduce(PyObject* self) {
  const Ref nothing(PyTuple_New(0));
  const Ref view(PyObject_CallMethod(self, "items", nullptr));
  const Ref items(view ? PyObject_GetIter(view.get()) : nullptr);
  if (!nothing || !items) return nullptr;
  return PyTuple_Pack(5, &PyDict_Type, nothing.get(), &_Py_NoneStruct, &_Py_NoneStruct, items.get());
}

enum { kSlotMappingSetItem = 3, kSlotInPlaceOr = 19, kSlotInit = 60 };
const PyTypeSlot slots[] = {{kSlotMappingSetItem, reinterpret_cast<void*>(set_subscript)},
                            {kSlotInPlaceOr, reinterpret_cast<void*>(in_place_or)},
                            {kSlotInit, reinterpret_cast<void*>(init)}};

}  // namespace

void forget_latest_item(const PyObject* dict) {
  if (latest_item.dict == dict) latest_item.dict = nullptr;
}

constinit ContainerKind dict_kind{"dict", "builtins.dict", &PyDict_Type, mutators, slots, reduce};

}  // namespace watcher::python

#include "probes/python/objects/object_parts.h"

#include <string.h>

#include "probes/python/objects/attributes.h"

namespace watcher::python {
namespace {

constexpr int kObjectMember = 16;  // T_OBJECT_EX: what __slots__ makes
constexpr ssize_t kBlockItems = 64;
constexpr std::uint32_t kMaxStepBytes = 1024;
constexpr int kLevels = 17;

/// deque: blocks of 64 items in a ring of links.
struct DequeBlock {
  DequeBlock* left;
  PyObject* items[kBlockItems];
  DequeBlock* right;
};
enum { kDequeLeftBlock = 24, kDequeLeftIndex = 40 };

struct StepText {
  char bytes[kMaxStepBytes];
};
constinit StepText step_texts[kLevels]{};

}  // namespace

PathStep kept_step(PathStep step, int level) {
  if (step.kind != PathKind::kText) return step;
  char* copy = step_texts[level % kLevels].bytes;
  if (step.text_bytes > kMaxStepBytes) {
    step.text_bytes = kMaxStepBytes;
    while (step.text_bytes > 0 && (static_cast<unsigned char>(step.text[step.text_bytes]) & 0xc0) == 0x80)
      --step.text_bytes;
  }
  if (step.text_bytes != 0) memcpy(copy, step.text, step.text_bytes);
  step.text = copy;
  return step;
}

namespace {

bool find_in_items(PyObject* const* items, ssize_t count, const PyObject* child, std::int64_t* hint) {
  if (*hint >= 0 && *hint < count && items[*hint] == child) return true;
  for (ssize_t i = 0; i < count; ++i)
    if (items[i] == child) return *hint = i, true;
  return false;
}

bool find_in_deque(const PyObject* deque, const PyObject* child, std::int64_t* hint) {
  *hint = 0;
  for (DequeItems items(deque); PyObject* item = items.next(); ++*hint)
    if (item == child) return true;
  return false;
}

/// The key under which a dict holds the value; null: none.
PyObject* key_of(PyObject* dict, const PyObject* child, std::int64_t* hint) {
  PyObject *key, *value;
  ssize_t position = static_cast<ssize_t>(*hint);
  if (position > 0 && PyDict_Next(dict, &position, &key, &value) && value == child) return key;
  position = 0;
  for (ssize_t last = 0; PyDict_Next(dict, &position, &key, &value); last = position)
    if (value == child) return *hint = last, key;
  return nullptr;
}

const PyMemberDef* next_slot_of(PyObject** type, const PyMemberDef* slot) {
  for (; *type != nullptr; *type = field<PyObject*>(*type, kTypeBase), slot = nullptr) {
    if (!has_flag(*type, kHeapType)) continue;
    slot = slot != nullptr ? slot + 1 : field<const PyMemberDef*>(*type, kTypeMembers);
    for (; slot != nullptr && slot->name != nullptr; ++slot)
      if (slot->type == kObjectMember) return slot;
  }
  return nullptr;
}

bool find_item(PyObject* parent, PyObject* child, std::int64_t* hint, PathStep* step) {
  switch (shape_of(parent->type)) {
    case Shape::kList:
      if (!find_in_items(list_items(parent), size_of(parent), child, hint)) return false;
      return *step = index_step(*hint), true;
    case Shape::kDeque:
      if (!find_in_deque(parent, child, hint)) return false;
      return *step = index_step(*hint), true;
    case Shape::kDict:
    case Shape::kOrderedDict: {
      PyObject* key = key_of(parent, child, hint);
      return key != nullptr && (*step = key_step(key), true);
    }
    case Shape::kSet: {
      std::size_t position = 0;
      while (PyObject* element = next_of_set(parent, &position))
        if (element == child) return *step = element_step(element), true;
      return false;
    }
    case Shape::kNone:
      return false;
  }
  return false;
}

bool find_attribute(PyObject* parent, PyObject* child, std::int64_t* hint, PathStep* step) {
  PyObject* attributes = attributes_of(parent);
  PyObject* name = attributes != nullptr ? key_of(attributes, child, hint) : nullptr;
  if (name != nullptr) return *step = element_step(name), true;
  PyObject* type = parent->type;
  for (const PyMemberDef* slot = nullptr; (slot = next_slot_of(&type, slot)) != nullptr;) {
    if (field<PyObject*>(parent, static_cast<int>(slot->offset)) != child) continue;
    *step = {.kind = PathKind::kText, .text = slot->name, .text_bytes = static_cast<std::uint32_t>(strlen(slot->name))};
    return true;
  }
  return false;
}

bool is_plain_container(const PyObject* object) {
  for (const ContainerKind* kind : {&list_kind, &dict_kind, &set_kind})
    if (object->type == kind->type || object->type == kind->base) return true;
  return false;
}

}  // namespace

Shape shape_of(PyObject* type) {
  if (has_flag(type, kListSubclass)) return Shape::kList;
  if (has_flag(type, kDictSubclass))
    return type != &PyDict_Type && type != dict_kind.type && PyType_IsSubtype(type, &PyODict_Type) != 0
               ? Shape::kOrderedDict
               : Shape::kDict;
  if (type == &PySet_Type || type == set_kind.type || PyType_IsSubtype(type, &PySet_Type) != 0) return Shape::kSet;
  return base_named(type, "collections.deque") != nullptr ? Shape::kDeque : Shape::kNone;
}

DequeItems::DequeItems(const PyObject* deque)
    : block_(field(deque, kDequeLeftBlock)), at_(field<ssize_t>(deque, kDequeLeftIndex)), left_(size_of(deque)) {}

PyObject* DequeItems::next() {
  if (left_ <= 0) return nullptr;
  --left_;
  const auto* block = static_cast<const DequeBlock*>(block_);
  if (at_ == kBlockItems) {
    block_ = block = block->right;
    at_ = 0;
  }
  return block->items[at_++];
}

Parts::Parts(PyObject* object)
    : object_(object),
      shape_(shape_of(object->type)),
      deque_(shape_ == Shape::kDeque ? DequeItems(object) : DequeItems()),
      attributes_(is_plain_container(object) ? nullptr : attributes_of(object)),
      slot_type_(is_plain_container(object) ? nullptr : object->type) {}

PyObject* Parts::next_item() {
  PyObject *key, *value = nullptr;
  switch (shape_) {
    case Shape::kList:
      return position_ < size_of(object_) ? list_items(object_)[position_++] : nullptr;
    case Shape::kDeque:
      return deque_.next();
    case Shape::kDict:
    case Shape::kOrderedDict:
      return PyDict_Next(object_, &position_, &key, &value) ? value : nullptr;
    case Shape::kSet: {
      auto at = static_cast<std::size_t>(position_);
      value = next_of_set(object_, &at);
      position_ = static_cast<ssize_t>(at);
      return value;
    }
    case Shape::kNone:
      break;
  }
  return nullptr;
}

PyObject* Parts::next_slot() {
  while (slot_type_ != nullptr && (slot_ = next_slot_of(&slot_type_, slot_)) != nullptr)
    if (PyObject* value = field<PyObject*>(object_, static_cast<int>(slot_->offset))) return value;
  slot_type_ = nullptr;
  return nullptr;
}

PyObject* Parts::next() {
  if (PyObject* item = next_item()) return item;
  shape_ = Shape::kNone;
  PyObject *name, *value;
  const bool is_class = has_flag(object_->type, kTypeSubclass);
  while (attributes_ != nullptr && PyDict_Next(attributes_, &attribute_position_, &name, &value))
    if (!is_class || shape_of(value->type) != Shape::kNone) return value;
  attributes_ = nullptr;
  return is_class ? nullptr : next_slot();
}

bool find_part(PyObject* parent, PyObject* child, std::int64_t* hint, int level, PathStep* step) {
  if (!find_item(parent, child, hint, step) &&
      (is_plain_container(parent) || !find_attribute(parent, child, hint, step)))
    return false;
  *step = kept_step(*step, level);
  return true;
}

PyObject* deque_item(const PyObject* deque, ssize_t index) {
  if (index < 0 || index >= size_of(deque)) return nullptr;
  const auto* block = field<const DequeBlock*>(deque, kDequeLeftBlock);
  ssize_t at = field<ssize_t>(deque, kDequeLeftIndex) + index;
  for (; at >= kBlockItems; at -= kBlockItems) block = block->right;
  return block->items[at];
}

const std::uint32_t* size_of_parts(PyObject* object) {
  constexpr int kSize = 16, kSetSize = 24, kDictVersion = 24;
  switch (shape_of(object->type)) {
    case Shape::kList:
    case Shape::kDeque:
      return &field_ref<std::uint32_t>(object, kSize);
    case Shape::kSet:
      return &field_ref<std::uint32_t>(object, kSetSize);
    case Shape::kDict:
    case Shape::kOrderedDict:  // from 3.12 on dict watchers tell
      return &field_ref<std::uint32_t>(object, compat.minor >= 12 ? kSize : kDictVersion);
    case Shape::kNone:
      break;
  }
  return &kNoSize;
}

}  // namespace watcher::python

// Items of containers: held over a mutation, encoded, and named in paths.
#include <stdlib.h>

#include "probes/python/containers/containers.h"
#include "probes/python/containers/quick_change.h"
#include "probes/python/events/repr.h"

namespace watcher::python {

constinit KnownName known_names[kKnownNames]{};

namespace {

constexpr std::uint32_t kMaxPathBytes = 1024;
constexpr int kMaxKeyDepth = 3;
constexpr ssize_t kMaxKeyItems = 16;

PathStep text_step(const char* text, std::uint64_t bytes) {
  if (bytes > kMaxPathBytes) {
    bytes = kMaxPathBytes;
    while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  }
  return {.kind = PathKind::kText, .text = text, .text_bytes = static_cast<std::uint32_t>(bytes)};
}

}  // namespace

HeldItems::HeldItems(std::size_t capacity) {
  if (capacity <= kFew) return;
  auto* many = static_cast<PyObject**>(malloc(capacity * sizeof(PyObject*)));
  if (many == nullptr) return;  // holds the first few only
  items_ = many;
  capacity_ = capacity;
}

HeldItems::HeldItems(PyObject* const* items, std::size_t count) : HeldItems(count) {
  for (std::size_t i = 0; i < count; ++i) add(items[i]);
}

HeldItems::~HeldItems() {
  for (std::size_t i = 0; i < count_; ++i) Py_DecRef(items_[i]);
  if (items_ != few_) free(items_);
}

Value encode_items(const ContainerKind& kind, PyObject* const* items, std::size_t count, Scratch& scratch) {
  Value value{.kind = ValueKind::kObject, .type_name = intern(kind.name)};
  char* out = scratch.room();
  if (out == nullptr) return value;
  BoundedText text(out, kMaxReprBytes);
  if (&kind == &set_kind && count == 0)
    text.put("set()");
  else if (&kind == &deque_kind)
    describe_items(items, count, text, "deque([", "])", 0);
  else
    describe_items(items, count, text, &kind == &list_kind ? "[" : "{", &kind == &list_kind ? "]" : "}", 0);
  value.stored = static_cast<std::uint32_t>(text.finish());
  value.total = value.stored;
  value.data = out;
  return value;
}

PathStep key_step(PyObject* key) {
  if (key->type == &PyLong_Type) {
    int overflow = 0;
    const long long index = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (overflow == 0) return {.kind = PathKind::kIndex, .index = index};
  }
  return element_step(key);
}

// Of interned texts only: what a program's source names. Others may be without end, and the dictionary has one.
DictionaryRef learn_name(PyObject* text) {
  constexpr std::uint32_t kInterned = 3, kLongest = 256;
  KnownName& known = known_names[reinterpret_cast<std::uintptr_t>(text) / 16 % kKnownNames];
  if (known.text != nullptr || (field<std::uint32_t>(text, 32) & kInterned) == 0) return 0;
  const Value name = encode(text, scratch_path);
  const DictionaryRef ref = name.stored <= kLongest ? intern({name.data, name.stored}) : 0;
  if (ref == 0) return 0;
  incref(text);
  known = {.text = text, .ref = ref};
  return ref;
}

PathStep element_step(PyObject* element) {
  if (element->type == &PyUnicode_Type) {
    const Value text = encode(element, scratch_path);
    PathStep step = text_step(text.data, text.stored);
    step.name = known_name(element);
    return step;
  }
  char* out = scratch_path.room();
  return text_step(out, out != nullptr ? write_repr(element, out, kMaxPathBytes) : 0);
}

bool is_plain_key(const PyObject* key, int depth) {
  const PyObject* type = key->type;
  if (type == &PyUnicode_Type || type == &PyLong_Type || type == &PyBytes_Type || type == &PyFloat_Type ||
      type == &PyBool_Type || key == &_Py_NoneStruct)
    return true;
  if (type == &PyTuple_Type) {
    const ssize_t count = size_of(key);
    if (depth >= kMaxKeyDepth || count > kMaxKeyItems) return false;
    PyObject** items = tuple_items(const_cast<PyObject*>(key));
    for (ssize_t i = 0; i < count; ++i)
      if (!is_plain_key(items[i], depth + 1)) return false;
    return true;
  }
  return field(type, kTypeHash) == field(&PyBaseObject_Type, kTypeHash) &&
         field(type, kTypeRichCompare) == field(&PyBaseObject_Type, kTypeRichCompare);
}

}  // namespace watcher::python

#include "probes/python/events/values.h"

#include <stdlib.h>
#include <string.h>

#include <iterator>
#include <utility>

#include "probes/python/events/emit.h"
#include "probes/python/events/words.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {

constinit Scratch scratch_before;
constinit Scratch scratch_after;
constinit Scratch scratch_path;

static constexpr Scratch* kScratches[] = {&scratch_before, &scratch_after, &scratch_path};

KeepScratch::KeepScratch() {
  for (std::size_t i = 0; i < std::size(kScratches); ++i) kept_[i] = std::exchange(kScratches[i]->bytes, nullptr);
}

KeepScratch::~KeepScratch() {
  for (std::size_t i = 0; i < std::size(kScratches); ++i) free(std::exchange(kScratches[i]->bytes, kept_[i]));
}

char* Scratch::room() {
  if (bytes == nullptr) bytes = static_cast<char*>(malloc(kMaxValueBytes));
  return bytes;
}

namespace {

Value encode_big_integer(const Digits& digits, Scratch& scratch) {
  char* out = scratch.room();
  Value value{.kind = ValueKind::kBigInt};
  if (out == nullptr) return value;
  std::uint64_t window = 0;
  int bits = 0;
  std::uint64_t length = 0;
  unsigned borrow = 1;  // two's complement on the way: invert and add one
  auto put = [&](std::uint8_t byte) {
    if (digits.negative) {
      const unsigned inverted = static_cast<std::uint8_t>(~byte) + borrow;
      borrow = inverted >> 8;
      byte = static_cast<std::uint8_t>(inverted);
    }
    if (length < kMaxValueBytes) out[length] = static_cast<char>(byte);
    ++length;
  };
  for (std::size_t i = 0; i < digits.count; ++i) {
    window |= std::uint64_t{digits.digit[i]} << bits;
    for (bits += kDigitBits; bits >= 8; bits -= 8, window >>= 8) put(static_cast<std::uint8_t>(window));
  }
  put(static_cast<std::uint8_t>(window));
  put(0);  // room for the sign; what is not needed goes below
  const char sign = digits.negative ? '\xff' : '\0';
  while (length > 1 && length <= kMaxValueBytes && out[length - 1] == sign && ((out[length - 2] ^ sign) & 0x80) == 0)
    --length;
  value.total = length;
  value.stored = static_cast<std::uint32_t>(length < kMaxValueBytes ? length : kMaxValueBytes);
  value.data = out;
  return value;
}

Value encode_integer(const PyObject* object, Scratch& scratch) {
  const Digits digits = digits_of(object);
  if (digits.count <= 1) [[likely]] {
    const std::int64_t magnitude = digits.count == 0 ? 0 : digits.digit[0];
    return {.kind = ValueKind::kInt, .word = static_cast<std::uint64_t>(digits.negative ? -magnitude : magnitude)};
  }
  if (digits.count <= 3) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(const_cast<PyObject*>(object), &overflow);
    if (overflow == 0) return {.kind = ValueKind::kInt, .word = static_cast<std::uint64_t>(value)};
  }
  return encode_big_integer(digits, scratch);
}

/// Code points of a str, whatever its internal representation.
struct Text {
  const void* data = nullptr;
  std::uint64_t length = 0;
  int width = 0;  // 1, 2 or 4 bytes a code point; 0: not readable in place
  bool ascii = false;
};

Text text_of(PyObject* object) {
  const auto state = field<std::uint32_t>(object, 32);
  const bool compact = (state >> 5) & 1;
  Text text{.length = static_cast<std::uint64_t>(size_of(object)), .width = static_cast<int>((state >> 2) & 7)};
  text.ascii = (state >> 6) & 1;
  text.data = reinterpret_cast<const char*>(object) + (text.ascii ? compat.text_ascii : compat.text_compact);
  if (!compact) text.data = field<const void*>(object, compat.text_compact);  // of a subclass: not in one piece
  return text;
}

std::uint32_t code_point(const Text& text, std::uint64_t index) {
  if (text.width == 1) return static_cast<const std::uint8_t*>(text.data)[index];
  if (text.width == 2) return static_cast<const std::uint16_t*>(text.data)[index];
  return static_cast<const std::uint32_t*>(text.data)[index];
}

int utf8_of(std::uint32_t point, char* out) {
  if (point >= 0xd800 && point < 0xe000) point = 0xfffd;  // a lone surrogate has no UTF-8
  if (point < 0x80) {
    out[0] = static_cast<char>(point);
    return 1;
  }
  int bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  for (int i = bytes - 1; i > 0; --i, point >>= 6) out[i] = static_cast<char>(0x80 | (point & 0x3f));
  static constexpr unsigned char kLead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  out[0] = static_cast<char>(kLead[bytes] | point);
  return bytes;
}

Value encode_text(PyObject* object, Scratch& scratch) {
  const Text text = text_of(object);
  if (text.width == 0) {  // a legacy string (up to 3.11) that is not in canonical form yet
    ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object, &size);
    if (data == nullptr) {
      PyErr_Clear();
      return {.kind = ValueKind::kText};
    }
    const auto total = static_cast<std::uint64_t>(size);
    return {.kind = ValueKind::kText,
            .stored = static_cast<std::uint32_t>(total < kMaxValueBytes ? total : kMaxValueBytes),
            .total = total,
            .data = data};
  }
  if (text.ascii) {
    return {.kind = ValueKind::kText,
            .stored = static_cast<std::uint32_t>(text.length < kMaxValueBytes ? text.length : kMaxValueBytes),
            .total = text.length,
            .data = static_cast<const char*>(text.data)};
  }
  Value value{.kind = ValueKind::kText};
  char* out = scratch.room();
  if (out == nullptr) return value;
  value.stored = static_cast<std::uint32_t>(write_utf8(object, out, kMaxValueBytes, &value.total));
  value.data = out;
  return value;
}

Value encode_raw(const void* data, std::uint64_t size, DictionaryRef type_name_ref) {
  return {.kind = ValueKind::kBytes,
          .type_name = type_name_ref,
          .stored = static_cast<std::uint32_t>(size < kMaxValueBytes ? size : kMaxValueBytes),
          .total = size,
          .data = static_cast<const char*>(data)};
}

}  // namespace

std::size_t write_utf8(PyObject* object, char* out, std::size_t room, std::uint64_t* total) {
  const Text text = text_of(object);
  std::size_t used = 0;
  *total = 0;
  if (text.ascii && text.width == 1) {
    *total = text.length;
    used = text.length < room ? static_cast<std::size_t>(text.length) : room;
    memcpy(out, text.data, used);
    return used;
  }
  bool full = text.width == 0;
  for (std::uint64_t i = 0; i < text.length && text.width != 0; ++i) {
    char encoded[4];
    const int bytes = utf8_of(code_point(text, i), encoded);
    full = full || used + static_cast<std::size_t>(bytes) > room;
    if (!full) {
      memcpy(out + used, encoded, static_cast<std::size_t>(bytes));
      used += static_cast<std::size_t>(bytes);
    }
    *total += static_cast<std::uint64_t>(bytes);
  }
  return used;
}

Value encode(PyObject* object, Scratch& scratch) {
  if (object == nullptr) return {};
  PyObject* type = object->type;
  if (type == &PyLong_Type) [[likely]]
    return encode_integer(object, scratch);
  if (type == &PyUnicode_Type) return encode_text(object, scratch);
  if (type == &PyFloat_Type) return {.kind = ValueKind::kFloat, .word = field<std::uint64_t>(object, 16)};
  if (object == &_Py_NoneStruct) return {.kind = ValueKind::kNone};
  if (type == &PyBool_Type) {
    const Digits digits = digits_of(object);
    return {.kind = ValueKind::kBool, .word = digits.count != 0 && digits.digit[0] != 0};
  }
  if (type == &PyBytes_Type)
    return encode_raw(reinterpret_cast<const char*>(object) + 32, static_cast<std::uint64_t>(size_of(object)), 0);
  if (type == &PyByteArray_Type)  // ob_start stands behind ob_alloc and ob_bytes
    return encode_raw(field<const char*>(object, 40), static_cast<std::uint64_t>(size_of(object)), intern("bytearray"));
  return encode_repr(object, scratch);
}

Value encode_repr(PyObject* object, Scratch& scratch) {
  Value value{.kind = ValueKind::kObject, .type_name = intern(short_type_name(object->type))};
  char* out = scratch.room();
  if (out == nullptr) return value;
  value.stored = static_cast<std::uint32_t>(write_repr(object, out, kMaxReprBytes));
  value.total = value.stored;
  value.data = out;
  return value;
}

Shadow::Shadow(Shadow&& other) noexcept : value_(other.value_), owned_(other.owned_), capacity_(other.capacity_) {
  other.value_ = {};
  other.owned_ = nullptr;
  other.capacity_ = 0;
}

Shadow& Shadow::operator=(Shadow&& other) noexcept {
  if (this != &other) {
    free(owned_);
    value_ = other.value_;
    owned_ = other.owned_;
    capacity_ = other.capacity_;
    other.value_ = {};
    other.owned_ = nullptr;
    other.capacity_ = 0;
  }
  return *this;
}

Shadow::~Shadow() {
  free(owned_);
}

void Shadow::assign_bytes(const Value& value) {
  value_ = value;
  if (is_inline(value.kind)) {
    value_.data = nullptr;
    return;
  }
  if (capacity_ < value.stored) {
    char* larger = static_cast<char*>(realloc(owned_, value.stored));
    if (larger == nullptr) {
      value_.stored = 0;  // `total` still tells that something was there
      value_.data = nullptr;
      return;
    }
    owned_ = larger;
    capacity_ = value.stored;
  }
  if (value.stored != 0) memcpy(owned_, value.data, value.stored);
  value_.data = owned_;
}

}  // namespace watcher::python

// Layout of built-in objects as far as it is the same in CPython 3.8 to 3.13 (offsetof of each version's headers was
// compared). What differs between versions stands in compat.h.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

enum MoreTypeOffsets {
  kTypeRepr = 88,
  kTypeAsBuffer = 160,
  kTypeHash = 120,
  kTypeRichCompare = 200,
  kTypeWeakrefOffset = 208,
  kTypeNext = 224,
  kTypeMembers = 240,
  kTypeDict = 264,
  kTypeDescrSet = 280,
  kTypeAlloc = 304,
  kTypeNew = 312,
  kTypeFinalize = 392,
};
enum SlotOffset {
  kNumberIndex = 264,
  kNumberInPlaceAdd = 152,
  kNumberInPlaceSubtract = 160,
  kNumberInPlaceAnd = 208,
  kNumberInPlaceXor = 216,
  kNumberInPlaceOr = 224,
  kSequenceLength = 0,
  kSequenceSetItem = 40,
  kSequenceInPlaceConcat = 64,
  kSequenceInPlaceRepeat = 72,
  kMappingLength = 0,
  kMappingSetItem = 16,
};
enum ObjectOffset {
  kSize = 16,  // of what has a size of its own
  kListCapacity = 32,
  kByteArrayCapacity = 24,
  kByteArrayBytes = 32,    // start of the allocation
  kByteArrayStart = 40,    // first byte in use
  kByteArrayExports = 48,  // an int up to 3.8, with rubbish behind it
  kArrayItems = 24,        // array.array
  kArrayCapacity = 32,
  kArrayExports = 56,
  kNumpyData = 16,  // numpy.ndarray
  kNumpyBase = 48,
  kNumpyFlags = 64,
  kNumpyHandler = 88,
  kMethodDefinition = 40,  // of a method descriptor
  kMethodVectorcall = 48,
  kDescriptorType = 16,    // of every descriptor
  kWrapperBase = 40,       // of a slot wrapper: the interpreter's row for that slot
  kWrapperSlot = 48,       // the function behind it
  kMemberDefinition = 40,  // of a member descriptor: name, type, offset
  kGetSetDefinition = 40,
  kFunctionMethod = 16,  // PyCFunctionObject.m_ml
  kWeakrefObject = 16,   // None once that is gone
  kContextEntered = 40,
  kExceptionArgs = 24,
  kSliceStart = 16,
  kSliceStop = 24,
  kSliceStep = 32,
};

inline constexpr unsigned long kImmutableType = 1ul << 8;  // 3.10+
inline constexpr unsigned long kIntSubclass = 1ul << 24, kListSubclass = 1ul << 25, kTupleSubclass = 1ul << 26,
                               kBytesSubclass = 1ul << 27, kTextSubclass = 1ul << 28, kDictSubclass = 1ul << 29,
                               kExceptionSubclass = 1ul << 30, kTypeSubclass = 1ul << 31;

inline bool has_flag(const PyObject* type, unsigned long flag) {
  return (field<unsigned long>(type, kTypeFlags) & flag) != 0;
}

/// A slot of one of a type's method suites, null when the type lacks the suite or the slot.
template <class Function = void*>
inline Function suite_slot(const PyObject* type, int suite, int slot) {
  const void* table = field(type, suite);
  return table != nullptr ? field<Function>(table, slot) : nullptr;
}

/// The built-in or extension type of that name (as error messages print it) from which a type inherits; null: none.
inline PyObject* base_named(PyObject* type, std::string_view name) {
  for (; type != nullptr; type = field<PyObject*>(type, kTypeBase))
    if (name == type_name(type)) return type;
  return nullptr;
}

inline const char* bytes_data(const PyObject* bytes) {
  return reinterpret_cast<const char*>(bytes) + 32;
}

/// An int, least digit first.
inline constexpr int kDigitBits = 30;  // sys.int_info.bits_per_digit of every 64-bit build
struct Digits {
  const std::uint32_t* digit;
  std::size_t count;
  bool negative;
};
inline Digits digits_of(const PyObject* integer) {
  const auto* digit = reinterpret_cast<const std::uint32_t*>(reinterpret_cast<const char*>(integer) + 24);
  if (compat.minor >= 12) {  // lv_tag: digit count << 3 | sign (0 positive, 1 zero, 2 negative)
    const auto tag = field<std::uint64_t>(integer, 16);
    return {digit, tag >> 3, (tag & 3) == 2};
  }
  const ssize_t size = size_of(integer);
  return {digit, static_cast<std::size_t>(size < 0 ? -size : size), size < 0};
}

/// A set: entries {object, hash} in a table; free and deleted ones have no object or hash -1.
inline ssize_t size_of_set(const PyObject* set) {
  return field<ssize_t>(set, 24);
}
inline PyObject* next_of_set(const PyObject* set, std::size_t* position) {
  struct Entry {
    PyObject* item;
    ssize_t hash;
  };
  const auto mask = field<std::size_t>(set, 32);
  const auto* table = field<const Entry*>(set, 40);
  while (*position <= mask) {
    const Entry& entry = table[(*position)++];
    if (entry.item != nullptr && entry.hash != -1) return entry.item;
  }
  return nullptr;
}

}  // namespace watcher::python

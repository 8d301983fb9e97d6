// Values that fit into a word of an event, read in line: what the quick halves deal in.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/layout.h"
#include "runtime/queue/event.h"

namespace watcher::python {

struct Word {
  ValueKind kind = ValueKind::kUnbound;
  std::uint64_t bits = 0;
};

/// False: it takes more than a word, or more than a look. Null is unbound.
inline bool encode_word(const PyObject* object, Word* word) {
  if (object == nullptr) return *word = {}, true;
  const PyObject* type = object->type;
  if (type == &PyLong_Type) [[likely]] {
    const Digits digits = digits_of(object);
    if (digits.count > 1) return false;
    const std::int64_t magnitude = digits.count == 0 ? 0 : digits.digit[0];
    return *word = {ValueKind::kInt, static_cast<std::uint64_t>(digits.negative ? -magnitude : magnitude)}, true;
  }
  if (type == &PyBool_Type) return *word = {ValueKind::kBool, digits_of(object).count}, true;
  if (type == &PyFloat_Type) return *word = {ValueKind::kFloat, field<std::uint64_t>(object, 16)}, true;
  *word = {ValueKind::kNone};
  return object == &_Py_NoneStruct;
}

}  // namespace watcher::python

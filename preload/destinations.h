// The arguments by which a call fills memory of its caller, and how much of that its result means.
#pragma once

#include <stddef.h>

namespace watcher {

/// How much of a destination has been written when the call is back.
enum class Extent {
  kWhole,     // all of it, when the call succeeded
  kPositive,  // all of it, when the result is above 0
  kResult,    // as many bytes as the result says
  kItems,     // as many items as the result says
  kText,      // up to a terminator
  kChanged,   // all of it when it is not what it was, whatever the result
};

template <class T>
struct Destination {
  T* memory;
  size_t bytes;
  Extent extent;
  bool keeps;
  size_t item_bytes;
};

/// What a successful call has filled.
template <class T>
Destination<T> out(T* memory, size_t bytes = sizeof(T)) {
  return {memory, bytes, Extent::kWhole, false, 1};
}
/// The same where the kernel leaves parts alone, or reads first.
template <class T>
Destination<T> in_out(T* memory, size_t bytes = sizeof(T)) {
  return {memory, bytes, Extent::kWhole, true, 1};
}
template <class T>
Destination<T> out_if_positive(T* memory) {
  return {memory, sizeof(T), Extent::kPositive, false, 1};
}
/// For calls that write although they fail, or return an error number.
template <class T>
Destination<T> changed(T* memory, size_t bytes = sizeof(T)) {
  return {memory, bytes, Extent::kChanged, true, 1};
}
template <class T>
Destination<T> by_result(T* memory, size_t bytes) {
  return {memory, bytes, Extent::kResult, false, 1};
}
template <class T>
Destination<T> by_items(T* memory, size_t count, size_t item_bytes = sizeof(T)) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, item_bytes, &bytes)) bytes = 0;
  return {memory, bytes, Extent::kItems, false, item_bytes};
}
inline Destination<char> text(char* memory, size_t bytes) {
  return {memory, bytes, Extent::kText, false, 1};
}

}  // namespace watcher

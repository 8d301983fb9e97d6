// From a Python object to the canonical bytes of an event, without running a line of the host's Python: no __repr__,
// __hash__ or __eq__ of a user's class is ever called, so a hook has no side effect and never lets go of the GIL.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "probes/python/events/words.h"
#include "runtime/queue/event.h"

namespace watcher::python {

/// A value as an event carries it. `data` is borrowed: from the object, or from the Scratch it was encoded with.
struct Value {
  ValueKind kind = ValueKind::kUnbound;
  DictionaryRef type_name = 0;
  std::uint32_t stored = 0;  // bytes at `data`
  std::uint64_t total = 0;   // full length; more than `stored` when the value was cut
  std::uint64_t word = 0;    // inline kinds
  const char* data = nullptr;
};

/// Room for values that have no bytes of their own. One for each value alive at the same time.
struct Scratch {
  char* bytes = nullptr;  // kMaxValueBytes, from the C heap at first use, kept
  char* room();
};
extern constinit Scratch scratch_before;
extern constinit Scratch scratch_after;
extern constinit Scratch scratch_path;

/// While code of the host's may run: the events that it has find room elsewhere.
class KeepScratch {
 public:
  KeepScratch();
  KeepScratch(const KeepScratch&) = delete;
  KeepScratch& operator=(const KeepScratch&) = delete;
  ~KeepScratch();

 private:
  char* kept_[3];
};

/// Encodes any object; null is kUnbound. Never fails: what cannot be described is described by its type and address.
Value encode(PyObject* object, Scratch& scratch);

/// Encodes a whole container (list, dict, set, …) as its bounded repr.
Value encode_repr(PyObject* object, Scratch& scratch);

/// Writes a bounded repr, UTF-8; returns the bytes written. Also used for dictionary keys in paths.
std::size_t write_repr(PyObject* object, char* out, std::size_t room);

/// UTF-8 of a str; at most `room` bytes, `total` receives the full length.
std::size_t write_utf8(PyObject* text, char* out, std::size_t room, std::uint64_t* total);

/// A value that outlives its object: what a variable held before. Owns a copy of the bytes.
class Shadow {
 public:
  Shadow() = default;
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;
  Shadow(Shadow&& other) noexcept;
  Shadow& operator=(Shadow&& other) noexcept;
  ~Shadow();

  const Value& value() const { return value_; }
  void assign(const Value& value) {
    if (is_inline(value.kind) && is_inline(value_.kind)) {
      value_.kind = value.kind;
      value_.word = value.word;
      return;
    }
    assign_bytes(value);
  }
  /// Only when the value held is inline too.
  void assign_inline(Word word) {
    value_.kind = word.kind;
    value_.word = word.bits;
  }
  void clear() { assign(Value{}); }

 private:
  void assign_bytes(const Value& value);

  Value value_;
  char* owned_ = nullptr;
  std::uint32_t capacity_ = 0;
};

}  // namespace watcher::python

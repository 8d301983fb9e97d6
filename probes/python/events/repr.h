// Bounded descriptions of objects. The rule of values.h holds: no Python code of the host is run.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <string_view>

#include "probes/python/interpreter/python_api.h"
#include "probes/python/interpreter/ref.h"

namespace watcher::python {

inline constexpr int kMaxReprDepth = 4;
inline constexpr std::size_t kMaxReprItems = 64;

/// Text that stops when its room is used up; what was cut ends in "...". Never splits a UTF-8 sequence.
class BoundedText {
 public:
  BoundedText(char* out, std::size_t room) : out_(out), room_(room) {}

  void put(std::string_view text);
  void put_number(long long value);
  void put_address(const void* address);
  bool full() const { return full_; }
  std::size_t left() const { return room_ - used_; }
  /// Closes a cut text; returns the bytes written.
  std::size_t finish();

 private:
  char* out_;
  std::size_t room_;
  std::size_t used_ = 0;
  bool full_ = false;
};

/// Writes one object; `depth` counts the containers around it.
void describe(PyObject* object, BoundedText& text, int depth);

/// By the type's own repr, where that is C code that calls nothing of the host's. False: it may be anything.
bool describe_native(PyObject* object, BoundedText& text, int depth);
/// Calls the type's slot. Not PyObject_Repr: that runs the host's signal handlers, and from 3.12 on the collector, to
/// which an object whose end is being told is one without references. False or null: it failed.
Ref repr_by_slot(PyObject* object);
bool describe_by_slot(PyObject* object, BoundedText& text);

/// Writes items between brackets, as a list, tuple or set is written.
void describe_items(PyObject* const* items, std::size_t count, BoundedText& text, std::string_view open,
                    std::string_view close, int depth);

}  // namespace watcher::python

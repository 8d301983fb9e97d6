// Ownership of Python objects.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// Owning pointer to a Python object; the GIL is held wherever one lives.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : object_(owned) {}
  Ref(Ref&& other) noexcept : object_(other.release()) {}
  Ref& operator=(Ref&& other) noexcept {
    PyObject* old = object_;
    object_ = other.release();
    if (old != nullptr) Py_DecRef(old);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) Py_DecRef(object_);
  }
  static Ref borrow(PyObject* borrowed) {
    if (borrowed != nullptr) Py_IncRef(borrowed);
    return Ref(borrowed);
  }
  PyObject* get() const { return object_; }
  PyObject* release() {
    PyObject* out = object_;
    object_ = nullptr;
    return out;
  }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

/// Keeps the host's pending exception safe while we call into the interpreter; ours is dropped. So is the mark that the
/// stack has overflowed, when it is our call that reached the recursion limit.
class KeepException {
 public:
  KeepException();
  ~KeepException();

 private:
  PyObject *type_, *value_, *traceback_;
  char overflowed_;
};

}  // namespace watcher::python

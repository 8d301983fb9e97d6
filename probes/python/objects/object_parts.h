// What watched objects are made of: items of lists, dicts, sets and deques, attributes of instances and classes.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/containers/containers.h"

namespace watcher::python {

enum class Shape : std::uint8_t { kNone, kList, kDict, kOrderedDict, kSet, kDeque };
/// The built-in container that the type is or inherits from.
Shape shape_of(PyObject* type);

/// The step with a text that stays while the path grows; one for each level.
PathStep kept_step(PathStep step, int level);

/// The items of a deque in order, null at the end. It must not change meanwhile.
class DequeItems {
 public:
  DequeItems() = default;
  explicit DequeItems(const PyObject* deque);
  PyObject* next();

 private:
  const void* block_ = nullptr;
  ssize_t at_ = 0;
  ssize_t left_ = 0;
};

/// Items, then attributes, of any watched object; null at the end. It must not change meanwhile.
class Parts {
 public:
  explicit Parts(PyObject* object);
  PyObject* next();

 private:
  PyObject* next_item();
  PyObject* next_slot();

  PyObject* object_;
  Shape shape_;
  ssize_t position_ = 0;
  DequeItems deque_;
  PyObject* attributes_;
  ssize_t attribute_position_ = 0;
  PyObject* slot_type_;
  const PyMemberDef* slot_ = nullptr;
};

/// Where `child` is in `parent` at this moment. `hint` is where it was seen last. The step is valid until the next call
/// with the same `level`.
bool find_part(PyObject* parent, PyObject* child, std::int64_t* hint, int level, PathStep* step);

/// Items of a deque, by index; null behind the end.
PyObject* deque_item(const PyObject* deque, ssize_t index);

/// The word by which a change past the object's own methods is told: its size, or a dict's version.
const std::uint32_t* size_of_parts(PyObject* object);

}  // namespace watcher::python

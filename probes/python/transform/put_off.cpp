#include "probes/python/transform/put_off.h"

#include <utility>
#include <vector>

#include "probes/python/context/frames.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/ref.h"

namespace watcher::python {
namespace {

/// What kPutOff keeps until the next statement. Of one that a debugger has left before, the frame's next one lets go.
struct PutOff {
  const void* frame;
  Ref values;
};
std::vector<PutOff>& all_put_off() {
  static auto* all = new std::vector<PutOff>;  // process-lifetime
  return *all;
}

std::size_t index_of_put_off(const void* frame) {
  std::size_t index = all_put_off().size();
  while (index > 0 && all_put_off()[index - 1].frame != frame) --index;
  return index - 1;
}

Ref take_put_off(const void* frame) {
  const std::size_t index = index_of_put_off(frame);
  if (index >= all_put_off().size()) return Ref();
  Ref values = std::move(all_put_off()[index].values);
  all_put_off().erase(all_put_off().begin() + static_cast<std::ptrdiff_t>(index));
  return values;
}

PyObject* on_take_up(PyObject*, PyObject* const*, ssize_t) {
  const Ref values = take_put_off(current_frame());
  return values ? PyList_AsTuple(values.get()) : nullptr;
}

PyMethodDef take_up{"__watcher__", reinterpret_cast<void*>(on_take_up), kMethFastcall, nullptr};

}  // namespace

bool put_off(bool is_first, PyObject* value) {
  const void* frame = current_frame();
  if (is_first) {
    take_put_off(frame);
    Ref values(PyList_New(0));
    if (!values) return false;
    all_put_off().push_back({frame, std::move(values)});
  }
  const std::size_t index = index_of_put_off(frame);
  return PyList_Append(all_put_off()[index].values.get(), value) == 0;
}

PyMethodDef* take_up_method() {
  return &take_up;
}

}  // namespace watcher::python

// How the end of memory that is watched in place becomes known before it happens.
//
// A weak reference's callback runs before an object lets its memory go, with exceptions: mmap unmaps first, and
// ndarray.resize refuses an array that has weak references, so the dealloc of these two types is led through us; and
// mmap.close, mmap.resize and memoryview.release end the memory while the object lives on, so these methods are, too.
// That happens once, when the first object of that type is watched in place.
#include "probes/python/buffers/buffers.h"

namespace watcher::python {
namespace {

constexpr const char* kObjectName = "watcher.object";

using Dealloc = void (*)(PyObject*);
using Method = PyObject* (*)(PyObject*, void*, void*, void*);

constinit EndOfBuffer end_of_buffer = nullptr;

PyObject* died(PyObject* capsule, PyObject*) {
  end_of_buffer(static_cast<PyObject*>(PyCapsule_GetPointer(capsule, kObjectName)));
  Py_IncRef(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

constinit PyMethodDef died_definition{"watcher_end_of_buffer", nullptr, kMethO, nullptr};

PyObject* weak_reference(PyObject* object) {
  died_definition.function = reinterpret_cast<void*>(died);
  const Ref capsule(PyCapsule_New(object, kObjectName, nullptr));
  const Ref callback(capsule ? PyCFunction_NewEx(&died_definition, capsule.get(), nullptr) : nullptr);
  PyObject* reference = callback ? PyWeakref_NewRef(object, callback.get()) : nullptr;
  if (reference == nullptr) PyErr_Clear();
  return reference;
}

/// The dealloc of a type, led through us.
template <BufferKind kind>
struct Death {
  static inline constinit Dealloc base = nullptr;
  static void dealloc(PyObject* object) {
    end_of_buffer(object);
    base(object);
  }
  /// False for an extension's subclass that copied the slot before.
  static bool lead_through(PyObject* object, const char* type_name) {
    PyObject* type = base_named(object->type, type_name);
    if (base == nullptr) {
      base = field<Dealloc>(type, kTypeDealloc);
      field_ref<Dealloc>(type, kTypeDealloc) = dealloc;
    }
    return object->type == type || has_flag(object->type, kHeapType) ||
           field<Dealloc>(object->type, kTypeDealloc) == dealloc;
  }
};

/// A method of the type that ends the memory, whatever its calling convention: arguments only pass through.
template <int which>
struct Ending {
  static inline constinit Method base = nullptr;
  static PyObject* call(PyObject* self, void* a, void* b, void* c) {
    end_of_buffer(self);
    return base(self, a, b, c);
  }
  static bool lead_through(PyObject* type, const char* name) {
    const Ref method(PyObject_GetAttrString(type, name));
    if (!method || method.get()->type != &PyMethodDescr_Type) {
      PyErr_Clear();
      return false;
    }
    auto* definition = field<PyMethodDef*>(method.get(), kMethodDefinition);
    base = reinterpret_cast<Method>(definition->function);
    definition->function = reinterpret_cast<void*>(call);
    return true;
  }
};

bool lead_memory_map_methods(PyObject* type) {
  static const bool led = [&] {
    const bool closing = Ending<0>::lead_through(type, "close") && Ending<1>::lead_through(type, "__exit__");
    return Ending<2>::lead_through(type, "resize") && closing;
  }();
  return led;
}

bool lead_memory_view_methods() {
  static const bool led =
      Ending<3>::lead_through(&PyMemoryView_Type, "release") && Ending<4>::lead_through(&PyMemoryView_Type, "__exit__");
  return led;
}

}  // namespace

LifeLine tie_life_line(PyObject* object, BufferKind kind, EndOfBuffer end) {
  end_of_buffer = end;
  if (kind == BufferKind::kMemoryMap) {
    const bool methods = lead_memory_map_methods(base_named(object->type, "mmap.mmap"));
    return {.tied = Death<BufferKind::kMemoryMap>::lead_through(object, "mmap.mmap") && methods};
  }
  if (kind == BufferKind::kNumpy) return {.tied = Death<BufferKind::kNumpy>::lead_through(object, "numpy.ndarray")};
  if (kind == BufferKind::kMemoryView && !lead_memory_view_methods()) return {};
  if (kind == BufferKind::kByteArray || field<ssize_t>(object->type, kTypeWeakrefOffset) == 0) return {};
  PyObject* reference = weak_reference(object);
  return {.weak_reference = reference, .tied = reference != nullptr};
}

}  // namespace watcher::python

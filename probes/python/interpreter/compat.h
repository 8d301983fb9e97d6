// Everything that differs between CPython 3.8 and 3.13: structure offsets, entry points, reference counting.
// Sources of the offsets: the headers of each version (Include/cpython/*.h, Include/internal/pycore_*.h); for 3.13 they
// equal the live `_PyRuntime` debug offsets. `Compat::load` refuses what it does not know, `frames_self_check` tests it
// at start.
//
// Threads: written once by the constructor; afterwards read by every thread and by signal handlers.
#pragma once

#include "probes/python/interpreter/python_api.h"
#include "probes/python/interpreter/ref.h"

namespace watcher::python {

struct Compat {
  int minor = 0;  // of "3.minor"

  // PyThreadState
  int thread_frame;   // → frame, or -1
  int thread_cframe;  // → _PyCFrame (3.11, 3.12), or -1
  int cframe_frame;   // _PyCFrame → current frame

  // frame: PyFrameObject up to 3.10, _PyInterpreterFrame from 3.11
  int frame_back;
  int frame_code;
  int frame_globals;
  int frame_locals;  // mapping of module and class bodies
  int frame_last;    // f_lasti (int) up to 3.10, instruction pointer from 3.11
  int frame_owner;   // 3.11+: who owns the frame; -1 before
  int frame_values;  // first fast local

  // PyCodeObject
  int code_line_table;
  int code_first_line;
  int code_file;
  int code_name;
  int code_qualified_name;  // 3.11+, else -1
  int code_instructions;    // 3.11+: first instruction
  int code_local_names;     // co_varnames up to 3.10, co_localsplusnames from 3.11
  int code_cell_names;      // up to 3.10: co_cellvars; -1 from 3.11
  int code_free_names;      // up to 3.10: co_freevars; -1 from 3.11
  int code_flags;
  int code_consts;
  int code_names;

  int type_qualified_name;      // PyHeapTypeObject
  int function_qualified_name;  // PyFunctionObject: null once the collector has cleared it

  // str
  int text_ascii;    // data of a compact ASCII string
  int text_compact;  // data of another compact string

  static bool load(Compat* out);
};

extern constinit Compat compat;

// The empty asm hides where a pointer comes from: to the compiler the interpreter's types are as short as PyObject.
template <class T = void*>
inline T field(const void* object, int offset) {
  __asm__("" : "+r"(object));
  return *reinterpret_cast<const T*>(static_cast<const char*>(object) + offset);
}
template <class T = void*>
inline T& field_ref(void* object, int offset) {
  __asm__("" : "+r"(object));
  return *reinterpret_cast<T*>(static_cast<char*>(object) + offset);
}

/// PyTypeObject, same in all versions.
enum TypeOffset {
  kTypeName = 24,
  kTypeBasicSize = 32,
  kTypeItemSize = 40,
  kTypeDealloc = 48,
  kTypeAsNumber = 96,
  kTypeAsSequence = 104,
  kTypeAsMapping = 112,
  kTypeSetAttr = 152,
  kTypeFlags = 168,
  kTypeBase = 256,
  kTypeInit = 296,
};
inline constexpr unsigned long kHeapType = 1ul << 9;
inline constexpr unsigned long kHaveGc = 1ul << 14;

/// Objects whose layout is the same in all versions: item arrays of list and tuple, dictionary of a module.
inline ssize_t size_of(const PyObject* object) {
  return field<ssize_t>(object, 16);
}
inline PyObject** list_items(const PyObject* list) {
  return field<PyObject**>(list, 24);
}
inline PyObject** tuple_items(PyObject* tuple) {
  return &field_ref<PyObject*>(tuple, 24);
}
inline PyObject* module_dict(const PyObject* module) {
  return field<PyObject*>(module, 16);
}
inline const char* type_name(const PyObject* type) {
  return field<const char*>(type, kTypeName);
}

inline void incref(PyObject* object) {
  if (compat.minor >= 12) {  // immortal objects keep their count (PEP 683)
    auto* count = reinterpret_cast<uint32_t*>(&object->refcount);
    if (*count + 1 != 0) ++*count;
    return;
  }
  ++object->refcount;
}

/// The running thread's state (GIL held), its innermost frame, and that frame's parts. Null before the first frame.
using ThreadStateGetter = void* (*)();
extern constinit ThreadStateGetter get_thread_state;
/// Where the interpreter keeps it for this thread, once that is known (3.12+): what it would be asked for by two calls.
extern __attribute__((tls_model("initial-exec"))) constinit thread_local void** own_thread_state;
void learn_own_thread_state();
inline void* thread_state() {
  void** const own = own_thread_state;
  return own != nullptr ? *own : get_thread_state();
}
inline void* frame_of(void* state) {
  if (compat.thread_cframe < 0) return field(state, compat.thread_frame);
  void* cframe = field(state, compat.thread_cframe);
  return cframe != nullptr ? field(cframe, compat.cframe_frame) : nullptr;
}
inline void* current_frame() {
  return frame_of(thread_state());
}
inline PyObject* code_of(void* frame) {
  return field<PyObject*>(frame, compat.frame_code);
}

bool finalizing();

}  // namespace watcher::python

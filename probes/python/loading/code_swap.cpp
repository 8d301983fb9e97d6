#include "probes/python/loading/code_swap.h"

#include "probes/python/buffers/bulk_witness.h"
#include "probes/python/interpreter/compat.h"

namespace watcher::python {
namespace {

using GlobalsFunction = void (*)(PyObject* globals);
using CodeFunction = void (*)(PyObject* code);

constinit PyObject* armed_code = nullptr;  // owned while armed
constinit PyObject* replacement_code = nullptr;
constinit GlobalsFunction globals_wanted = nullptr;  // instead of a replacement
constinit CodeFunction next_wanted = nullptr;        // armed for any module body
constinit bool hooked = false;
constinit void* previous_eval = nullptr;
constinit void** eval_slot_38 = nullptr;  // 3.8 has no accessor: the word of the interpreter state itself
constinit int watcher_id = -1;

void disarm() {
  if (!hooked) return;
  hooked = false;
  if (compat.minor >= 12) {
    if (watcher_id >= 0) PyFunction_ClearWatcher(watcher_id);
    watcher_id = -1;
  } else if (compat.minor >= 9) {
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), previous_eval);
  } else {
    *eval_slot_38 = previous_eval;
  }
}

void drop_armed() {
  disarm();
  Ref code(armed_code), replacement(replacement_code);
  armed_code = replacement_code = nullptr;
  globals_wanted = nullptr;
  next_wanted = nullptr;
}

bool is_module_body(PyObject* code) {
  return code->type == &PyCode_Type &&
         PyUnicode_CompareWithASCIIString(field<PyObject*>(code, compat.code_name), "<module>") == 0;
}

/// Whoever waits for any module body sees this one, and may arm for it.
void show(PyObject* code) {
  if (next_wanted == nullptr || !is_module_body(code)) return;
  auto* wanted = next_wanted;
  drop_armed();
  wanted(code);
}

void tell(PyObject* globals) {
  auto* wanted = globals_wanted;
  drop_armed();
  wanted(globals);
}

/// True: the frame's work is done, `result` is what it returned.
bool evaluate_instead(void* frame, int throwing, PyObject** result) {
  if (throwing != 0) return false;
  show(code_of(frame));
  if (armed_code == nullptr || code_of(frame) != armed_code) return false;
  auto* globals = field<PyObject*>(frame, compat.frame_globals);
  if (globals_wanted != nullptr) {
    tell(globals);
    return false;
  }
  const Ref replacement = Ref::borrow(replacement_code);
  drop_armed();
  *result = PyEval_EvalCode(replacement.get(), globals, field<PyObject*>(frame, compat.frame_locals));
  return true;
}

PyObject* evaluate_frame_38(void* frame, int throwing) {
  PyObject* result = nullptr;
  if (evaluate_instead(frame, throwing, &result)) return result;
  return reinterpret_cast<PyObject* (*)(void*, int)>(previous_eval)(frame, throwing);
}

PyObject* evaluate_frame(void* state, void* frame, int throwing) {
  PyObject* result = nullptr;
  if (evaluate_instead(frame, throwing, &result)) return result;
  return reinterpret_cast<PyObject* (*)(void*, void*, int)>(previous_eval)(state, frame, throwing);
}

// func_code is found by its value: the field's offset moved between versions.
int function_event(int event, PyObject* function, PyObject*) {
  if (event != 0 || !hooked) return 0;  // PyFunction_EVENT_CREATE
  constexpr int kGlobals = 2, kWords = 12;
  auto** words = reinterpret_cast<PyObject**>(function);
  for (int i = kGlobals; i < kWords; ++i) {
    if (words[i] == nullptr || words[i]->type != &PyCode_Type) continue;
    show(words[i]);
    if (words[i] != armed_code) break;
    if (globals_wanted != nullptr) {
      tell(words[kGlobals]);
      break;
    }
    const Ref functions_own(words[i]);
    words[i] = Ref::borrow(replacement_code).release();
    drop_armed();
    break;
  }
  return 0;
}

bool arm() {
  if (compat.minor >= 12) {
    watcher_id = PyFunction_AddWatcher(function_event);
    if (watcher_id < 0) return false;
  } else if (compat.minor >= 9) {
    void* interpreter = PyInterpreterState_Get();
    previous_eval = _PyInterpreterState_GetEvalFrameFunc(interpreter);
    _PyInterpreterState_SetEvalFrameFunc(interpreter, reinterpret_cast<void*>(evaluate_frame));
  } else {
    if (eval_slot_38 == nullptr) eval_slot_38 = evaluation_cell();
    if (eval_slot_38 == nullptr) {
      PyErr_SetString(PyExc_RuntimeError, "another frame evaluation hook is installed");
      return false;
    }
    previous_eval = *eval_slot_38;
    *eval_slot_38 = reinterpret_cast<void*>(evaluate_frame_38);
  }
  return hooked = true;
}

}  // namespace

bool run_instead(PyObject* code, PyObject* replacement) {
  drop_armed();
  if (!arm()) return false;
  armed_code = Ref::borrow(code).release();
  replacement_code = Ref::borrow(replacement).release();
  return true;
}

bool tell_globals(PyObject* code, void (*started)(PyObject* globals)) {
  if (!run_instead(code, code)) return false;
  globals_wanted = started;
  return true;
}

bool show_next_module(void (*show)(PyObject* code)) {
  drop_armed();
  if (!arm()) return false;
  next_wanted = show;
  return true;
}

}  // namespace watcher::python

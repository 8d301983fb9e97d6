#include "probes/python/code_swap.h"

#include "probes/python/bulk_witness.h"
#include "probes/python/compat.h"

namespace watcher::python {
namespace {

constinit PyObject* armed_code = nullptr;  // owned while armed
constinit PyObject* replacement_code = nullptr;
constinit void* previous_eval = nullptr;
constinit void** eval_slot_38 = nullptr;  // 3.8 has no accessor: the word of the interpreter state itself
constinit int watcher_id = -1;

void disarm() {
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
  if (armed_code == nullptr) return;
  disarm();
  Ref code(armed_code), replacement(replacement_code);
  armed_code = replacement_code = nullptr;
}

PyObject* evaluate_replacement(PyObject* globals, PyObject* locals) {
  Ref code(armed_code), replacement(replacement_code);
  armed_code = replacement_code = nullptr;
  disarm();
  return PyEval_EvalCode(replacement.get(), globals, locals);
}

bool armed_for(void* frame, int throwing) {
  return armed_code != nullptr && throwing == 0 && code_of(frame) == armed_code;
}

PyObject* evaluate_frame_38(void* frame, int throwing) {
  if (armed_for(frame, throwing))
    return evaluate_replacement(field<PyObject*>(frame, compat.frame_globals),
                                field<PyObject*>(frame, compat.frame_locals));
  return reinterpret_cast<PyObject* (*)(void*, int)>(previous_eval)(frame, throwing);
}

PyObject* evaluate_frame(void* state, void* frame, int throwing) {
  if (armed_for(frame, throwing))
    return evaluate_replacement(field<PyObject*>(frame, compat.frame_globals),
                                field<PyObject*>(frame, compat.frame_locals));
  return reinterpret_cast<PyObject* (*)(void*, void*, int)>(previous_eval)(state, frame, throwing);
}

// func_code is found by its value: the field's offset moved between versions.
int function_event(int event, PyObject* function, PyObject*) {
  if (event != 0 || armed_code == nullptr) return 0;  // PyFunction_EVENT_CREATE
  constexpr int kFirstWord = 2, kWords = 12;
  auto** words = reinterpret_cast<PyObject**>(function);
  for (int i = kFirstWord; i < kWords; ++i) {
    if (words[i] != armed_code) continue;
    words[i] = replacement_code;  // our reference moves in, the function's own moves out
    Ref functions_own(armed_code), ours(armed_code);
    armed_code = replacement_code = nullptr;
    disarm();
    break;
  }
  return 0;
}

}  // namespace

bool run_instead(PyObject* code, PyObject* replacement) {
  drop_armed();
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
  armed_code = Ref::borrow(code).release();
  replacement_code = Ref::borrow(replacement).release();
  return true;
}

}  // namespace watcher::python

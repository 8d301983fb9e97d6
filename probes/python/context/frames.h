// Who is running: the innermost Python frame, read without the API, so that it works in a fault handler and in threads
// that do not hold the GIL.
//
// Threads: any; signal handlers included, except place_here (GIL held).
#pragma once

#include <string>

#include "probes/python/interpreter/python_api.h"
#include "runtime/queue/event.h"

namespace watcher::python {

struct FramePosition {
  PyObject* code = nullptr;
  int instruction = 0;  // byte offset of the instruction that runs
};

/// The innermost frame that runs Python code; null when there is none.
void* innermost_python_frame(void* state);

/// Position of that frame; false when there is none.
bool innermost_frame(void* state, FramePosition* out);

/// Line of an instruction, by the code's own line table; its first line when the table names none.
int line_of(const PyObject* code, int instruction);

/// Position of the running Python code, as text. GIL held.
struct Position {
  std::string function;  // qualified; up to 3.10 only that of instrumented code
  std::string file;
  int line = 0;
};
Position position_here();

/// Code objects of this file are no part of the program: what they do is told of their callers. For ever.
void hide_frames_of(PyObject* file);

/// Callers of the running Python code, innermost first, as many as the option `stack` says. GIL held.
std::uint32_t callers_here(DictionaryRef* places);
/// The same as the probe's `stack` hook: see probe_abi.h.
std::uint32_t callers_of_writer(void* places, std::uint32_t* count);
/// What the option `stack` says.
void record_callers(std::uint32_t most);

/// Place of the running Python code, remembered by code and instruction. GIL held.
DictionaryRef place_here();

/// The probe's `place` hook: see probe_abi.h.
DictionaryRef place_of_writer(void* ucontext, DictionaryRef* context);

/// Compares the walk with the interpreter's own API on the running frame; false: offsets do not fit this build.
bool frames_self_check();

}  // namespace watcher::python

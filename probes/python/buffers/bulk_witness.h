// Where the innermost C call of a thread returns to the evaluation loop, found without unwinding: the loop's C frame
// holds something that the interpreter, or a hook of ours, knows the address of, and the return address lies at a fixed
// distance from it. The distance is measured once, by unwinding.
//
// Threads: any, in signal context; prepare_call_witness with the GIL held.
#pragma once

#include "probes/probe_abi.h"

namespace watcher::python {

extern const watcher_call_witness call_witness;

/// Measures what is not known yet; called from C code under the evaluation loop. Until it has succeeded the witness
/// knows nothing.
void prepare_call_witness();

/// Where the main interpreter keeps its frame evaluation function; null when that was not found.
void** evaluation_cell();

}  // namespace watcher::python

// The signals the engines live on: taken when memory is watched for the first time, chained to what the host installed,
// and invisible to it.
#pragma once

#include <signal.h>

#include "runtime/capture/signals/signal_mask.h"

namespace watcher {

/// Takes SIGSEGV, SIGBUS and SIGTRAP. Idempotent; normal context.
void fault_signals_install();
bool fault_signals_installed();
/// Takes a real-time signal the host does not use, for the uffd engine: its number, or 0. Normal context.
int fault_signals_take_realtime();

}  // namespace watcher

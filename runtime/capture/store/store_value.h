// What a plain move stores, from the registers that the kernel has saved at the fault: nothing has to be executed for
// it.
//
// Any context; called by the fault handlers.
#pragma once

#include <ucontext.h>

#include "runtime/capture/store/instruction.h"

namespace watcher {

/// Writes the bytes that the instruction stores to `to`. False, and `to` is as it was, where it has to be executed.
bool value_of_move(const StoreForm& form, const ucontext_t& ucontext, std::byte* to);

}  // namespace watcher

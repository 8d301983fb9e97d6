// The native callers of a storing function, by the unwind tables of what is loaded.
//
// Zone: fault handlers. libgcc's unwinder, linked into the runtime: with glibc 2.35 it finds tables by _dl_find_object,
// so it neither locks nor allocates. What a damaged stack leads it to costs the callers, nothing else.
#pragma once

#include <cstdint>

#include "runtime/capture/store/store_context.h"

namespace watcher {

/// The unwinder initialises itself once, which must not be in a handler.
void native_stack_prepare();

/// Fills context->callers, innermost first: with none when there is no `ucontext`, or nobody asked for them.
void find_native_callers(StoreContext* context, void* ucontext);

}  // namespace watcher

#include "runtime/capture/store/native_stack.h"

#include <errno.h>
#include <ucontext.h>
#include <unwind.h>

#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/code_modules.h"

namespace watcher {
namespace {

/// Of our handler, between the unwinder and the store, and of our hooks behind it.
constexpr int kMaxOwnFrames = 256;

struct Walk {
  StoreContext* context;
  std::uint64_t store;
  DictionaryRef own[2];  // the runtime and the probe: their frames between the host's are not told
  int own_frames;
  bool met_store;
};

DictionaryRef module_of(auto* function) {
  return module_of_code(reinterpret_cast<std::uint64_t>(function));
}

_Unwind_Reason_Code take_frame(_Unwind_Context* frame, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  const std::uint64_t ip = _Unwind_GetIP(frame);
  StoreContext& context = *walk.context;
  if (ip == 0 || context.callers.count == memory_state.callers) return _URC_END_OF_STACK;
  const DictionaryRef module = walk.met_store ? module_of_code(ip - 1) : 0;
  if (!walk.met_store || (module != 0 && (module == walk.own[0] || module == walk.own[1]))) {
    walk.met_store = walk.met_store || ip == walk.store;
    return ++walk.own_frames < kMaxOwnFrames ? _URC_NO_REASON : _URC_END_OF_STACK;
  }
  context.callers.frames[context.callers.count++] = {ip, module, 0};
  return _URC_NO_REASON;
}

DictionaryRef walk_stack(void* ucontext, DictionaryRef*) {
  const auto ip = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs[REG_RIP];
  Walk walk{thread_state.current, static_cast<std::uint64_t>(ip), {module_of(walk_stack), 0}, 0, false};
  if (memory_state.place != nullptr) walk.own[1] = module_of(memory_state.place);
  _Unwind_Backtrace(take_frame, &walk);
  return 0;
}

}  // namespace

void native_stack_prepare() {
  _Unwind_Backtrace([](_Unwind_Context*, void*) { return _URC_END_OF_STACK; }, nullptr);
}

void find_native_callers(StoreContext* context, void* ucontext) {
  context->callers.count = 0;
  if (memory_state.callers == 0 || ucontext == nullptr || thread_state.current != context) return;
  const int saved_errno = errno;
  const Phase phase = context->phase;
  context->phase = Phase::kPlacing;
  watcher_guarded_place(walk_stack, ucontext, nullptr, &context->place_resume);
  context->phase = phase;
  errno = saved_errno;
}

}  // namespace watcher

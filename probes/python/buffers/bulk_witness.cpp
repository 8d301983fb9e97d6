#include "probes/python/buffers/bulk_witness.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <unwind.h>

#include <cstddef>
#include <cstdint>

#include "probes/python/interpreter/compat.h"

struct dwarf_eh_bases {
  void* text;
  void* data;
  void* function;
};
extern "C" const void* _Unwind_Find_FDE(void* address, dwarf_eh_bases* bases);

namespace watcher::python {
namespace {

constexpr int kThreadInterpreter = 16;
constexpr int kOwnedByCStack = 3;
constexpr int kMaxDepth = 4000;
/// Farther than that above the stack pointer is no caller of ours, but another stack.
constexpr std::uintptr_t kDeepestStack = std::uintptr_t{64} << 20;

struct CodeRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool holds(std::uintptr_t address) const { return address - begin < end - begin; }
};

// Written under the GIL; `distance_known` last, with release.
constinit CodeRange loop = {};
constinit CodeRange cold_loop = {};  // the part that the compiler moved elsewhere
constinit std::ptrdiff_t distance = 0;
constinit bool distance_known = false;

/// Up to 3.9 the loop's frame holds nothing of known address; but it is called by our hook, whose frame is next to it.
struct EvaluationRecord {
  void* frame;
  EvaluationRecord* outer;
};
__attribute__((tls_model("initial-exec"))) constinit thread_local EvaluationRecord* innermost = nullptr;

using Evaluate = PyObject* (*)(void*, void*, int);
using Evaluate38 = PyObject* (*)(void*, long);
constinit void* default_evaluate = nullptr;
constinit void** evaluate_cell = nullptr;  // where the main interpreter keeps its function; may hold null for its own
constinit void* chained = nullptr;         // what was in place of ours
using Entered = void (*)(void);
constinit Entered entered = nullptr;

void tell_entry() {
  if (auto* tell = __atomic_load_n(&entered, __ATOMIC_ACQUIRE)) tell();
}

// --- finding the loop's code

/// The cold part is no symbol of its own: the frame description that most of the loop's jumps out of itself lead to.
CodeRange find_cold_part() {
  constexpr int kMaxCandidates = 64, kManyJumps = 8, kRangeInDescription = 12;
  struct Candidate {
    const void* description;
    std::uintptr_t begin;
    int jumps;
  } candidates[kMaxCandidates];
  int count = 0;
  for (std::uintptr_t at = loop.begin; at + 6 < loop.end; ++at) {
    const auto* code = reinterpret_cast<const std::uint8_t*>(at);
    std::int32_t displacement = 0;
    const bool conditional = code[0] == 0x0f && (code[1] & 0xf0) == 0x80;
    if (!conditional && code[0] != 0xe9) continue;
    memcpy(&displacement, code + (conditional ? 2 : 1), sizeof displacement);
    const std::uintptr_t target = at + (conditional ? 6 : 5) + static_cast<std::uintptr_t>(std::intptr_t{displacement});
    if (loop.holds(target)) continue;
    dwarf_eh_bases bases{};
    const void* description = _Unwind_Find_FDE(reinterpret_cast<void*>(target + 1), &bases);
    const auto function = reinterpret_cast<std::uintptr_t>(bases.function);
    if (description == nullptr || function > target || (function == target && !conditional)) continue;  // a tail call
    int i = 0;
    while (i < count && candidates[i].description != description) ++i;
    if (i == kMaxCandidates) continue;
    if (i == count) candidates[count++] = {description, function, 0};
    ++candidates[i].jumps;
  }
  const Candidate* best = nullptr;
  for (int i = 0; i < count; ++i)
    if (candidates[i].jumps >= kManyJumps && (best == nullptr || candidates[i].jumps > best->jumps))
      best = &candidates[i];
  if (best == nullptr) return {};
  std::int32_t bytes = 0;
  memcpy(&bytes, static_cast<const char*>(best->description) + kRangeInDescription, sizeof bytes);
  return {best->begin, best->begin + static_cast<std::uintptr_t>(bytes)};
}

bool find_loop() {
  if (loop.end != 0) return true;
  default_evaluate = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
  Dl_info info;
  const ElfW(Sym)* symbol = nullptr;
  if (default_evaluate == nullptr ||
      dladdr1(default_evaluate, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)), RTLD_DL_SYMENT) ==
          0 ||
      symbol == nullptr || symbol->st_size == 0)
    return false;
  const auto begin = reinterpret_cast<std::uintptr_t>(default_evaluate);
  loop = {begin, begin + symbol->st_size};
  cold_loop = find_cold_part();
  return true;
}

bool in_loop(std::uintptr_t address) {
  return loop.holds(address) || cold_loop.holds(address);
}

// --- the anchor

/// Something in the C frame of the thread's innermost evaluation loop, or next to it; 0 when there is none.
std::uintptr_t anchor_of(void* state) {
  if (compat.minor <= 9) {
    const EvaluationRecord* record = innermost;
    return record != nullptr && record->frame == frame_of(state) ? reinterpret_cast<std::uintptr_t>(record) : 0;
  }
  if (compat.minor == 10) return field<std::uintptr_t>(state, 48);  // tstate->cframe
  if (compat.minor <= 12) return field<std::uintptr_t>(state, compat.thread_cframe);
  void* frame = frame_of(state);
  for (int depth = 0; frame != nullptr && depth < kMaxDepth; ++depth, frame = field(frame, compat.frame_back))
    if (field<std::uint8_t>(frame, compat.frame_owner) == kOwnedByCStack)
      return reinterpret_cast<std::uintptr_t>(frame);
  return 0;
}

struct Unwound {
  std::uintptr_t slot = 0;
};

// The frame address that goes with a return address is the stack pointer behind that return.
_Unwind_Reason_Code visit_frame(_Unwind_Context* context, void* argument) {
  if (!in_loop(_Unwind_GetIP(context))) return _URC_NO_REASON;
  const std::uintptr_t slot = _Unwind_GetCFA(context) - sizeof(std::uintptr_t);
  if (*reinterpret_cast<const std::uintptr_t*>(slot) == _Unwind_GetIP(context))
    static_cast<Unwound*>(argument)->slot = slot;
  return _URC_END_OF_STACK;
}

void measure_distance() {
  void* state = thread_state();
  const std::uintptr_t anchor = state != nullptr ? anchor_of(state) : 0;
  if (anchor == 0) return;
  Unwound unwound;
  _Unwind_Backtrace(visit_frame, &unwound);
  if (unwound.slot == 0) return;
  distance = static_cast<std::ptrdiff_t>(unwound.slot - anchor);
  __atomic_store_n(&distance_known, true, __ATOMIC_RELEASE);
}

// --- the evaluation hook

// From 3.10 on, while windows are open. The interpreter looks at its function twice when it calls it, so with the GIL
// not held ours may be put in place of none, but not the reverse: it goes at its next call. Neither side waits for the
// other, for a fault handler may have interrupted it.
constinit bool changing_hook = false;

bool begin_change() {
  return !__atomic_test_and_set(&changing_hook, __ATOMIC_ACQUIRE);
}
void end_change() {
  __atomic_clear(&changing_hook, __ATOMIC_RELEASE);
}

PyObject* evaluate(void* state, void* frame, int exception);

void remove_hook() {
  if (__atomic_load_n(&entered, __ATOMIC_ACQUIRE) != nullptr || !begin_change()) return;
  // Else another has chained to ours, which stays.
  if (*evaluate_cell == reinterpret_cast<void*>(evaluate) && entered == nullptr) *evaluate_cell = chained;
  end_change();
}

PyObject* evaluate(void* state, void* frame, int exception) {
  void* next = __atomic_load_n(&chained, __ATOMIC_ACQUIRE);
  tell_entry();
  remove_hook();
  return reinterpret_cast<Evaluate>(next != nullptr ? next : default_evaluate)(state, frame, exception);
}

PyObject* evaluate39(void* state, void* frame, int exception) {
  tell_entry();
  EvaluationRecord record{frame, innermost};
  innermost = &record;
  PyObject* result = reinterpret_cast<Evaluate>(chained)(state, frame, exception);
  innermost = record.outer;
  return result;
}

PyObject* evaluate38(void* frame, long exception) {
  tell_entry();
  EvaluationRecord record{frame, innermost};
  innermost = &record;
  PyObject* result = reinterpret_cast<Evaluate38>(chained)(frame, exception);
  innermost = record.outer;
  return result;
}

void** find_cell() {
  auto** words = static_cast<void**>(PyInterpreterState_Main());
  if (compat.minor == 8) {
    constexpr int kMostWords = 400;
    for (int i = 0; i < kMostWords; ++i)
      if (words[i] == default_evaluate) return &words[i];
    return nullptr;
  }
  // The function that sets it wants the GIL, which a fault handler does not have: so it shows us where once.
  if (words != field(thread_state(), kThreadInterpreter)) return nullptr;
  void* present = _PyInterpreterState_GetEvalFrameFunc(words);
  _PyInterpreterState_SetEvalFrameFunc(words, reinterpret_cast<void*>(evaluate));
  void** cell = words;
  while (*cell != reinterpret_cast<void*>(evaluate)) ++cell;
  _PyInterpreterState_SetEvalFrameFunc(words, present);
  return cell;
}

/// For ever, while the function is the interpreter's own: there each call goes through the cell anyway.
void install_permanent_hook() {
  if (compat.minor > 9 || chained != nullptr) return;
  chained = default_evaluate;
  *evaluate_cell = compat.minor == 8 ? reinterpret_cast<void*>(evaluate38) : reinterpret_cast<void*>(evaluate39);
}

bool install_hook() {
  void* state = PyGILState_GetThisThreadState();
  if (state == nullptr || field(state, kThreadInterpreter) != PyInterpreterState_Main()) return false;
  void* present = __atomic_load_n(evaluate_cell, __ATOMIC_ACQUIRE);
  if (present == reinterpret_cast<void*>(evaluate)) return true;
  __atomic_store_n(&chained, present, __ATOMIC_RELEASE);
  __atomic_store_n(evaluate_cell, reinterpret_cast<void*>(evaluate), __ATOMIC_RELEASE);
  return true;
}

// --- the table

std::uintptr_t return_slot(std::uintptr_t ip, std::uintptr_t sp) {
  if (!__atomic_load_n(&distance_known, __ATOMIC_ACQUIRE) || in_loop(ip)) return 0;
  void* state = PyGILState_GetThisThreadState();
  const std::uintptr_t anchor = state != nullptr ? anchor_of(state) : 0;
  if (anchor == 0) return 0;
  const std::uintptr_t slot = anchor + static_cast<std::uintptr_t>(distance);
  return slot >= sp && slot - sp < kDeepestStack ? slot : 0;
}

int is_interpreter(std::uintptr_t address) {
  return in_loop(address);
}

int watch_entries(Entered tell) {
  if (tell == nullptr) {
    __atomic_store_n(&entered, tell, __ATOMIC_RELEASE);
    return 1;
  }
  if (!begin_change()) return 0;
  const bool watched = compat.minor <= 9 ? chained != nullptr : install_hook();
  if (watched) __atomic_store_n(&entered, tell, __ATOMIC_RELEASE);
  end_change();
  return watched;
}

}  // namespace

constinit const watcher_call_witness call_witness{
    .return_slot = return_slot, .is_interpreter = is_interpreter, .watch_entries = watch_entries};

void prepare_call_witness() {
  if (distance_known || !find_loop() || evaluation_cell() == nullptr) return;
  install_permanent_hook();
  measure_distance();
}

void** evaluation_cell() {
  if (evaluate_cell == nullptr && find_loop()) evaluate_cell = find_cell();
  return evaluate_cell;
}

}  // namespace watcher::python

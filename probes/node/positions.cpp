#include "probes/node/positions.h"

#include <ucontext.h>
#include <unistd.h>

#include <atomic>

#include "probes/node/code_map.h"
#include "probes/node/emit.h"
#include "probes/node/host_allocator.h"
#include "runtime/capture/memory_watch.h"

namespace watcher::node {
namespace {

constexpr std::size_t kFrames = 48;

__attribute__((tls_model("initial-exec"))) constinit thread_local void* thread_isolate = nullptr;

constinit std::atomic<bool> ended{false};  // the main thread's JavaScript: what is freed now, the process takes along

/// The frames from the innermost on: addresses of machine code, or of bytecode.
struct Sample {
  void* frames[kFrames];
  std::size_t count;
};

void take_sample(const RegisterState& registers, Sample* sample) {
  SampleInfo info{};
  // V8 leaves the interrupted address out: it is that of the innermost frame only when it lies in JavaScript code
  sample->frames[0] = registers.pc;
  v8.sample(thread_isolate, &registers, sample->frames + 1, kFrames - 1, &info);
  sample->count = 1 + (info.frames_count < kFrames - 1 ? info.frames_count : kFrames - 1);
}

/// The entry that covers the offset; null when the code has none.
CodePosition* covering(Code& code, std::size_t offset) {
  CodePosition* last = nullptr;
  for (CodePosition& entry : code.positions) {
    if (entry.offset > offset) break;
    last = &entry;
  }
  return last;
}

/// What is known of the innermost JavaScript frame before its line is asked for.
struct Spot {
  DictionaryRef place = 0;     // known already, or no line can be
  std::uintptr_t address = 0;  // of the instruction, in its code
  std::uintptr_t owner = 0;    // the code whose source the position is in
  void* script = nullptr;
  std::int32_t position = 0;
  bool certain = true;
};

DictionaryRef place_of_function(Code& code) {
  if (code.place == 0) code.place = intern_place(code.function, code.file, code.first_line > 0 ? -code.first_line : -1);
  return code.place;
}

Spot spot_in(Code& code, std::uintptr_t address) {
  Spot spot{.address = address, .owner = code.start, .script = code.script};
  CodePosition* entry = covering(code, address - code.start);
  if (entry == nullptr || code.script == nullptr) {
    spot.place = place_of_function(code);
    return spot;
  }
  spot.place = entry->place;
  spot.position = entry->position;
  if (spot.place != 0 || code.tier != Tier::kOptimised || !code.inlining) return spot;
  const Owner owner = find_owner(code, entry->position);
  spot.certain = owner.certain;
  spot.owner = owner.code->start;
  spot.script = owner.code->script;
  return spot;
}

Spot innermost_spot(const Sample& sample) {
  const CodeMapLock lock;
  for (std::size_t i = 0; i < sample.count; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(sample.frames[i]);
    Code* code = find_code(address);
    if (code == nullptr || code->internal || code->isolate != thread_isolate) continue;
    if (i == 0 && code->tier == Tier::kBytecode) continue;  // nobody executes bytecode: a stale entry
    // callers in machine code are known by the address they will go on at
    const bool returns_here = i > 0 && code->tier != Tier::kBytecode && address > code->start;
    return spot_in(*code, returns_here ? address - 1 : address);
  }
  return {};
}

DictionaryRef settle_place(const Spot& spot, int line) {
  const CodeMapLock lock;
  const Code* owner = find_code(spot.owner);
  Code* code = find_code(spot.address);
  if (owner == nullptr || code == nullptr) return 0;
  const DictionaryRef place = intern_place(owner->function, owner->file, spot.certain ? line : -line);
  if (CodePosition* entry = covering(*code, spot.address - code->start)) entry->place = place;
  return place;
}

// V8's functions are called without the lock: a fault inside them ends the whole search.
DictionaryRef sample_place(const RegisterState& registers) {
  Sample sample;
  take_sample(registers, &sample);
  const Spot spot = innermost_spot(sample);
  if (spot.place != 0 || spot.script == nullptr) return spot.place;
  return settle_place(spot, v8.line_number(spot.script, spot.position) + 1);
}

}  // namespace

void note_thread_isolate() {
  thread_isolate = load_v8_api() ? v8.current_isolate() : nullptr;
}

void forget_thread_isolate() {
  thread_isolate = nullptr;
  if (static_cast<pid_t>(thread_id()) == getpid()) ended = true;
}

__attribute__((noinline)) DictionaryRef place_here() {
  if (thread_isolate == nullptr || !ring) return 0;
  void* frame = __builtin_frame_address(0);
  const RegisterState here{
      .pc = reinterpret_cast<void*>(place_here), .sp = frame, .fp = frame, .lr = nullptr, .callee_saved = nullptr};
  return sample_place(here);
}

DictionaryRef place_of_writer(void* ucontext, DictionaryRef* context) {
  *context = thread_context();
  if (ucontext == nullptr && ended) return kNoEvent;
  if (thread_isolate == nullptr || !ring) return 0;
  if (ucontext == nullptr) return place_here();
  const greg_t* registers = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs;
  const auto pointer = [registers](int which) { return reinterpret_cast<void*>(registers[which]); };
  return sample_place(
      {.pc = pointer(REG_RIP), .sp = pointer(REG_RSP), .fp = pointer(REG_RBP), .lr = nullptr, .callee_saved = nullptr});
}

void after_fork_child() {
  forget_threads();
  renew_code_map_lock();
  renew_allocator_lock();
}

}  // namespace watcher::node

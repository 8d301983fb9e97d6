#include "probes/node/positions/positions.h"

#include <pthread.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <iterator>
#include <vector>

#include "probes/node/events/emit.h"
#include "probes/node/host/host_allocator.h"
#include "probes/node/positions/baseline_positions.h"
#include "probes/node/positions/code_map.h"
#include "runtime/capture/memory_watch.h"

namespace watcher::node {
namespace {

constexpr std::size_t kFrames = 48;

__attribute__((tls_model("initial-exec"))) constinit thread_local void* thread_isolate = nullptr;

__attribute__((tls_model("initial-exec"))) constinit thread_local const std::uintptr_t* thread_stack_end = nullptr;

constinit std::atomic<bool> ended{false};  // the main thread's JavaScript: what is freed now, the process takes along

/// The frames from the innermost on: addresses of machine code, or of bytecode.
struct Sample {
  void* frames[kFrames];
  std::size_t count;
};

void take_sample(const RegisterState& registers, Sample* sample, std::size_t room = kFrames) {
  SampleInfo info{};
  // V8 leaves the interrupted address out: it is that of the innermost frame only when it lies in JavaScript code
  sample->frames[0] = registers.pc;
  v8.sample(thread_isolate, &registers, sample->frames + 1, room - 1, &info);
  sample->count = 1 + (info.frames_count < room - 1 ? info.frames_count : room - 1);
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
  std::size_t baseline_bytes = 0;  // of the code, when its bytecode is to be found first
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
  if (spot.place != 0 || code.tier < Tier::kMaglev || !code.inlining) return spot;
  const Owner owner = find_owner(code, *entry);
  // of Maglev's positions the last one is also that of all that is done aside
  const bool vague = code.tier == Tier::kMaglev && (entry->script_id < 0 || entry == &code.positions.back());
  spot.certain = owner.certain && !vague;
  spot.owner = owner.code->start;
  spot.script = owner.code->script;
  return spot;
}

/// The bytecode of instructions of Sparkplug's, as it was found last. Under the code map's lock.
struct KnownBytecode {
  std::uintptr_t instruction;
  std::uint64_t generation;
  std::uintptr_t address;  // 0: it has none
};
constinit KnownBytecode known_bytecodes[512] = {};

KnownBytecode& known_bytecode(std::uintptr_t instruction) {
  return known_bytecodes[(instruction ^ instruction >> 9) % std::size(known_bytecodes)];
}

Spot spot_of_bytecode(Code& baseline, std::uintptr_t address) {
  Code* bytecode = address != 0 ? find_code(address) : nullptr;
  return bytecode != nullptr ? spot_in(*bytecode, address) : Spot{.place = place_of_function(baseline)};
}

Spot spot_in_baseline(Code& code, std::uintptr_t address) {
  const KnownBytecode& known = known_bytecode(address);
  if (known.instruction == address && known.generation == code_generation())
    return spot_of_bytecode(code, known.address);
  return {.address = address, .owner = code.start, .baseline_bytes = code.bytes};
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
    const std::uintptr_t instruction = returns_here ? address - 1 : address;
    return code->tier == Tier::kBaseline ? spot_in_baseline(*code, instruction) : spot_in(*code, instruction);
  }
  return {};
}

/// V8's tables are believed where V8 has told of the same bytecode.
Spot settle_baseline(const Spot& spot, const BytecodeSpot& found) {
  const CodeMapLock lock;
  Code* code = find_code(spot.address);
  if (code == nullptr || code->start != spot.owner) return {};
  const Code* bytecode = find_code(found.first);
  const bool told = bytecode != nullptr && bytecode->tier == Tier::kBytecode && bytecode->isolate == code->isolate &&
                    bytecode->start == found.first && bytecode->bytes == found.bytes;
  const std::uintptr_t address = told ? found.first + found.offset : 0;
  known_bytecode(spot.address) = {spot.address, code_generation(), address};
  return spot_of_bytecode(*code, address);
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
  Spot spot = innermost_spot(sample);
  if (spot.baseline_bytes != 0)
    spot = settle_baseline(spot, bytecode_at(spot.owner, spot.baseline_bytes, spot.address));
  if (spot.place != 0 || spot.script == nullptr) return spot.place;
  return settle_place(spot, v8.line_number(spot.script, spot.position) + 1);
}

constexpr std::size_t kNearFrames = 9;  // ours, those of V8's own builtins, the program's
// behind these is C++ of V8's, which keeps no chain of frames
constexpr std::uintptr_t kEntryFrame = 1 << 1, kConstructEntryFrame = 2 << 1;
constexpr std::size_t kKnownAddresses = 1024;

KnownAddress& known_address(std::uintptr_t address) {
  static thread_local std::vector<KnownAddress> table(kKnownAddresses);
  KnownAddress& known = table[(address ^ address >> 10) % kKnownAddresses];
  const std::uint64_t generation = code_generation();
  if (known.address == address && known.generation == generation) return known;
  known = {.address = address, .generation = generation, .script_id = KnownAddress::kUnknown, .place = 0};
  const CodeMapLock lock;
  const Code* code = find_code(address);
  // a call may be the last of its code: then it returns behind it
  if (code == nullptr || (code->tier != Tier::kBytecode && code->start == address)) code = find_code(address - 1);
  if (code != nullptr && code->isolate == thread_isolate)
    known.script_id = code->ours ? KnownAddress::kOurs : code->script_id;
  return known;
}

/// The machine state of who calls.
RegisterState own_registers(void* pc, void* frame) {
  return {.pc = pc, .sp = frame, .fp = frame, .lr = nullptr, .callee_saved = nullptr};
}

}  // namespace

__attribute__((noinline)) KnownAddress* program_caller() {
  if (thread_isolate == nullptr) return nullptr;
  Sample sample;
  take_sample(own_registers(reinterpret_cast<void*>(program_caller), __builtin_frame_address(0)), &sample, kNearFrames);
  for (std::size_t i = 1; i < sample.count; ++i) {
    KnownAddress& known = known_address(reinterpret_cast<std::uintptr_t>(sample.frames[i]));
    if (known.script_id >= 0) return &known;
  }
  return nullptr;
}

DictionaryRef place_behind(std::uintptr_t address, const std::uintptr_t* frame) {
  const auto* below = static_cast<const std::uintptr_t*>(__builtin_frame_address(0));
  if (frame <= below || frame >= thread_stack_end || reinterpret_cast<std::uintptr_t>(frame) % 8 != 0) return 0;
  for (std::size_t i = 0; i < kNearFrames; ++i) {
    const KnownAddress& known = known_address(address);
    if (known.script_id >= 0) return known.place;
    if (known.script_id != KnownAddress::kOurs) {
      // code of V8's: a function's frame there holds its context, and the interpreter's line is not in the address
      const std::uintptr_t kind = frame[-1];
      if (kind % 2 != 0 || kind == kEntryFrame || kind == kConstructEntryFrame) return 0;
    }
    const auto* next = reinterpret_cast<const std::uintptr_t*>(frame[0]);
    if (next <= frame || next >= thread_stack_end) return 0;
    address = frame[1];
    frame = next;
  }
  return 0;
}

void note_thread_isolate() {
  thread_isolate = load_v8_api() ? v8.current_isolate() : nullptr;
  pthread_attr_t attributes;
  void* start = nullptr;
  std::size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  if (pthread_attr_getstack(&attributes, &start, &bytes) == 0)
    thread_stack_end = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(start) + bytes) - 1;
  pthread_attr_destroy(&attributes);
}

void forget_thread_isolate() {
  thread_isolate = nullptr;
  if (static_cast<pid_t>(thread_id()) == getpid()) ended = true;
}

__attribute__((noinline)) DictionaryRef place_here() {
  if (thread_isolate == nullptr || !ring) return 0;
  return sample_place(own_registers(reinterpret_cast<void*>(place_here), __builtin_frame_address(0)));
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

#include "runtime/capture/handler/fault_witness.h"

#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/handler/helper_process.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr std::uint32_t kNotes = 1u << 16;
constexpr std::uint64_t kValid = 1, kTaken = 2;
// Of a note: the address, what of the thread's id does not fit into the note's number, and its state.
constexpr int kAddressShift = 8, kThreadShift = 2;
constexpr int kTrapPerf = 6;  // si_code, younger than libc's headers
constexpr int kCallers = 64;  // threads with events
constexpr std::int64_t kIdleNs = 1'000'000'000;

/// Shared with the kernel.
struct Board {
  std::atomic<std::uint64_t> range_begin;
  std::atomic<std::uint64_t> range_bytes;
  std::atomic<std::uint64_t> notes[kNotes];  // by thread id, modulo
};
constexpr std::size_t kBoardBytes = (sizeof(Board) + kPageMask) & ~kPageMask;

constinit Board* board = nullptr;
constinit std::uint64_t seen_note = 0;
constinit int filter = -1;
constinit std::uintptr_t range_begin = 0;
constinit std::size_t range_bytes = 0;
constinit const char mark = 0;  // its address tells our signals from those of events of the host's

/// A thread whose calls write to watched pages.
struct Caller {
  std::uint32_t thread_id;  // 0: free
  int events[2];
  std::int64_t last_ns;
};
constinit Caller callers[kCallers] = {};

constexpr bpf_insn instruction(int code, int to, int from, int offset, std::int32_t value) {
  return {static_cast<__u8>(code), static_cast<__u8>(to & 15), static_cast<__u8>(from & 15), static_cast<__s16>(offset),
          value};
}
constexpr bpf_insn load(int to, int from, int offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_DW, to, from, offset, 0);
}
constexpr bpf_insn load_half(int to, int from, int offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, from, offset, 0);
}
constexpr bpf_insn copy(int to, int from) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
constexpr bpf_insn compute(int operation, int to, std::int32_t value) {
  return instruction(BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
}
constexpr bpf_insn compute_with(int operation, int to, int from) {
  return instruction(BPF_ALU64 | operation | BPF_X, to, from, 0, 0);
}
constexpr bpf_insn skip_unless_equal(int to, std::int32_t value, int count) {
  return instruction(BPF_JMP | BPF_JNE | BPF_K, to, 0, count, value);
}
constexpr bpf_insn skip_unless_below(int to, int bound, int count) {
  return instruction(BPF_JMP | BPF_JGE | BPF_X, to, bound, count, 0);
}
constexpr bpf_insn call(int function) {
  return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, function);
}
constexpr bpf_insn leave() {
  return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
/// A constant takes two instructions.
constexpr bpf_insn lower(int to, int kind, std::uint64_t value) {
  return instruction(BPF_LD | BPF_IMM | BPF_DW, to, kind, 0, static_cast<std::int32_t>(value));
}
constexpr bpf_insn upper(std::uint64_t value) {
  return instruction(0, 0, 0, 0, static_cast<std::int32_t>(value >> 32));
}

long bpf(int command, bpf_attr* attributes) {
  return raw_syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

template <std::size_t N>
int load_program(const bpf_insn (&code)[N], bpf_prog_type type) {
  bpf_attr attributes{};
  attributes.prog_type = type;
  attributes.insns = reinterpret_cast<std::uint64_t>(code);
  attributes.insn_cnt = N;
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  return static_cast<int>(bpf(BPF_PROG_LOAD, &attributes));
}

/// One element, so that programs reach it without a look-up.
int create_board() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = sizeof(Board);
  attributes.max_entries = 1;
  attributes.map_flags = BPF_F_MMAPABLE;
  return static_cast<int>(bpf(BPF_MAP_CREATE, &attributes));
}

/// At the tracepoint's arguments: address, registers, error code. r6: the address; r7: the board; r8: the thread's id.
bool attach_notes(int map) {
  constexpr int kThread = -8, kProcess = -4, kEnd = 30;
  struct stat space {};
  if (raw_syscall(SYS_stat, "/proc/self/ns/pid", &space) != 0) return false;
  const bpf_insn code[] = {
      /* 0*/ load(6, 1, 0),
      /* 1*/ lower(7, BPF_PSEUDO_MAP_VALUE, static_cast<std::uint64_t>(map)),
      /* 2*/ upper(0),
      /* 3*/ load(1, 7, offsetof(Board, range_begin)),
      /* 4*/ copy(2, 6),
      /* 5*/ compute_with(BPF_SUB, 2, 1),
      /* 6*/ load(1, 7, offsetof(Board, range_bytes)),
      /* 7*/ skip_unless_below(2, 1, kEnd - 8),
      /* 8*/ lower(1, 0, space.st_dev),
      /* 9*/ upper(space.st_dev),
      /*10*/ lower(2, 0, space.st_ino),
      /*11*/ upper(space.st_ino),
      /*12*/ copy(3, 10),
      /*13*/ compute(BPF_ADD, 3, kThread),
      /*14*/ compute(BPF_MOV, 4, 8),
      /*15*/ call(BPF_FUNC_get_ns_current_pid_tgid),
      /*16*/ skip_unless_equal(0, 0, kEnd - 17),
      /*17*/ load_half(1, 10, kProcess),
      /*18*/ skip_unless_equal(1, static_cast<std::int32_t>(observed_process()), kEnd - 19),
      /*19*/ load_half(8, 10, kThread),
      /*20*/ copy(1, 8),
      /*21*/ compute(BPF_AND, 1, kNotes - 1),
      /*22*/ compute(BPF_LSH, 1, 3),
      /*23*/ compute_with(BPF_ADD, 7, 1),
      /*24*/ compute(BPF_RSH, 8, 16),
      /*25*/ compute(BPF_LSH, 8, kThreadShift),
      /*26*/ compute(BPF_LSH, 6, kAddressShift),
      /*27*/ compute_with(BPF_OR, 6, 8),
      /*28*/ compute(BPF_OR, 6, kValid),
      /*29*/ instruction(BPF_STX | BPF_MEM | BPF_DW, 7, 6, offsetof(Board, notes), 0),
      /*30*/ compute(BPF_MOV, 0, 0),
      /*31*/ leave(),
  };
  const int program = load_program(code, BPF_PROG_TYPE_RAW_TRACEPOINT);
  if (program < 0) return false;
  bpf_attr attributes{};
  attributes.raw_tracepoint.name = reinterpret_cast<std::uint64_t>("page_fault_kernel");
  attributes.raw_tracepoint.prog_fd = static_cast<__u32>(program);
  const bool attached = bpf(BPF_RAW_TRACEPOINT_OPEN, &attributes) >= 0;  // for as long as we live
  raw_syscall(SYS_close, program);
  return attached;
}

/// 1, which lets an event's signal through, for faults in the range.
int load_filter(int map) {
  const bpf_insn code[] = {
      load(2, 1, offsetof(bpf_perf_event_data, addr)),
      lower(3, BPF_PSEUDO_MAP_VALUE, static_cast<std::uint64_t>(map)),
      upper(0),
      load(1, 3, offsetof(Board, range_begin)),
      compute_with(BPF_SUB, 2, 1),
      load(1, 3, offsetof(Board, range_bytes)),
      compute(BPF_MOV, 0, 0),
      skip_unless_below(2, 1, 1),
      compute(BPF_MOV, 0, 1),
      leave(),
  };
  return load_program(code, BPF_PROG_TYPE_PERF_EVENT);
}

int open_event(std::uint32_t thread_id, std::uint64_t what) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = what;
  attributes.disabled = 1;
  if (what != PERF_COUNT_SW_DUMMY) {
    attributes.sample_period = 1;
    attributes.sample_type = PERF_SAMPLE_ADDR;
    attributes.exclude_user = attributes.exclude_hv = 1;
    attributes.remove_on_exec = 1;
    attributes.sigtrap = 1;
    attributes.sig_data = reinterpret_cast<std::uint64_t>(&mark);
  }
  const long event = raw_syscall(SYS_perf_event_open, &attributes, thread_id, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (event < 0 || what == PERF_COUNT_SW_DUMMY) return static_cast<int>(event);
  if (raw_syscall(SYS_ioctl, event, PERF_EVENT_IOC_SET_BPF, filter) == 0 &&
      raw_syscall(SYS_ioctl, event, PERF_EVENT_IOC_ENABLE, 0) == 0)
    return static_cast<int>(event);
  raw_syscall(SYS_close, event);
  return -1;
}

void release(Caller* caller) {
  for (const int event : caller->events)
    if (event >= 0) raw_syscall(SYS_close, event);
  caller->thread_id = 0;
}

/// The thread's, or the one that has waited longest.
Caller* caller_of(std::uint32_t thread_id) {
  Caller* oldest = &callers[0];
  for (Caller& caller : callers) {
    if (caller.thread_id == thread_id) return &caller;
    if (oldest->thread_id == 0) continue;
    if (caller.thread_id == 0 || caller.last_ns < oldest->last_ns) oldest = &caller;
  }
  return oldest;
}

}  // namespace

bool witness_start() {
  for (Caller& caller : callers) caller.thread_id = 0;
  const int map = create_board();
  if (map < 0) return false;
  filter = load_filter(map);
  const long mapped =
      filter < 0 ? -1 : raw_syscall(SYS_mmap, nullptr, kBoardBytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  bool ready = mapped > 0 || mapped < -4095;
  if (ready) {
    board = reinterpret_cast<Board*>(mapped);
    witness_range(range_begin, range_bytes);
    ready = attach_notes(map);
    // The machine's first event takes the kernel milliseconds. This one is the guard's, which sleeps.
    if (!descriptors_are_scarce())
      open_event(static_cast<std::uint32_t>(raw_syscall(SYS_getppid)), PERF_COUNT_SW_DUMMY);
    if (!ready) witness_forget();
  }
  raw_syscall(SYS_close, map);
  return ready;
}

void witness_range(std::uintptr_t begin, std::size_t bytes) {
  range_begin = begin;
  range_bytes = bytes;
  if (board == nullptr) return;
  board->range_begin.store(begin, std::memory_order_relaxed);
  board->range_bytes.store(bytes, std::memory_order_relaxed);
}

// The kernel's faults without a note are those on pages that it pins: their addresses are those of pages. A note
// without a fault's message is left where the kernel repeats a store to a page that was opened.
FaultMode witness_look(std::uint32_t thread_id, std::uintptr_t address) {
  if (board == nullptr) return FaultMode::kUnknown;
  seen_note = board->notes[thread_id % kNotes].load(std::memory_order_relaxed);
  if (seen_note == 0) return (address & kPageMask) != 0 ? FaultMode::kUser : FaultMode::kUnknown;
  const std::uint64_t fresh = address << kAddressShift | (thread_id / kNotes) << kThreadShift | kValid;
  return seen_note == fresh ? FaultMode::kKernel : FaultMode::kUnknown;
}

void witness_settle(std::uint32_t thread_id, FaultMode mode) {
  if (board == nullptr || seen_note == 0) return;
  const std::uint64_t next = mode == FaultMode::kKernel ? seen_note | kTaken : 0;
  board->notes[thread_id % kNotes].compare_exchange_strong(seen_note, next, std::memory_order_relaxed);
}

bool witness_end_of_call(std::uint32_t thread_id, std::int64_t now_ns) {
  if (board == nullptr) return false;
  Caller* caller = caller_of(thread_id);
  if (caller->thread_id != thread_id) {
    if (caller->thread_id != 0) release(caller);
    *caller = {
        thread_id,
        {open_event(thread_id, PERF_COUNT_SW_PAGE_FAULTS_MIN), open_event(thread_id, PERF_COUNT_SW_PAGE_FAULTS_MAJ)},
        now_ns};
    if (caller->events[0] < 0 || caller->events[1] < 0) release(caller);
  }
  caller->last_ns = now_ns;
  return caller->thread_id != 0;
}

void witness_tend(std::int64_t now_ns) {
  for (Caller& caller : callers)
    if (caller.thread_id != 0 && now_ns - caller.last_ns > kIdleNs) release(&caller);
}

bool witness_present() {
  return board != nullptr;
}

void witness_forget() {
  if (board != nullptr) raw_syscall(SYS_munmap, board, kBoardBytes);
  board = nullptr;
}

bool witness_signalled(const siginfo_t* info) {
  constexpr std::size_t kPerfData = 24;
  std::uint64_t data = 0;
  __builtin_memcpy(&data, reinterpret_cast<const std::byte*>(info) + kPerfData, sizeof data);
  return info->si_code == kTrapPerf && data == reinterpret_cast<std::uint64_t>(&mark);
}

}  // namespace watcher

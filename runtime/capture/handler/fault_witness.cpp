#include "runtime/capture/handler/fault_witness.h"

#include <asm/ptrace.h>
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr std::uint32_t kThreads = 1u << 16;
constexpr std::uint32_t kRangeBegin = kThreads, kRangeBytes = kThreads + 1, kEntries = kThreads + 2;
constexpr std::uint64_t kValid = 1, kUserMode = 2;
constexpr int kTrapPerf = 6;  // si_code, younger than libc's headers

// One word a thread id, modulo: page | rest of the thread id << 2 | mode. Shared with the kernel.
constinit std::atomic<std::uint64_t>* notes = nullptr;
constinit std::size_t notes_bytes = 0;
constinit int program = -1;
constinit std::uintptr_t range_begin = 0;
constinit std::size_t range_bytes = 0;
constinit const char mark = 0;  // its address tells our signals from those of events of the host's

constexpr int kMaxThreads = 4096;
constinit std::uint32_t watched[kMaxThreads] = {};
constinit int watched_count = 0;
constinit bool found_new = false;
constinit bool one_event = false;

struct PidName {
  std::uint64_t device;
  std::uint64_t inode;
};

bool find_own_pid_namespace(PidName* name) {
  struct stat status {};
  if (raw_syscall(SYS_stat, "/proc/self/ns/pid", &status) != 0) return false;
  *name = {status.st_dev, status.st_ino};
  return true;
}

int create_map() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 8;
  attributes.max_entries = kEntries;
  attributes.map_flags = BPF_F_MMAPABLE;
  return static_cast<int>(raw_syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

constexpr bpf_insn instruction(int code, int to, int from, int offset, std::int32_t value) {
  return {static_cast<__u8>(code), static_cast<__u8>(to & 15), static_cast<__u8>(from & 15), static_cast<__s16>(offset),
          value};
}
constexpr bpf_insn load(int to, int from, int offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_DW, to, from, offset, 0);
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
constexpr bpf_insn call(int function) {
  return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, function);
}
constexpr bpf_insn leave() {
  return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/// r6: address; r7: the privilege level, 0 in the kernel; r8: begin of the range. Returns 1 for the kernel's faults in
/// the range: they go on to become a signal.
int load_program(int map, const PidName& name) {
  constexpr int kKey = -4, kIdentity = -16, kUnnoted = 52;
  const auto wide = [](int to, int kind, std::uint64_t value) {
    return instruction(BPF_LD | BPF_IMM | BPF_DW, to, kind, 0, static_cast<std::int32_t>(value));
  };
  const auto upper = [](std::uint64_t value) {
    return instruction(0, 0, 0, 0, static_cast<std::int32_t>(value >> 32));
  };
  const auto descriptor = static_cast<std::uint64_t>(map);
  const auto unless_found = [](int skip) { return instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, skip, 0); };
  const bpf_insn code[] = {
      /* 0*/ load(6, 1, offsetof(bpf_perf_event_data, addr)),
      /* 1*/ load(7, 1, offsetof(pt_regs, cs)),
      /* 2*/ compute(BPF_AND, 7, 3),
      /* 3*/ instruction(BPF_ST | BPF_MEM | BPF_W, 10, 0, kKey, kRangeBegin),
      /* 4*/ wide(1, BPF_PSEUDO_MAP_FD, descriptor),
      /* 5*/ upper(0),
      /* 6*/ copy(2, 10),
      /* 7*/ compute(BPF_ADD, 2, kKey),
      /* 8*/ call(BPF_FUNC_map_lookup_elem),
      /* 9*/ unless_found(kUnnoted - 10),
      /*10*/ load(8, 0, 0),
      /*11*/ instruction(BPF_ST | BPF_MEM | BPF_W, 10, 0, kKey, kRangeBytes),
      /*12*/ wide(1, BPF_PSEUDO_MAP_FD, descriptor),
      /*13*/ upper(0),
      /*14*/ copy(2, 10),
      /*15*/ compute(BPF_ADD, 2, kKey),
      /*16*/ call(BPF_FUNC_map_lookup_elem),
      /*17*/ unless_found(kUnnoted - 18),
      /*18*/ load(1, 0, 0),
      /*19*/ copy(2, 6),
      /*20*/ compute_with(BPF_SUB, 2, 8),
      /*21*/ instruction(BPF_JMP | BPF_JGE | BPF_X, 2, 1, kUnnoted - 22, 0),
      /*22*/ wide(1, 0, name.device),
      /*23*/ upper(name.device),
      /*24*/ wide(2, 0, name.inode),
      /*25*/ upper(name.inode),
      /*26*/ copy(3, 10),
      /*27*/ compute(BPF_ADD, 3, kIdentity),
      /*28*/ compute(BPF_MOV, 4, 8),
      /*29*/ call(BPF_FUNC_get_ns_current_pid_tgid),
      /*30*/ instruction(BPF_JMP | BPF_JNE | BPF_K, 0, 0, kUnnoted - 31, 0),
      /*31*/ instruction(BPF_LDX | BPF_MEM | BPF_W, 8, 10, kIdentity, 0),  // the thread's id
      /*32*/ copy(1, 8),
      /*33*/ compute(BPF_AND, 1, kThreads - 1),
      /*34*/ instruction(BPF_STX | BPF_MEM | BPF_W, 10, 1, kKey, 0),
      /*35*/ wide(1, BPF_PSEUDO_MAP_FD, descriptor),
      /*36*/ upper(0),
      /*37*/ copy(2, 10),
      /*38*/ compute(BPF_ADD, 2, kKey),
      /*39*/ call(BPF_FUNC_map_lookup_elem),
      /*40*/ unless_found(kUnnoted - 41),
      /*41*/ compute(BPF_AND, 6, ~static_cast<std::int32_t>(kPageMask)),
      /*42*/ compute(BPF_RSH, 8, 16),
      /*43*/ compute(BPF_LSH, 8, 2),
      /*44*/ compute_with(BPF_OR, 6, 8),
      /*45*/ compute(BPF_OR, 6, kValid),
      /*46*/ instruction(BPF_JMP | BPF_JNE | BPF_K, 7, 0, 50 - 47, 0),
      /*47*/ instruction(BPF_STX | BPF_MEM | BPF_DW, 0, 6, 0, 0),
      /*48*/ compute(BPF_MOV, 0, 1),
      /*49*/ leave(),
      /*50*/ compute(BPF_OR, 6, kUserMode),
      /*51*/ instruction(BPF_STX | BPF_MEM | BPF_DW, 0, 6, 0, 0),
      /*52*/ compute(BPF_MOV, 0, 0),
      /*53*/ leave(),
  };
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_PERF_EVENT;
  attributes.insns = reinterpret_cast<std::uint64_t>(code);
  attributes.insn_cnt = sizeof code / sizeof code[0];
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  return static_cast<int>(raw_syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes));
}

std::uint32_t take_number(const char** at) {
  std::uint32_t value = 0;
  for (; **at >= '0' && **at <= '9'; ++*at) value = value * 10 + static_cast<std::uint32_t>(**at - '0');
  if (**at == '.') ++*at;
  return value;
}

/// Only from Linux 6.10 on: before, an event's signal is sent whatever its program says, and the user's faults must not
/// cause any.
bool programs_hold_signals_back() {
  utsname system{};
  raw_syscall(SYS_uname, &system);
  const char* at = system.release;
  const std::uint32_t major = take_number(&at);
  return major > 6 || (major == 6 && take_number(&at) >= 10);
}

bool open_event(std::uint32_t thread_id, bool of_user, bool of_kernel) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
  attributes.sample_period = 1;
  attributes.sample_type = PERF_SAMPLE_ADDR;
  attributes.exclude_hv = 1;
  attributes.exclude_user = !of_user;
  attributes.exclude_kernel = !of_kernel;
  attributes.inherit = attributes.inherit_thread = 1;
  attributes.remove_on_exec = 1;
  attributes.sigtrap = of_kernel;
  attributes.sig_data = of_kernel ? reinterpret_cast<std::uint64_t>(&mark) : 0;
  attributes.disabled = 1;
  const long event = raw_syscall(SYS_perf_event_open, &attributes, thread_id, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (event < 0) return false;
  const bool started = raw_syscall(SYS_ioctl, event, PERF_EVENT_IOC_SET_BPF, program) == 0 &&
                       raw_syscall(SYS_ioctl, event, PERF_EVENT_IOC_ENABLE, 0) == 0;
  if (!started) raw_syscall(SYS_close, event);
  return started;
}

bool watch_thread(std::uint32_t thread_id) {
  for (int i = 0; i < watched_count; ++i)
    if (watched[i] == thread_id) return true;
  if (watched_count == kMaxThreads) return false;
  watched[watched_count++] = thread_id;
  found_new = true;
  if (one_event) return open_event(thread_id, true, true);
  return open_event(thread_id, true, false) && open_event(thread_id, false, true);
}

}  // namespace

bool witness_start() {
  watched_count = 0;
  PidName name{};
  if (!find_own_pid_namespace(&name)) return false;
  one_event = programs_hold_signals_back();
  const int map = create_map();
  if (map < 0) return false;
  program = load_program(map, name);
  notes_bytes = (std::size_t{kEntries} * 8 + kPageMask) & ~kPageMask;
  const long mapped =
      program < 0 ? -1 : raw_syscall(SYS_mmap, nullptr, notes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  raw_syscall(SYS_close, map);
  if (mapped < 0 && mapped > -4096) return false;
  auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(mapped);
  words[kRangeBegin].store(range_begin, std::memory_order_relaxed);
  words[kRangeBytes].store(range_bytes, std::memory_order_relaxed);
  if (!watch_thread(observed_process())) {
    raw_syscall(SYS_munmap, mapped, notes_bytes);
    return false;
  }
  notes = words;
  return true;
}

// A thread that is watched hands that on to those it starts; one that starts others while we read the list does not
// yet. So the list is read until it shows nobody new.
void witness_all_threads() {
  if (notes == nullptr) return;
  do {
    found_new = false;
    for_each_thread([](std::uint32_t thread_id) { watch_thread(thread_id); });
  } while (found_new);
}

void witness_range(std::uintptr_t begin, std::size_t bytes) {
  range_begin = begin;
  range_bytes = bytes;
  if (notes == nullptr) return;
  notes[kRangeBegin].store(begin, std::memory_order_relaxed);
  notes[kRangeBytes].store(bytes, std::memory_order_relaxed);
}

FaultMode witness_take(std::uint32_t thread_id, std::uintptr_t page) {
  if (notes == nullptr) return FaultMode::kUnknown;
  const std::uint64_t note = notes[thread_id % kThreads].exchange(0, std::memory_order_relaxed);
  if ((note & ~kUserMode) != (page | (thread_id / kThreads) << 2 | kValid)) return FaultMode::kUnknown;
  return (note & kUserMode) != 0 ? FaultMode::kUser : FaultMode::kKernel;
}

bool witness_present() {
  return notes != nullptr;
}

void witness_forget() {
  if (notes != nullptr) raw_syscall(SYS_munmap, notes, notes_bytes);
  notes = nullptr;
}

bool witness_signalled(const siginfo_t* info) {
  constexpr std::size_t kPerfData = 24;
  std::uint64_t data = 0;
  __builtin_memcpy(&data, reinterpret_cast<const std::byte*>(info) + kPerfData, sizeof data);
  return info->si_code == kTrapPerf && data == reinterpret_cast<std::uint64_t>(&mark);
}

}  // namespace watcher

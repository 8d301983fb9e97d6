#include "runtime/capture/store/code_slots.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#define XXH_VECTOR 0  // signal zone: scalar code only
#include <xxhash.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/signals/guarded.h"

extern "C" const char watcher_commit_stub[];  // store_commit.cpp

namespace watcher {
namespace {

constexpr std::size_t kSlotCodeBytes = 128;
constexpr std::size_t kCachedSlots = 4096;
constexpr std::size_t kAreaBytes = (kCachedSlots + kStoreContexts) * kSlotCodeBytes;
constexpr std::size_t kBucketProbes = 8;

/// Where slots are executed and where they are written: two mappings of the same pages, or one where the kernel has
/// no second for us.
struct Area {
  std::byte* code;
  std::byte* writable;
  std::atomic<std::uint32_t>* next;  // in the area itself: a child forked behind our back shares it, and takes others
};
constinit Area area = {};

struct CachedStore {
  std::atomic<bool> ready{false};  // release after the fields below; acquire before they are read
  std::uintptr_t ip = 0;
  std::uint8_t bytes[kMaxInstructionBytes] = {};
  StoreForm form;
  std::byte* code = nullptr;
};
constinit CachedStore cache[kCachedSlots];
constinit SpinLock decoding;                 // guards the decoder and insertions
constinit std::uint8_t following[512] = {};  // the code from the instruction on: too much for a host's signal stack

/// Writes code through the second mapping and keeps count of where it will be executed.
class Assembler {
 public:
  explicit Assembler(const std::byte* code) : to_(area.writable + (code - area.code)) {}

  void bytes(const std::uint8_t* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) to_[at_++] = static_cast<std::byte>(bytes[i]);
  }
  template <std::size_t N>
  void literal(const std::uint8_t (&code)[N]) {
    bytes(code, N);
  }
  /// The displacement of an instruction that ends behind it, to pointer number `index` at the end of the slot.
  void pointer_displacement(std::size_t index) {
    const auto value = static_cast<std::int32_t>(pointer_at(index) - (at_ + 4));
    bytes(reinterpret_cast<const std::uint8_t*>(&value), sizeof value);
  }
  void pointer(std::size_t index, std::uintptr_t value) {
    __builtin_memcpy(to_ + pointer_at(index), &value, sizeof value);
  }

 private:
  static std::size_t pointer_at(std::size_t index) { return kSlotCodeBytes - 8 * (index + 1); }

  std::byte* to_;
  std::size_t at_ = 0;
};

enum Pointer : std::size_t { kCommit, kNext, kAgain };

/// A call and a return, not jumps: the processor's shadow stack and return prediction stay in step. The red zone below
/// the host's stack pointer is skipped with lea, which leaves the flags alone.
void assemble(std::byte* code, const StoreForm& form, std::uintptr_t ip) {
  Assembler slot(code);
  slot.bytes(form.code, form.code_bytes);
  slot.literal({0x48, 0x8d, 0x64, 0x24, 0x80});  // lea -128(%rsp), %rsp
  slot.literal({0xff, 0x15});                    // call *commit(%rip)
  slot.pointer_displacement(kCommit);
  slot.literal({0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00});  // lea 128(%rsp), %rsp
  if (form.repeated) {
    slot.literal({0xe3, 0x06, 0xff, 0x25});  // jrcxz over the jmp *again(%rip): iterations left for the next fault
    slot.pointer_displacement(kAgain);
  }
  slot.literal({0xff, 0x25});  // jmp *next(%rip)
  slot.pointer_displacement(kNext);
  slot.pointer(kCommit, reinterpret_cast<std::uintptr_t>(watcher_commit_stub));
  slot.pointer(kNext, ip + form.length);
  slot.pointer(kAgain, ip);
}

int create_executable_memfd() {
  constexpr unsigned kExecutable = 0x10;  // MFD_EXEC, unknown to kernels before 6.3
  long descriptor = raw_syscall(SYS_memfd_create, "watcher-code", MFD_CLOEXEC | kExecutable);
  if (descriptor < 0) descriptor = raw_syscall(SYS_memfd_create, "watcher-code", MFD_CLOEXEC);
  if (descriptor >= 0 && raw_syscall(SYS_ftruncate, descriptor, kAreaBytes) == 0) return static_cast<int>(descriptor);
  if (descriptor >= 0) raw_syscall(SYS_close, descriptor);
  return -1;
}

bool map_twice() {
  const int descriptor = create_executable_memfd();
  if (descriptor < 0) return false;
  void* run = mmap(nullptr, kAreaBytes, PROT_READ | PROT_EXEC, MAP_SHARED, descriptor, 0);
  void* write = mmap(nullptr, kAreaBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  raw_syscall(SYS_close, descriptor);
  if (run == MAP_FAILED || write == MAP_FAILED) {
    if (run != MAP_FAILED) munmap(run, kAreaBytes);
    if (write != MAP_FAILED) munmap(write, kAreaBytes);
    return false;
  }
  area = {static_cast<std::byte*>(run), static_cast<std::byte*>(write),
          static_cast<std::atomic<std::uint32_t>*>(write)};
  return true;
}

bool map_once() {
  void* both = mmap(nullptr, kAreaBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (both == MAP_FAILED) return false;
  area = {static_cast<std::byte*>(both), static_cast<std::byte*>(both), static_cast<std::atomic<std::uint32_t>*>(both)};
  return true;
}

/// Slot 0 holds the counter. Null when all are taken.
std::byte* take_slot() {
  const std::uint32_t index = area.next->fetch_add(1, std::memory_order_relaxed) + 1;
  if (index < kCachedSlots) return area.code + index * kSlotCodeBytes;
  area.next->fetch_sub(1, std::memory_order_relaxed);
  return nullptr;
}

/// How many bytes could be read: the instruction may end right before memory that is not there.
std::size_t read_instruction(std::uintptr_t ip, std::uint8_t* bytes) {
  return kMaxInstructionBytes - watcher_guarded_copy(bytes, reinterpret_cast<const void*>(ip), kMaxInstructionBytes);
}

bool is_same_code(const CachedStore& cached, std::uintptr_t ip, const std::uint8_t* bytes) {
  if (cached.ip != ip) return false;
  for (std::size_t i = 0; i < cached.form.length; ++i)
    if (cached.bytes[i] != bytes[i]) return false;
  return true;
}

/// The entry for this instruction, or the free one where it belongs, or null when the bucket is full. By its bytes and
/// those behind it, for its length is not known yet, and by its address: the way back into the host is part of the
/// slot.
CachedStore* find_cached(std::uintptr_t ip, const std::uint8_t* bytes) {
  const std::size_t start = XXH3_64bits_withSeed(bytes, kMaxInstructionBytes, ip) >> 52;
  for (std::size_t probe = 0; probe < kBucketProbes; ++probe) {
    CachedStore& cached = cache[(start + probe) % kCachedSlots];
    if (!cached.ready.load(std::memory_order_acquire) || is_same_code(cached, ip, bytes)) return &cached;
  }
  return nullptr;
}

const std::byte* insert(StoreContext* context, std::uintptr_t ip, const std::uint8_t* bytes, std::size_t available) {
  SpinGuard guard(decoding);
  CachedStore* cached = find_cached(ip, bytes);
  if (cached != nullptr && cached->ready.load(std::memory_order_relaxed)) {
    context->form = cached->form;
    return cached->code;
  }
  context->form = decode_store(bytes, available);
  if (context->form.length == 0) return nullptr;
  const std::size_t missing = watcher_guarded_copy(following, reinterpret_cast<const void*>(ip), sizeof following);
  context->form.in_loop = is_in_loop(following, sizeof following - missing);
  const bool runs = context->form.kind != StoreKind::kUnsupported && area.code != nullptr;
  std::byte* code = runs && cached != nullptr ? take_slot() : nullptr;
  const bool cacheable = cached != nullptr && (code != nullptr || !runs);
  // With the cache full, the context has a slot that is its own for the time of the store.
  if (runs && code == nullptr)
    code = area.code + (kCachedSlots + static_cast<std::size_t>(context_index(*context))) * kSlotCodeBytes;
  if (runs) assemble(code, context->form, ip);
  if (cacheable) {
    cached->ip = ip;
    __builtin_memcpy(cached->bytes, bytes, sizeof cached->bytes);
    cached->form = context->form;
    cached->code = code;
    cached->ready.store(true, std::memory_order_release);
  }
  return code;
}

}  // namespace

bool code_slots_reserve() {
  return area.code != nullptr || map_twice() || map_once();
}

const std::byte* code_for_store(StoreContext* context, std::uintptr_t ip) {
  std::uint8_t bytes[16];
  const std::size_t available = read_instruction(ip, bytes);
  for (std::size_t i = available; i < kMaxInstructionBytes; ++i) bytes[i] = 0;
  const CachedStore* cached = find_cached(ip, bytes);
  if (cached == nullptr || !cached->ready.load(std::memory_order_acquire)) return insert(context, ip, bytes, available);
  context->form = cached->form;
  return cached->code;
}

// Nobody knows where an instruction begins whose end is known: each length that would fit is tried.
std::uint32_t widest_store_before(std::uintptr_t ip) {
  constexpr std::uint32_t kAnyWidth = 64;
  std::uint32_t widest = 0;
  SpinGuard guard(decoding);
  for (std::size_t length = 2; length <= kMaxInstructionBytes; ++length) {
    std::uint8_t bytes[kMaxInstructionBytes];
    if (watcher_guarded_copy(bytes, reinterpret_cast<const void*>(ip - length), length) != 0) break;
    const StoreForm form = decode_store(bytes, length);
    if (form.length != length) continue;
    const std::uint32_t width = form.repeated ? kAnyWidth : form.bytes;
    if (width > widest) widest = width;
  }
  return widest;
}

bool is_in_code_slots(std::uintptr_t ip) {
  const auto begin = reinterpret_cast<std::uintptr_t>(area.code);
  return begin != 0 && ip >= begin && ip < begin + kAreaBytes;
}

// The parent goes on writing slots into the shared pages; ours start as a copy of them. Where no new pages are to be
// had the old ones stay shared, which the common counter makes safe.
void code_slots_after_fork_child() {
  if (area.code == nullptr || area.code == area.writable) return;
  const int descriptor = create_executable_memfd();
  if (descriptor < 0) return;
  const long copied = raw_syscall(SYS_pwrite64, descriptor, area.writable, kAreaBytes, 0);
  if (copied == static_cast<long>(kAreaBytes)) {
    mmap(area.writable, kAreaBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0);
    mmap(area.code, kAreaBytes, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, descriptor, 0);
  }
  raw_syscall(SYS_close, descriptor);
}

}  // namespace watcher

// Debug registers by way of perf: a store to one of up to four words traps its thread behind the store. No page is
// protected, so neighbours and what the program does to its mappings cost nothing.
//
// The instruction has retired when we hear of it. The value before is what the last event left (`shadow`), the one
// after is what memory holds now; a store of another thread that came in between is in it already, and that thread's
// own event then shows no change and says so by "exact": false. The reported ip is the one behind the store.
#include "runtime/capture/engines/hwbp_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/region_life.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/code_modules.h"
#include "runtime/capture/store/code_slots.h"
#include "runtime/capture/store/native_stack.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_list.h"

namespace watcher {
namespace {

constexpr int kWords = 4;
constexpr int kMaxThreads = 512;
constexpr int kLowestDescriptor = 900;
constexpr int kPerfTrap = 6;               // TRAP_PERF
constexpr std::uint32_t kTrapWasLate = 1;  // TRAP_PERF_FLAG_ASYNC: SIGTRAP was blocked
constexpr std::uint64_t kMagic = 0x57627270;

struct Word {
  SpinLock lock;  // shadow and order of events; held by who has a store context
  std::atomic<Region*> region{nullptr};
  std::uint32_t watch_number = 0;  // tells a late trap of an earlier watch
  std::uint32_t last_thread = 0;
  std::uint64_t shadow = 0;
  int count = 0;
  struct {
    int descriptor;
    int thread_id;
    std::uint64_t event_id;  // the host may have closed our descriptor, and opened something else under its number
  } open[kMaxThreads] = {};
};

constinit Word words[kWords];
constinit bool kernel_excluded = false;
constinit std::uint32_t watches = 0;

/// By which of two openings this thread hears of a word: a thread that was born while we opened may have inherited one
/// and been given another.
__thread std::uint32_t heard[kWords] __attribute__((tls_model("initial-exec")));

/// sig_data: the magic, then 14 bits of watch number, 16 of opening, 2 of word.
std::uint32_t mark_of(const Word& word, int opening) {
  return word.watch_number << 18 | static_cast<std::uint32_t>(opening) << 2 | static_cast<std::uint32_t>(&word - words);
}

/// A descriptor out of the host's way, or a negative errno.
long open_event(std::uintptr_t address, std::size_t bytes, int thread_id, std::uint32_t mark) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_BREAKPOINT;
  attributes.size = sizeof attributes;
  attributes.bp_type = HW_BREAKPOINT_W;
  attributes.bp_addr = address;
  attributes.bp_len = bytes;
  attributes.sample_period = 1;
  attributes.sigtrap = 1;
  attributes.remove_on_exec = 1;
  attributes.inherit = 1;
  attributes.inherit_thread = 1;  // to threads, not to forked children: those open their own
  attributes.exclude_kernel = kernel_excluded;
  attributes.exclude_hv = 1;
  attributes.sig_data = kMagic << 32 | mark;
  const long low = raw_syscall(SYS_perf_event_open, &attributes, thread_id, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (low < 0) return low;
  const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor);
  raw_syscall(SYS_close, low);
  return high;
}

bool event_id(int descriptor, std::uint64_t* id) {
  return raw_syscall(SYS_ioctl, descriptor, PERF_EVENT_IOC_ID, id) == 0;
}

std::uint64_t value_at(std::uintptr_t address, std::size_t bytes) {
  switch (bytes) {
    case 1:
      return *reinterpret_cast<const volatile std::uint8_t*>(address);
    case 2:
      return *reinterpret_cast<const volatile std::uint16_t*>(address);
    case 4:
      return *reinterpret_cast<const volatile std::uint32_t*>(address);
    default:
      return *reinterpret_cast<const volatile std::uint64_t*>(address);
  }
}

void close_word(Word* word) {
  for (int i = 0; i < word->count; ++i) {
    std::uint64_t id = 0;
    if (event_id(word->open[i].descriptor, &id) && id == word->open[i].event_id)
      raw_syscall(SYS_close, word->open[i].descriptor);
  }
  word->count = 0;
}

bool is_open_for(const Word& word, int thread_id) {
  for (int i = 0; i < word.count; ++i)
    if (word.open[i].thread_id == thread_id) return true;
  return false;
}

int open_for(Word* word, const Region& region, int thread_id) {
  if (word->count == kMaxThreads) return ENOSPC;
  const long opened = open_event(region.begin(), region.variable.capacity, thread_id, mark_of(*word, word->count));
  if (opened == -ESRCH) return 0;  // it has ended
  if (opened < 0) return static_cast<int>(-opened);
  auto& entry = word->open[word->count++];
  entry.descriptor = static_cast<int>(opened);
  entry.thread_id = thread_id;
  return event_id(entry.descriptor, &entry.event_id) ? 0 : EBADF;
}

/// For every thread there is; a new look is taken until no thread is new, for those born of one without the event.
int open_word(Word* word, const Region& region) {
  for (bool more = true; more;) {
    more = false;
    ThreadList threads;
    int error = threads.opened() ? 0 : EMFILE;
    for (int thread_id; error == 0 && (thread_id = threads.next()) != 0;) {
      if (is_open_for(*word, thread_id)) continue;
      const int before = word->count;
      error = open_for(word, region, thread_id);
      more = more || word->count > before;
    }
    if (error == 0) continue;
    close_word(word);
    return error;
  }
  return 0;
}

Word* word_of(const Region* region) {
  for (Word& word : words)
    if (word.region.load(std::memory_order_relaxed) == region) return &word;
  return nullptr;
}

/// In a forked child: its parent's events are none of its own.
void open_again(Word* word) {
  Region* region = word->region.load(std::memory_order_relaxed);
  close_word(word);
  if (open_word(word, *region) == 0) return;
  word->region.store(nullptr, std::memory_order_relaxed);
  give_to_pages(region);
}

int start() {
  static std::uint64_t probe = 0;
  kernel_excluded = false;
  long opened = open_event(reinterpret_cast<std::uintptr_t>(&probe), sizeof probe, 0, 0);
  if (opened == -EACCES || opened == -EPERM) {
    kernel_excluded = true;
    opened = open_event(reinterpret_cast<std::uintptr_t>(&probe), sizeof probe, 0, 0);
  }
  if (opened >= 0) raw_syscall(SYS_close, opened);
  for (Word& word : words)
    if (word.region.load(std::memory_order_relaxed) != nullptr) open_again(&word);
  return opened < 0 ? static_cast<int>(-opened) : 0;
}

/// A page that traps already sees every store there, and its engine's own stores would not trap the word.
int watch(Region* region) {
  const std::size_t bytes = region->variable.capacity;
  const bool fits = (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) && region->begin() % bytes == 0;
  if (!fits || region->variable.live_size != nullptr) return EINVAL;
  if (find_page(region->begin())->armed) return EBUSY;
  Word* word = word_of(nullptr);
  if (word == nullptr) return ENOSPC;
  word->watch_number = ++watches & 0x3fff;
  word->last_thread = 0;
  word->shadow = value_at(region->begin(), bytes);
  word->region.store(region, std::memory_order_release);
  const int error = open_word(word, *region);
  if (error != 0) word->region.store(nullptr, std::memory_order_relaxed);
  return error;
}

void unwatch(Region* region) {
  Word* word = word_of(region);
  if (word == nullptr) return;
  close_word(word);
  word->region.store(nullptr, std::memory_order_relaxed);
}

struct Trap {
  Op op;
  std::uint64_t ip;
  std::uint32_t system_call;  // number + 1
  void* ucontext;
  bool late;
};

/// One event from the word's shadow to what it holds now. The word is locked.
void publish(StoreContext* context, Word* word, const Region& region, const Trap& trap) {
  const MemoryVariable& variable = region.variable;
  const auto bytes = static_cast<std::uint32_t>(variable.capacity);
  EventRing& ring = *memory_state.ring;
  DictionaryRef of_context = 0;
  const bool preparing = context->phase == Phase::kPreparing;
  const DictionaryRef place = preparing ? place_of_writer(context, trap.ucontext, &of_context) : 0;
  const DictionaryRef module = trap.ip != 0 ? module_of_code(trap.ip - 1) : 0;
  if (preparing) find_native_callers(context, trap.ucontext);
  const std::uint32_t callers = preparing ? context->callers.count : 0;
  const std::uint32_t callers_bytes = preparing ? context->callers.bytes() : 0;
  const std::uint32_t stack_part = preparing ? stack_bytes(0, context->span) : 0;
  const Claim claim = ring.claim(static_cast<std::uint32_t>(sizeof(MemoryBlob)) + callers_bytes + 16 + stack_part);
  const std::uint64_t before = word->shadow;
  const std::uint64_t after = value_at(region.begin(), bytes);
  const bool overtaken = before == after && word->last_thread != 0 && word->last_thread != current_thread_id();
  word->shadow = after;
  word->last_thread = current_thread_id();
  if (!claim) return;
  EventHead& head = *claim.head;
  head.tsc = ring.now();
  head.variable = variable.variable;
  head.place = place;
  head.context = of_context;
  head.thread_id = current_thread_id();
  head.op = trap.op;
  head.before_kind = head.after_kind = ValueKind::kMemory;
  head.flags = static_cast<std::uint8_t>(variable.scope) & kScopeMask;
  if (trap.late || overtaken) head.flags |= kInexact;
  if (trap.ip != 0) head.flags |= kBehindStore;
  head.before = 0;
  head.after = trap.ip;
  head.coalesced = 0;
  const MemoryBlob blob = {bytes, trap.system_call, module, callers};
  std::byte* values = claim.payload() + sizeof blob + callers_bytes;
  copy_bytes(claim.payload(), &blob, sizeof blob);
  copy_bytes(claim.payload() + sizeof blob, context->callers.frames, callers_bytes);
  copy_bytes(values, &before, sizeof before);
  copy_bytes(values + 8, &after, sizeof after);
  if (stack_part != 0) {
    head.flags |= kHasStack;
    put_stack(values + 16, nullptr, 0, context->span);
  }
  claim.commit();
}

/// The kernel wrote when the thread stands right behind a `syscall`.
bool behind_system_call(std::uint64_t ip) {
  std::uint8_t code[2] = {};
  return !kernel_excluded && guarded_copy(code, reinterpret_cast<const void*>(ip - 2), sizeof code) &&
         code[0] == 0x0f && code[1] == 0x05;
}

bool is_near(const Region& region, const Region& other) {
  return region.begin() - other.begin() + 64 < 128;
}

/// One instruction may store to several words, but only one signal tells of it. Usually a neighbour that has changed
/// is another thread's, on its way to its own trap.
void publish_neighbours(StoreContext* context, const Word& trapped, const Trap& trap) {
  const Region& region = *trapped.region.load(std::memory_order_relaxed);
  for (Word& word : words) {
    const Region* other = word.region.load(std::memory_order_acquire);
    if (other == nullptr || &word == &trapped || !is_near(*other, region)) continue;
    SpinGuard guard(word.lock);
    if (value_at(other->begin(), other->variable.capacity) == word.shadow) continue;
    if (widest_store_before(trap.ip) > region.variable.capacity) publish(context, &word, *other, trap);
  }
}

void trapped(StoreContext* context, std::uint32_t mark, std::uint32_t flags, ucontext_t* ucontext) {
  Word& word = words[mark & 3];
  const Region* region = word.region.load(std::memory_order_acquire);
  if (region == nullptr || mark >> 18 != word.watch_number) return;
  std::uint32_t& known = heard[mark & 3];
  if (known >> 18 != mark >> 18) known = mark;
  if (known != mark) return;
  const auto ip = static_cast<std::uint64_t>(ucontext->uc_mcontext.gregs[REG_RIP]);
  const Trap trap = {behind_system_call(ip) ? Op::kKernelWrite : Op::kWrite, ip, 0, ucontext,
                     (flags & kTrapWasLate) != 0};
  {
    SpinGuard guard(word.lock);
    publish(context, &word, *region, trap);
  }
  publish_neighbours(context, word, trap);
}

}  // namespace

constinit const Engine hwbp_engine = {
    .name = "hwbp", .start = start, .arm = nullptr, .disarm = nullptr, .watch = watch, .unwatch = unwatch};

bool hwbp_trapped(const siginfo_t* info, ucontext_t* ucontext) {
  if (info->si_code != kPerfTrap) return false;
  struct {
    std::uint64_t data;
    std::uint32_t type;
    std::uint32_t flags;
  } perf;  // behind si_addr; younger than the headers of the systems we are built on
  __builtin_memcpy(&perf, reinterpret_cast<const std::byte*>(info) + 24, sizeof perf);
  if (perf.data >> 32 != kMagic) return false;
  StoreContext* own = thread_state.current;
  if (own != nullptr && own->phase == Phase::kPreparing) return true;  // our own copy of a system call's bytes
  StoreContext* context = own != nullptr ? own : acquire_store_context();
  trapped(context, static_cast<std::uint32_t>(perf.data), perf.flags, ucontext);
  if (own == nullptr) release_store_context(context);
  return true;
}

bool hwbp_watches(std::uintptr_t begin, std::uintptr_t end) {
  for (const Word& word : words) {
    const Region* region = word.region.load(std::memory_order_acquire);
    if (region != nullptr && region->begin() < end && region->end() > begin) return true;
  }
  return false;
}

void hwbp_kernel_wrote(std::uintptr_t begin, std::uintptr_t end, std::uint32_t system_call) {
  for (Word& word : words) {
    const Region* region = word.region.load(std::memory_order_acquire);
    if (region == nullptr || region->begin() >= end || region->end() <= begin) continue;
    SpinGuard guard(word.lock);
    publish(thread_state.current, &word, *region, {Op::kKernelWrite, 0, system_call, nullptr, false});
  }
}

}  // namespace watcher

#include "runtime/capture/handler/handler_request.h"

#include <errno.h>
#include <sys/mman.h>

#include <atomic>

#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/signals/signal_mask.h"
#include "runtime/capture/spin_lock.h"

namespace watcher {
namespace {

// Two bells in turns: the handler protects the other one before it opens the one that was rung, so the next to be rung
// is always protected.
constexpr int kBells = 2;
constinit std::byte* bells = nullptr;
constinit SpinLock asking;
constinit std::atomic<bool> open_for_requests{false};
constinit int next_bell = 0;

// Written under `asking`, then read by the handler because of the fault; and the other way round.
constinit HandlerRequest pending = {};
constinit int answer = 0;
constinit std::atomic<bool> answered{false};

std::uintptr_t bell_page(int index) {
  return reinterpret_cast<std::uintptr_t>(bells) + static_cast<std::uintptr_t>(index) * kPageBytes;
}

void ring(int index) {
  __asm__ volatile("movb $1, (%0)" : : "r"(bell_page(index)) : "memory");
}

}  // namespace

int ask_handler(const HandlerRequest& request) {
  SignalsHeldOff signals;
  SpinGuard guard(asking);
  if (!open_for_requests.load(std::memory_order_acquire)) return ENOTCONN;
  pending = request;
  answered.store(false, std::memory_order_release);
  ring(next_bell);
  if (!answered.load(std::memory_order_acquire)) return ENOTCONN;
  next_bell = 1 - next_bell;
  return answer;
}

bool handler_requests_reserve() {
  if (bells != nullptr) return true;
  void* memory = mmap(nullptr, kBells * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  bells = static_cast<std::byte*>(memory);
  return true;
}

void handler_requests_end() {
  open_for_requests.store(false, std::memory_order_release);
}

void handler_requests_forget() {
  handler_requests_end();
  asking.unlock();
}

int handler_requests_begin() {
  for (int i = 0; i < kBells; ++i) ring(i);  // only pages that are there can be protected
  next_bell = 0;
  if (const int error = userfault_perform({RequestKind::kArm, bell_page(0), kBells * kPageBytes}); error != 0)
    return error;
  open_for_requests.store(true, std::memory_order_release);
  return 0;
}

bool answer_request(std::uintptr_t page) {
  const std::uintptr_t offset = page - bell_page(0);
  if (offset >= kBells * kPageBytes) return false;
  const int bell = static_cast<int>(offset / kPageBytes);
  if (bell == next_bell && !answered.load(std::memory_order_acquire)) {
    answer = userfault_perform(pending);
    userfault_perform({RequestKind::kProtect, bell_page(1 - bell), kPageBytes});
    answered.store(true, std::memory_order_release);
  }
  userfault_perform({RequestKind::kOpen, page, kPageBytes});
  return true;
}

}  // namespace watcher

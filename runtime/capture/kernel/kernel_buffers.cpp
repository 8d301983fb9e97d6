#include "runtime/capture/kernel/kernel_buffers.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <new>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/event_ring.h"

namespace watcher {
namespace {

constexpr int kPooled = 32;
constexpr int kEmergency = 32;
constexpr std::size_t kPooledBytes = 64 * 1024;

constinit KernelBuffer pooled[kPooled];
constinit KernelBuffer emergency[kEmergency];
constinit std::byte* pool = nullptr;

KernelBuffer* take_from(KernelBuffer* records, int count) {
  for (int i = 0; i < count; ++i)
    if (!records[i].busy.load(std::memory_order_relaxed) && !records[i].busy.exchange(true, std::memory_order_acquire))
      return &records[i];
  return nullptr;
}

KernelBuffer* map_buffer(std::size_t bytes) {
  const std::size_t mapped = (bytes + 2 * kPageBytes - 1) / kPageBytes * kPageBytes;
  const long address = raw_syscall(SYS_mmap, nullptr, mapped, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address < 0 && address > -4096) return nullptr;
  auto* buffer = new (reinterpret_cast<void*>(address)) KernelBuffer;
  buffer->content = reinterpret_cast<std::byte*>(address) + kPageBytes;
  buffer->mapped_bytes = mapped;
  return buffer;
}

}  // namespace

bool kernel_buffers_reserve() {
  if (pool != nullptr) return true;
  void* memory =
      mmap(nullptr, kPooled * kPooledBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  pool = static_cast<std::byte*>(memory);
  for (int i = 0; i < kPooled; ++i) pooled[i].content = pool + static_cast<std::size_t>(i) * kPooledBytes;
  return true;
}

KernelBuffer* take_kernel_buffer(std::size_t bytes) {
  KernelBuffer* buffer = bytes <= kPooledBytes && pool != nullptr ? take_from(pooled, kPooled) : nullptr;
  if (buffer == nullptr) buffer = map_buffer(bytes);
  return buffer != nullptr ? buffer : take_from(emergency, kEmergency);
}

KernelBuffer* take_cut_buffer(std::size_t present, std::size_t offset_in_page) {
  const std::size_t end = (offset_in_page + present + kPageBytes - 1) / kPageBytes * kPageBytes;
  KernelBuffer* buffer = map_buffer(end + kPageBytes);
  if (buffer == nullptr) return nullptr;
  raw_syscall(SYS_mprotect, buffer->content + end, kPageBytes, PROT_NONE);
  buffer->content += offset_in_page;
  return buffer;
}

void give_kernel_buffer(KernelBuffer* buffer) {
  if (buffer->mapped_bytes != 0)
    raw_syscall(SYS_munmap, buffer, buffer->mapped_bytes);
  else
    buffer->busy.store(false, std::memory_order_release);
}

void kernel_buffers_after_fork_child() {
  for (KernelBuffer& buffer : pooled) buffer.busy.store(false, std::memory_order_relaxed);
  for (KernelBuffer& buffer : emergency) buffer.busy.store(false, std::memory_order_relaxed);
}

}  // namespace watcher

// Buffers that the kernel fills in place of watched memory: a pool for the small ones, mappings for the others.
//
// Any context. A buffer may never come back, when its call is left by longjmp or cancellation.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace watcher {

struct KernelBuffer {
  std::atomic<bool> busy{false};
  void* host = nullptr;
  std::size_t bytes = 0;
  std::byte* content = nullptr;  // null: no memory was to be had, the host's pages are open instead
  std::size_t mapped_bytes = 0;  // of the mapping that holds this record too; 0: of the pool
};

bool kernel_buffers_reserve();
/// Null when even the emergency records are all in use.
KernelBuffer* take_kernel_buffer(std::size_t bytes);
/// One that ends after `present` bytes as the host's memory does: the kernel comes as far as it would come there.
KernelBuffer* take_cut_buffer(std::size_t present, std::size_t offset_in_page);
void give_kernel_buffer(KernelBuffer* buffer);
/// The calls of other threads do not go on in a forked child.
void kernel_buffers_after_fork_child();

}  // namespace watcher

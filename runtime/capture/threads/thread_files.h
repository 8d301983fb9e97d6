// What the kernel says of the host's threads under /proc, asked by a helper process.
//
// Helper processes only: the descriptors opened on the way would otherwise be the host's.
#pragma once

#include <cstdint>

#include "runtime/capture/signals/signal_mask.h"

namespace watcher {

void thread_files_of(std::uint32_t process_id);
std::uint32_t observed_process();
/// The host has ended, or after an exec is another program, whose former memory we alone keep.
bool host_has_left();

enum class ThreadDoes : std::uint8_t {
  kNothing,    // there is no such thread in the host
  kRuns,       // in user mode or in the kernel: it does not say
  kUserFault,  // sleeps, but in no system call
  kCall        // sleeps in a system call
};

/// `call`: the number, of kCall.
ThreadDoes what_thread_does(std::uint32_t thread_id, std::uint32_t* call);
/// Does it sleep, but not in a fault that the handler has to answer? False also where the kernel does not say.
bool sleeps_elsewhere(std::uint32_t thread_id);
/// Was this signal sent to the thread, and does it block it? While it is handled it is blocked as well, but gone from
/// the queue. `exists`: false when there is no such thread.
bool signal_waits(std::uint32_t thread_id, int signal_number, bool* exists);
/// A thread that the kernel has made for io_uring: it does nothing else.
bool is_kernel_worker(std::uint32_t thread_id);

}  // namespace watcher

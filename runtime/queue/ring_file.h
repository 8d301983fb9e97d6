// Makes the ring file of a process, OUTPUT/ring.<pid>, and maps it. Nothing stays open in the host: only the mapping.
//
// A file appears under its name when it is complete. One of the same name (the pid's earlier incarnation, before exec
// or before the pid was used again) is renamed to ring.<pid>.<start>, where a collector still finds it.
//
// Zone: ring_renew_in_child runs in a fork child, where only the forking thread exists and the host's locks may be held
// for ever: raw system calls, no allocation, here and in ring_create alike. Not for signal handlers.
#pragma once

#include <cstdint>

#include "runtime/queue/event_ring.h"

namespace watcher {

struct RingSettings {
  const char* directory = nullptr;       // absolute, exists; copied
  std::uint32_t slot_count = 65536;      // rounded up to a power of two
  std::uint32_t heap_bytes = 32u << 20;  // 4 MiB of it have blocks from the start
  OnFull on_full = OnFull::kBlock;
  Clock clock = Clock::kTsc;
  std::uint64_t run_id = 0;
  std::uint32_t collector_pid = 0;  // who is expected to drain it; 0: not known
};

/// Creates and maps the calling process's ring, in state kOpen; a smaller one than was asked for where the disk or
/// RLIMIT_FSIZE has no room for that. 0, or an errno: EFBIG when the file would exceed
/// RLIMIT_FSIZE (asked first: the kernel would send SIGXFSZ), ENOSPC and EDQUOT when it cannot be preallocated, ….
int ring_create(const RingSettings& settings, EventRing* ring);

/// In a fork child: a ring of the same sizes for the new pid, with the parent's dictionary, mapped at the same address.
/// On failure the errno, and the mapping becomes private memory that refuses (and counts) every event, so that the
/// child cannot write into its parent's ring.
int ring_renew_in_child(EventRing* ring);

/// What `max_queue_size` asks for, as the number of slots a ring can have.
std::uint32_t ring_slot_count(std::uint64_t wanted);

}  // namespace watcher

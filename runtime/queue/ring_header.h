// The first page of a ring file: what the queue's two ends share beside the slots. See event_ring.h for the protocol.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher {

inline constexpr std::uint64_t kRingMagic = 0x31676e6972747721;  // "!wtring1"
inline constexpr std::uint32_t kRingVersion = 4;
inline constexpr std::size_t kPageBytes = 4096;

enum class RingState : std::uint32_t {
  kEmpty,
  kOpen,     // the writer runs
  kClosing,  // the writer has written its last event and waits for kClosed
  kClosed    // the reader has everything on disk, summary included
};

enum class OnFull : std::uint32_t { kBlock, kDropNewest, kDropOldest };
enum class Clock : std::uint32_t { kTsc, kRealtime };

struct RingHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t slot_count;  // a power of two
  std::uint64_t dictionary_offset;
  std::uint64_t heap_bytes;
  std::uint64_t slots_offset;  // page-aligned
  std::uint64_t file_bytes;    // of the file (the second mapping of the slots is not part of it)
  std::uint32_t pid;
  std::uint32_t parent_pid;
  Clock clock;
  OnFull on_full;
  std::uint64_t start_tsc;  // the two clocks read together at the start of the session
  std::uint64_t start_realtime_ns;
  std::uint64_t run_id;         // same for every process of a run
  DictionaryRef engine;         // name of the memory engine in use, 0: no memory watched
  DictionaryRef engine_reason;  // why that one
  DictionaryRef host;           // e.g. "CPython 3.11.2"
  std::uint32_t start_ticks;    // process_start_ticks() of `pid`: tells a reused pid from the writer; 0 unknown
  std::uint32_t holds_lock;     // 1: the writer's lock on the file outlives its descriptor, as long as the mapping
  std::atomic<std::uint32_t> paused;  // 1: nothing is recorded; set by the collector when `watcher pause` asks for it
  std::atomic<RingState> state;       // also a futex word: kClosing → kClosed wakes the exiting writer
  std::atomic<std::uint32_t> collector_pid;  // who drains this ring, or is about to; 0: nobody known
  alignas(64) std::atomic<std::uint64_t> head;
  std::atomic<std::uint64_t> room_until;  // writers' memory of tail + slot_count: spares them the reader's cache line
  alignas(64) std::atomic<std::uint64_t> tail;
  std::atomic<std::uint32_t> room_futex;           // bumped by the reader when it moved `tail` while writers wait
  std::atomic<std::uint32_t> waiting;              // writers asleep in wait_for_room
  std::atomic<std::uint64_t> taken;                // events that readers have given the room of back
  alignas(64) std::atomic<std::uint64_t> dropped;  // events that found no room
  std::atomic<std::uint64_t> blocked;              // times a writer had to wait
  std::atomic<std::uint64_t> neighbour_traps;      // faults on watched pages beside the watched bytes
  std::atomic<std::uint64_t> single_steps;         // stores that had to open their page
  std::atomic<std::uint64_t> kernel_redirects;     // system calls led to the second mapping
  std::atomic<std::uint64_t> bulk_windows;         // calls whose stores were told as one event
  std::atomic<std::uint64_t> raw_kernel_writes;    // system calls served on the page itself
  std::atomic<std::uint64_t> regions_refused;      // watched by their pages, though another engine was asked for
  // Of an engine with a handler process, for whoever watches over it (0: there is none).
  std::atomic<std::uint32_t> handler_pid;
  std::atomic<std::uint32_t> handler_lost;        // 1: it ended or was stopped; what followed is told by another engine
  std::atomic<std::uint64_t> handler_busy_since;  // CLOCK_MONOTONIC ns at which it took up what it works on; 0: idle
  std::atomic<std::uint64_t> contexts_cut;        // threads, tasks and statements told shorter than they are: too many
  std::atomic<std::uint64_t>
      copied_out;                       // drop-oldest: events that readers took; ahead of `taken` by what is unwritten
  std::atomic<std::uint64_t> given_up;  // 1 + the tail at which a writer stopped waiting for the reader; 0: never
};

}  // namespace watcher

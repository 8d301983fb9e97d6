// A ring in anonymous memory for the capture tests, shared with forked children, and what looks at its events.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/capture/memory_watch.h"
#include "runtime/queue/event_ring.h"
#include "runtime/queue/ring_layout.h"

namespace watcher::test {

struct MemoryEvent {
  Op op;
  std::uint32_t variable;
  std::uint32_t place;
  std::uint32_t thread_id;
  std::uint64_t offset;
  std::uint64_t ip;
  std::vector<unsigned char> before;
  std::vector<unsigned char> after;
  std::uint32_t system_call = 0;  // number + 1
  std::uint8_t flags = 0;
  std::uint64_t coalesced = 0;
  std::uint64_t changed_bytes = 0;  // of a bulk event, whose kept bytes follow each other in before and after
  std::vector<BulkRange> ranges;
};

class CaptureRing {
 public:
  explicit CaptureRing(std::uint32_t slots = 1u << 20) {
    const RingLayout layout{slots, 1u << 20};
    const int file = memfd_create("ring", 0);
    if (ftruncate(file, static_cast<off_t>(layout.file_bytes())) != 0) abort();
    auto* base =
        static_cast<std::byte*>(mmap(nullptr, layout.mapping_bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mmap(base, layout.file_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    mmap(base + layout.file_bytes(), layout.slots_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
         static_cast<off_t>(layout.slots_offset()));
    close(file);
    auto* header = reinterpret_cast<RingHeader*>(base);
    header->magic = kRingMagic;
    header->version = kRingVersion;
    header->slot_count = slots;
    header->dictionary_offset = layout.dictionary_offset();
    header->heap_bytes = layout.heap_bytes;
    header->slots_offset = layout.slots_offset();
    header->file_bytes = layout.file_bytes();
    header->clock = Clock::kTsc;
    header->on_full = OnFull::kDropNewest;
    auto* dictionary = reinterpret_cast<DictionaryHeader*>(base + layout.dictionary_offset());
    dictionary->used_units = 1;
    dictionary->heap_units = static_cast<std::uint32_t>(layout.heap_bytes / 8);
    ring_ = EventRing(base);
  }

  EventRing* operator->() { return &ring_; }
  EventRing* get() { return &ring_; }
  RingHeader& header() { return *ring_.header(); }

  /// Takes everything committed, in order. Claims given up are left out.
  std::vector<MemoryEvent> drain() {
    std::vector<MemoryEvent> events;
    std::uint64_t ticket = header().tail.load();
    while (ticket != header().head.load()) {
      const EventHead* head = ring_.slot(ticket);
      const std::uint64_t word = head->state.load(std::memory_order_acquire);
      if (word >> 16 != ticket + 1) break;
      if (head->op != Op::kCount) events.push_back(decode(*head));
      ticket += word & 0xffff;
    }
    header().tail.store(ticket, std::memory_order_release);
    return events;
  }

 private:
  static MemoryEvent decode(const EventHead& head) {
    MemoryEvent event{head.op,
                      head.variable,
                      head.place,
                      head.thread_id,
                      head.before,
                      head.after,
                      {},
                      {},
                      0,
                      head.flags,
                      head.coalesced,
                      0,
                      {}};
    if (head.before_kind != ValueKind::kMemory) return event;
    const auto* payload = reinterpret_cast<const unsigned char*>(&head + 1);
    if ((head.flags & kBulk) != 0) return decode_bulk(payload, &event), event;
    MemoryBlob blob;
    memcpy(&blob, payload, sizeof blob);
    event.system_call = blob.system_call;
    const unsigned char* before = payload + sizeof blob;
    const unsigned char* after = before + padded8(blob.length);
    event.before.assign(before, before + blob.length);
    event.after.assign(after, after + blob.length);
    return event;
  }

  static void decode_bulk(const unsigned char* payload, MemoryEvent* event) {
    BulkBlob blob;
    memcpy(&blob, payload, sizeof blob);
    event->changed_bytes = blob.changed_bytes;
    event->ranges.resize(blob.ranges);
    memcpy(event->ranges.data(), payload + sizeof blob, blob.ranges * sizeof(BulkRange));
    const unsigned char* kept = payload + sizeof blob + blob.ranges * sizeof(BulkRange);
    event->before.assign(kept, kept + blob.kept_bytes);
    event->after.assign(kept + padded8(blob.kept_bytes), kept + padded8(blob.kept_bytes) + blob.kept_bytes);
  }

  EventRing ring_;
};

/// Replays events over a copy of the variable: true when every `before` is what the one before left behind.
inline bool chains(const std::vector<MemoryEvent>& events, std::vector<unsigned char>* content) {
  for (const MemoryEvent& event : events) {
    std::size_t at = 0;
    for (const BulkRange& range : event.ranges) {
      if (range.offset + range.length > content->size()) return false;
      if (memcmp(content->data() + range.offset, event.before.data() + at, range.kept) != 0) return false;
      memcpy(content->data() + range.offset, event.after.data() + at, range.kept);
      at += range.kept;
    }
    if ((event.flags & kBulk) != 0) continue;
    if (event.offset + event.before.size() > content->size()) return false;
    if (memcmp(content->data() + event.offset, event.before.data(), event.before.size()) != 0) return false;
    memcpy(content->data() + event.offset, event.after.data(), event.after.size());
  }
  return true;
}

inline MemoryVariable variable_of(void* base, std::size_t bytes, std::uint32_t item_bytes = 1) {
  MemoryVariable variable;
  variable.base = base;
  variable.capacity = bytes;
  variable.item_bytes = item_bytes;
  variable.variable = 7;
  return variable;
}

}  // namespace watcher::test

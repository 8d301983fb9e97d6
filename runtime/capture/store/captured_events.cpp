#include <errno.h>

#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/code_modules.h"
#include "runtime/capture/store/native_stack.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

/// The whole items around [begin, end), within what is visible.
VisibleRange widened(const MemoryVariable& variable, const VisibleRange& visible, std::uintptr_t begin,
                     std::uintptr_t end) {
  const std::uintptr_t item = variable.item_bytes;
  if (item <= 1 || item > kMaxWidening) return {begin, end};
  const std::uintptr_t first = visible.begin + (begin - visible.begin) / item * item;
  const std::uintptr_t last = visible.begin + (end - visible.begin + item - 1) / item * item;
  return {first, last < visible.end ? last : visible.end};
}

/// To where a masked store really stores. False: nowhere in [first, last).
bool narrow(const StoreContext& context, std::uintptr_t* first, std::uintptr_t* last) {
  if (context.enabled == ~std::uint64_t{0}) return true;  // any other is no longer than 64 bytes
  const std::uintptr_t from = *first - context.address;
  const std::uintptr_t to = *last - context.address;
  std::uint64_t stored = context.enabled >> from << from;
  if (to < 64) stored &= (std::uint64_t{1} << to) - 1;
  if (stored == 0) return false;
  *first = context.address + static_cast<std::uintptr_t>(__builtin_ctzll(stored));
  *last = context.address + 64 - static_cast<std::uintptr_t>(__builtin_clzll(stored));
  return true;
}

bool capture_region(StoreContext* context, const Region& region, std::uintptr_t begin, std::uintptr_t end) {
  if (region.engine != nullptr || region.end() <= begin || region.begin() >= end) return true;
  const VisibleRange visible = visible_range(region);
  std::uintptr_t first = begin > visible.begin ? begin : visible.begin;
  std::uintptr_t last = end < visible.end ? end : visible.end;
  if (first >= last || !narrow(*context, &first, &last)) return true;
  if (context->range_count == kMaxEventsOfStore) return false;
  const VisibleRange captured = widened(region.variable, visible, first, last);
  context->ranges[context->range_count++] = {
      &region, captured.begin, captured.end, captured.begin - visible.begin, nullptr, 0, 0};
  return true;
}

/// A region on several of the locked pages is met on each: only the first one counts.
bool was_met_before(const StoreContext& context, int page_index, const Region& region) {
  const std::uintptr_t address = context.pages[page_index].address;
  return page_index > 0 && region.begin() < address && context.pages[page_index - 1].address + kPageBytes == address;
}

/// The callers of the store.
struct Stack {
  std::uint32_t count = 0;
  DictionaryRef places[kMaxStack];
};

/// Without its stack.
std::uint32_t payload_of(const StoreContext& context, const CapturedRange& range) {
  return static_cast<std::uint32_t>(sizeof(MemoryBlob)) + context.callers.bytes() +
         2 * padded8(static_cast<std::uint32_t>(range.end - range.begin));
}

DictionaryRef ask(PlaceOfWriter probe, StoreContext* context, void* argument, DictionaryRef* answer) {
  if (probe == nullptr) return 0;
  const int saved_errno = errno;
  const Phase phase = context->phase;
  context->phase = Phase::kPlacing;
  const DictionaryRef result = watcher_guarded_place(probe, argument, answer, &context->place_resume);
  context->phase = phase;
  errno = saved_errno;
  return result;
}

void append_stack(EventHead* head, const Stack& stack, const SpanBlob& span) {
  const std::uint32_t bytes = stack_bytes(stack.count, span);
  if (bytes == 0) return;
  put_stack(reinterpret_cast<std::byte*>(head + 1) + head->payload_bytes, stack.places, stack.count, span);
  head->payload_bytes += bytes;
  head->flags |= kHasStack;
}

void fill_event(StoreContext* context, CapturedRange* range, const EventOrigin& origin, DictionaryRef place,
                DictionaryRef of_context, DictionaryRef module, std::uint64_t now) {
  EventHead* head = range->head;
  const MemoryVariable& variable = range->region->variable;
  head->tsc = now;
  head->variable = variable.variable;
  head->place = place;
  head->context = of_context;
  const std::uint32_t other = origin.thread_id == kUnknownThread ? 0 : origin.thread_id;
  head->thread_id = origin.thread_id != 0 ? other : current_thread_id();
  head->op = origin.op;
  head->before_kind = ValueKind::kMemory;
  head->after_kind = ValueKind::kMemory;
  head->flags = static_cast<std::uint8_t>(variable.scope) & kScopeMask;
  if (origin.thread_id != 0 || origin.inexact) head->flags |= kInexact;
  head->payload_bytes = payload_of(*context, *range);
  head->before = range->offset;
  head->after = origin.ip;
  head->coalesced = 0;
  const auto length = static_cast<std::uint32_t>(range->end - range->begin);
  auto* payload = reinterpret_cast<std::byte*>(head + 1);
  *reinterpret_cast<MemoryBlob*>(payload) = {length, origin.system_call, module, context->callers.count};
  copy_bytes(payload + sizeof(MemoryBlob), context->callers.frames, context->callers.bytes());
  copy_before(context, payload + sizeof(MemoryBlob) + context->callers.bytes(), range->begin, length);
}

}  // namespace

// The owner's cells are read here, at the fault, because an owner such as bytearray moves its first byte and its size
// without a store to the buffer.
VisibleRange visible_range(const Region& region) {
  const MemoryVariable& variable = region.variable;
  std::uintptr_t begin = region.begin();
  if (variable.live_start != nullptr && !guarded_copy(&begin, variable.live_start, sizeof begin)) return {0, 0};
  std::uintptr_t end = region.end();
  std::int64_t items = 0;
  if (variable.live_size != nullptr) {
    if (!guarded_copy(&items, variable.live_size, sizeof items) || items < 0) return {0, 0};
    end = begin + static_cast<std::uintptr_t>(items * variable.live_item_bytes);
  }
  if (end > region.end()) end = region.end();
  if (begin < region.begin() || begin > end) return {0, 0};
  return {begin, end};
}

DictionaryRef place_of_writer(StoreContext* context, void* ucontext, DictionaryRef* of_context) {
  DictionaryRef known = 0;
  ask(memory_state.span.load(std::memory_order_relaxed), context, &context->span, &known);
  context->span.known = known != 0;
  return ask(memory_state.place, context, ucontext, of_context);
}

bool capture_ranges(StoreContext* context, std::uintptr_t begin, std::uintptr_t end) {
  context->range_count = 0;
  bool all = true;
  for (int i = 0; i < context->page_count; ++i)
    for_each_region_in(*context->pages[i].page, begin, end, [&](const Region& region) {
      if (!was_met_before(*context, i, region)) all = capture_region(context, region, begin, end) && all;
    });
  return all;
}

// One claim for all events of a store: a second one could wait for room that the reader only makes once it has passed
// the first, which is not committed yet.
void claim_events(StoreContext* context, const EventOrigin& origin) {
  if (context->range_count == 0) return;
  EventRing& ring = *memory_state.ring;
  const DictionaryRef module = module_of_code(origin.ip);
  find_native_callers(context, origin.ucontext);
  std::uint32_t slots = 0;
  Stack stack;
  if (origin.thread_id == 0) ask(memory_state.stack, context, stack.places, &stack.count);
  if (!context->placed) context->span.known = 0;
  DictionaryRef of_context = 0;
  DictionaryRef place = context->placed ? context->place : 0;
  if (context->placed)
    of_context = context->place_context;
  else if (origin.thread_id == 0)
    place = place_of_writer(context, origin.ucontext, &of_context);
  for (int i = 0; i < context->range_count; ++i) {
    context->ranges[i].slots =
        slots_for(payload_of(*context, context->ranges[i]) + stack_bytes(stack.count, context->span));
    slots += context->ranges[i].slots;
  }
  const Claim claim = ring.claim((slots - 1) * static_cast<std::uint32_t>(kSlotBytes));
  if (!claim) {  // the ring has counted one of them
    ring.header()->dropped.fetch_add(static_cast<std::uint64_t>(context->range_count - 1), std::memory_order_relaxed);
    return;
  }
  const std::uint64_t now = ring.now();
  std::uint32_t at = 0;
  for (int i = 0; i < context->range_count; ++i) {
    CapturedRange& range = context->ranges[i];
    range.head = claim.head + at;
    range.ticket = claim.ticket + at;
    at += range.slots;
    fill_event(context, &range, origin, place, of_context, module, now);
    append_stack(range.head, stack, context->span);
  }
}

void void_events(StoreContext* context) {
  for (int i = 0; i < context->range_count; ++i) {
    CapturedRange& range = context->ranges[i];
    if (range.head == nullptr) continue;
    range.head->op = Op::kCount;
    Claim{range.head, range.ticket, range.slots}.commit();
  }
  context->range_count = 0;
}

}  // namespace watcher

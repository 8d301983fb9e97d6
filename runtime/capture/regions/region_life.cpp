#include "runtime/capture/regions/region_life.h"

#include "runtime/capture/engines/engine.h"
#include "runtime/capture/engines/engine_choice.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/region_set.h"
#include "runtime/capture/store/store.h"

namespace watcher {

int engage_region(Region* region) {
  const Engine* engine = region_engine();
  if (engine != nullptr) {
    if (const int error = list_region(region); error != 0) return error;
    region->engine = engine;
    const int error = memory_state.paused ? 0 : engine->watch(region);  // else the resume does it
    if (error == 0) return 0;
    displace_region(region);
    region->engine = nullptr;
    note_refused_region(error);
  }
  return place_region(region);
}

void disengage_region(Region* region) {
  if (region->engine != nullptr) region->engine->unwatch(region);
  displace_region(region);
  region->engine = nullptr;
}

void give_to_pages(Region* region) {
  displace_region(region);
  region->engine = nullptr;
  if (place_region(region) != 0) free_region(region);
}

void tell_of_region(const Region& region, Op op, std::uint64_t before, std::uint64_t after) {
  EventRing& ring = *memory_state.ring;
  DictionaryRef of_context = 0;
  StoreContext* context = acquire_store_context();
  const DictionaryRef place = place_of_writer(context, nullptr, &of_context);
  const SpanBlob span = context->span;
  release_store_context(context);
  if (place == kNoEvent) return;
  const Claim claim = ring.claim(stack_bytes(0, span));
  if (!claim) return;
  EventHead& head = *claim.head;
  head.tsc = ring.now();
  head.variable = region.variable.variable;
  head.place = place;
  head.context = of_context;
  head.thread_id = current_thread_id();
  head.op = op;
  head.before_kind = head.after_kind = ValueKind::kUnbound;
  head.flags = static_cast<std::uint8_t>(region.variable.scope) & kScopeMask;
  head.before = before;
  head.after = after;
  head.coalesced = 0;
  if (span.known != 0) {
    head.flags |= kHasStack;
    put_stack(claim.payload(), nullptr, 0, span);
  }
  claim.commit();
}

void end_region(Region* region, Op op) {
  if (region->lifted) {
    region->ends_as = op;
    region->lifted = false;
    return;
  }
  disengage_region(region);
  if (op != Op::kCount) tell_of_region(*region, op, 0, 0);
  free_region(region);
}

}  // namespace watcher

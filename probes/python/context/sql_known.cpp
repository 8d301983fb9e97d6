#include "probes/python/context/sql_known.h"

#include <stdlib.h>

namespace watcher::python {

constinit KnownObjects known_objects;

std::size_t KnownObjects::place_of(const void* object) const {
  std::size_t at = home(object);
  while (slots_[at].object != object && slots_[at].object != nullptr) at = (at + 1) & mask_;
  return at;
}

const Known* KnownObjects::find(const void* object) const {
  if (count_ == 0) return nullptr;
  const Slot& slot = slots_[place_of(object)];
  return slot.object != nullptr ? &slot.known : nullptr;
}

bool KnownObjects::put(const void* object, const Known& known) {
  if ((slots_ == nullptr || count_ * 2 > mask_) && !grow()) return false;
  Slot& slot = slots_[place_of(object)];
  const bool fresh = slot.object == nullptr;
  slot = {object, known};
  count_ += fresh;
  return fresh;
}

// Moves later entries of the run back into the hole, so that no tombstones are needed.
void KnownObjects::forget(const void* object) {
  if (count_ == 0) return;
  std::size_t hole = place_of(object);
  if (slots_[hole].object == nullptr) return;
  for (std::size_t at = (hole + 1) & mask_; slots_[at].object != nullptr; at = (at + 1) & mask_) {
    if (((at - home(slots_[at].object)) & mask_) < ((at - hole) & mask_)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = {};
  --count_;
}

bool KnownObjects::grow() {
  const std::size_t old_size = slots_ == nullptr ? 0 : mask_ + 1;
  const std::size_t size = old_size == 0 ? 64 : old_size * 2;
  auto* larger = static_cast<Slot*>(calloc(size, sizeof(Slot)));
  if (larger == nullptr) return false;
  Slot* old = slots_;
  slots_ = larger;
  mask_ = size - 1;
  for (std::size_t i = 0; i < old_size; ++i)
    if (old[i].object != nullptr) slots_[place_of(old[i].object)] = old[i];
  free(old);
  return true;
}

}  // namespace watcher::python

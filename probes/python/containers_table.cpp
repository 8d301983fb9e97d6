#include "probes/python/containers_table.h"

#include <stdlib.h>

namespace watcher::python {

constinit ContainerTable watched_containers;

WatchedContainer* ContainerTable::add(PyObject* object) {
  if (WatchedContainer* known = find(object)) return known;
  if ((slots_ == nullptr || count_ * 4 > mask_ * 3) && !grow()) return nullptr;
  std::size_t at = home(object);
  while (slots_[at].object != nullptr) at = (at + 1) & mask_;
  ++count_;
  slots_[at] = {.object = object};
  return &slots_[at];
}

// Moves later entries of the run back into the hole, so that no tombstones are needed.
void ContainerTable::remove(const PyObject* object) {
  const WatchedContainer* found = find(object);
  if (found == nullptr) return;
  auto hole = static_cast<std::size_t>(found - slots_);
  for (std::size_t at = (hole + 1) & mask_; slots_[at].object != nullptr; at = (at + 1) & mask_) {
    const std::size_t distance_from_home = (at - home(slots_[at].object)) & mask_;
    if (distance_from_home < ((at - hole) & mask_)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = {};
  --count_;
}

bool ContainerTable::grow() {
  const std::size_t old_size = slots_ == nullptr ? 0 : mask_ + 1;
  const std::size_t size = old_size == 0 ? 64 : old_size * 2;
  auto* larger = static_cast<WatchedContainer*>(calloc(size, sizeof(WatchedContainer)));
  if (larger == nullptr) return false;
  WatchedContainer* old = slots_;
  slots_ = larger;
  mask_ = size - 1;
  for (std::size_t i = 0; i < old_size; ++i) {
    if (old[i].object == nullptr) continue;
    std::size_t at = home(old[i].object);
    while (slots_[at].object != nullptr) at = (at + 1) & mask_;
    slots_[at] = old[i];
  }
  free(old);
  return true;
}

}  // namespace watcher::python

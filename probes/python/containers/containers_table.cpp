#include "probes/python/containers/containers_table.h"

#include <stdlib.h>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

constinit ContainerTable watched_containers;

namespace {

constexpr std::uint32_t kHoldersAtFirst = 2;  // and after that whenever the count is a power of two
constexpr int kMaxDepth = 4000;
constexpr int kThreadInterpreter = 16;  // PyThreadState.interp, behind prev and next

// The GIL keeps the list of states still, but for new ones in front of its head.
bool thread_runs(const void* state) {
  void* running = thread_state();
  if (running == state) return true;
  void* other = PyInterpreterState_ThreadHead(field(running, kThreadInterpreter));
  while (other != nullptr && other != state) other = PyThreadState_Next(other);
  return other != nullptr;
}

bool is_power_of_two(std::uint32_t count) {
  return (count & (count - 1)) == 0;
}

}  // namespace

// Its thread may have ended, and be a state in freed memory.
bool Holder::alive() const {
  if (frame == nullptr) return true;
  if (keeper.object != nullptr) return lives(keeper);
  if (!thread_runs(thread)) return false;
  void* running = frame_of(const_cast<void*>(thread));
  for (int depth = 0; running != nullptr && depth < kMaxDepth; ++depth, running = field(running, compat.frame_back))
    if (running == frame) return code_of(running) == code;
  return false;
}

bool WatchedContainer::add(const Holder& holder) {
  remove(holder.variable, holder.frame);
  for (std::uint32_t i = count; i > 0 && count >= kHoldersAtFirst; --i)
    if (!holders[i - 1].alive()) holders[i - 1] = holders[--count];
  if (count == 0 || (count >= kHoldersAtFirst && is_power_of_two(count))) {
    const std::uint32_t room = count == 0 ? kHoldersAtFirst : count * 2;
    auto* larger = static_cast<Holder*>(realloc(holders, room * sizeof(Holder)));
    if (larger == nullptr) return false;
    holders = larger;
  }
  holders[count++] = holder;
  return true;
}

bool WatchedContainer::remove(DictionaryRef variable, const void* frame) {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (holders[i].variable != variable || holders[i].frame != frame) continue;
    for (--count; i < count; ++i) holders[i] = holders[i + 1];
    return true;
  }
  return false;
}

bool WatchedContainer::add_parent(const WatchedContainer& parent) {
  for (std::uint32_t i = 0; i < parent_count; ++i)
    if (parents[i].object == parent.object && parents[i].life == parent.life) return false;
  if (parent_count == 0 || is_power_of_two(parent_count)) {
    auto* larger = static_cast<Parent*>(realloc(parents, (parent_count == 0 ? 1 : parent_count * 2) * sizeof(Parent)));
    if (larger == nullptr) return false;
    parents = larger;
  }
  parents[parent_count++] = {.object = parent.object, .life = parent.life};
  return true;
}

bool WatchedContainer::held() const {
  for (std::uint32_t i = 0; i < count; ++i)
    if (holders[i].alive()) return true;
  return false;
}

WatchedContainer* ContainerTable::add(PyObject* object) {
  if (WatchedContainer* known = find(object)) return known;
  if ((slots_ == nullptr || count_ * 4 > mask_ * 3) && !grow()) return nullptr;
  std::size_t at = home(object);
  while (slots_[at].object != nullptr) at = (at + 1) & mask_;
  ++count_;
  ++version_;
  slots_[at] = {.object = object, .type = object->type, .life = ++lives_};
  return &slots_[at];
}

// Moves later entries of the run back into the hole, so that no tombstones are needed.
void ContainerTable::remove(const PyObject* object) {
  const WatchedContainer* found = find(object);
  if (found == nullptr) return;
  free(found->holders);
  free(found->parents);
  auto hole = static_cast<std::size_t>(found - slots_);
  for (std::size_t at = (hole + 1) & mask_; slots_[at].object != nullptr; at = (at + 1) & mask_) {
    const std::size_t distance_from_home = (at - home(slots_[at].object)) & mask_;
    if (distance_from_home < ((at - hole) & mask_)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = {};
  --count_;
  ++version_;
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

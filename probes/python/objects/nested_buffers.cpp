#include "probes/python/objects/nested_buffers.h"

#include <algorithm>
#include <vector>

#include "probes/python/buffers/buffers.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {

constinit std::size_t buffer_part_count = 0;

namespace {

struct BufferPart {
  PyObject* buffer;
  std::vector<const PyObject*> above;  // objects on its paths, when they were last looked for
  bool stale = true;
};

/// Lives as long as the process.
std::vector<BufferPart>& parts() {
  static auto* all = new std::vector<BufferPart>;
  return *all;
}

constinit int taking_in = 0;
constinit bool some_are_stale = false;

BufferPart* part_of(const PyObject* buffer) {
  const auto found =
      std::find_if(parts().begin(), parts().end(), [&](const auto& part) { return part.buffer == buffer; });
  return found != parts().end() ? &*found : nullptr;
}

void renew(PyObject* buffer) {
  Reached reached = variables_above(buffer);
  if (reached.above.empty()) return release_buffer_part(buffer);
  const Ref alive = Ref::borrow(buffer);  // somebody holds it
  BufferPart* part = part_of(buffer);
  if (part == nullptr) return;
  part->above = std::move(reached.above);
  part->stale = false;
  track_buffer_part(buffer, reached.ways);
}

// Watching allocates objects, so the collector may run, and with it code of the host's that changes the parts.
void renew_stale() {
  std::vector<PyObject*> stale;
  for (const BufferPart& part : parts())
    if (part.stale) stale.push_back(part.buffer);
  some_are_stale = false;
  for (PyObject* buffer : stale)
    if (part_of(buffer) != nullptr) renew(buffer);
}

}  // namespace

bool is_buffer_part(PyObject* object) {
  return buffer_kind(object) != BufferKind::kNone;
}

WatchedContainer* add_buffer_part(PyObject* buffer) {
  WatchedContainer* known = watched_containers.find(buffer);
  if (known == nullptr && (known = watched_containers.add(buffer)) == nullptr) return nullptr;
  known->buffer = true;
  BufferPart* part = part_of(buffer);
  if (part == nullptr) part = &parts().emplace_back(BufferPart{buffer, {}});
  part->stale = some_are_stale = true;
  buffer_part_count = parts().size();
  return known;
}

void release_buffer_part(PyObject* buffer) {
  watched_containers.remove(buffer);
  std::erase_if(parts(), [buffer](const BufferPart& part) { return part.buffer == buffer; });
  buffer_part_count = parts().size();
  track_buffer_part(buffer, {});
}

void note_buffers_below(const PyObject* object) {
  for (BufferPart& part : parts())
    if (std::find(part.above.begin(), part.above.end(), object) != part.above.end()) part.stale = some_are_stale = true;
}

void settle_buffer_parts(const PyObject* object) {
  note_buffers_below(object);
  if (some_are_stale && taking_in == 0) renew_stale();
}

BufferPartsBelow::BufferPartsBelow() {
  ++taking_in;
}

BufferPartsBelow::~BufferPartsBelow() {
  if (--taking_in == 0 && some_are_stale) renew_stale();
}

}  // namespace watcher::python

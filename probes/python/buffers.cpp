// Which buffers are watched, and for whom.
#include "probes/python/buffers.h"

#include <unordered_map>

#include "probes/python/tracked.h"

namespace watcher::python {
namespace {

struct WatchedBuffer {
  std::uint64_t region = 0;
  DictionaryRef variable = 0;
  Scope scope = Scope::kUnknown;
  std::byte* base = nullptr;
  std::size_t bytes = 0;
  bool own_pages = false;  // a bytearray's death is only told to the runtime: such an entry may be a dead object's
  PyObject* weak_reference = nullptr;
};

using WatchedBuffers = std::unordered_map<PyObject*, WatchedBuffer>;

/// Lives as long as the process.
WatchedBuffers& watched_buffers() {
  static auto* buffers = new WatchedBuffers;
  return *buffers;
}

bool forget(PyObject* object, Op op) {
  WatchedBuffers& buffers = watched_buffers();
  const auto found = buffers.find(object);
  if (found == buffers.end()) return false;
  const WatchedBuffer ended = found->second;
  buffers.erase(found);
  runtime->memory_unwatch(ended.region, static_cast<int>(op));
  if (ended.weak_reference != nullptr) Py_DecRef(ended.weak_reference);
  return true;
}

void end_of_buffer(PyObject* object) {
  forget(object, Op::kFreed);
}

bool refuse(PyObject* object, std::string_view name, const char* why) {
  runtime->log(WATCHER_WARNING, "%.*s: the memory of this %s cannot be watched: %s", static_cast<int>(name.size()),
               name.data(), type_name(object->type), why);
  return false;
}

/// Already watched under that name, at that place: nothing to do.
bool is_watched(PyObject* object, const BufferMemory& memory, DictionaryRef variable, Scope scope) {
  const auto found = watched_buffers().find(object);
  if (found == watched_buffers().end()) return false;
  const WatchedBuffer& known = found->second;
  return known.variable == variable && known.scope == scope && known.base == memory.base &&
         (known.own_pages ? runtime->memory_allocated(known.base) != 0 : known.bytes == memory.bytes);
}

}  // namespace

bool track_buffer(PyObject* value, const Tracked& tracked) {
  const BufferKind kind = buffer_kind(value);
  if (kind == BufferKind::kNone || !ensure_session()) return false;
  KeepException keep;
  BufferMemory memory;
  if (!read_buffer(value, kind, &memory)) return false;
  const DictionaryRef variable =
      intern_variable(tracked.name, tracked.owner, tracked.scope, memory.format, memory.item_bytes);
  if (is_watched(value, memory, variable, tracked.scope)) return true;
  forget(value, Op::kCount);
  move_to_own_pages(value, kind, tracked.references, &memory);
  LifeLine life{.tied = true};
  if (!memory.own_pages) life = tie_life_line(value, kind, end_of_buffer);
  if (!life.tied) return refuse(value, tracked.name, "its end could not be noticed");
  const watcher_buffer buffer{.base = memory.base,
                              .capacity = memory.capacity,
                              .live_size = memory.live_size,
                              .live_start = memory.live_start,
                              .live_item_bytes = memory.live_item_bytes,
                              .variable = variable,
                              .item_bytes = memory.item_bytes,
                              .scope = static_cast<std::uint8_t>(tracked.scope)};
  const std::uint64_t region = memory.capacity != 0 ? runtime->memory_watch(&buffer) : 0;
  if (region == 0) {
    if (life.weak_reference != nullptr) Py_DecRef(life.weak_reference);
    return refuse(value, tracked.name, "no engine takes it");
  }
  watched_buffers()[value] = {region,       variable,         tracked.scope,      memory.base,
                              memory.bytes, memory.own_pages, life.weak_reference};
  return true;
}

bool untrack_buffer(PyObject* value) {
  return forget(value, Op::kCount);
}

}  // namespace watcher::python

// Which buffers are watched, and for whom.
#include "probes/python/buffers/buffers.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "probes/python/api/unwatch.h"
#include "probes/python/buffers/bulk_witness.h"
#include "probes/python/objects/nested_buffers.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

struct WatchedBuffer {
  struct Region {
    std::uint64_t id;
    DictionaryRef variable;
    Scope scope;
    bool part;  // the variable holds an object that holds it
  };
  std::vector<Region> regions;  // one for each variable that holds it
  std::byte* base = nullptr;
  std::size_t bytes = 0;
  bool own_pages = false;  // a bytearray's death is only told to the runtime: such an entry may be a dead object's
  PyObject* weak_reference = nullptr;
  PyObject* kept = nullptr;  // owned
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
  const WatchedBuffer ended = std::move(found->second);
  buffers.erase(found);
  for (const WatchedBuffer::Region& region : ended.regions) runtime->memory_unwatch(region.id, static_cast<int>(op));
  for (PyObject* owned : {ended.weak_reference, ended.kept})
    if (owned != nullptr) Py_DecRef(owned);
  return true;
}

void end_of_buffer(PyObject* object) {
  forget(object, Op::kFreed);
  if (const WatchedContainer* part = watched_containers.find(object); part != nullptr && part->buffer)
    release_buffer_part(object);
}

/// Said once of each name, however often it is bound.
DictionaryRef refuse(PyObject* object, std::string_view name, const char* why) {
  static auto* said = new std::unordered_set<std::string>;  // process-lifetime; under the GIL
  if (!said->insert(std::string(name)).second) return 0;
  runtime->log(WATCHER_WARNING, "%.*s: the memory of this %s cannot be watched: %s", static_cast<int>(name.size()),
               name.data(), type_name(object->type), why);
  return 0;
}

/// What is known of the object, when its memory is still where it was; an entry of a dead object is dropped.
WatchedBuffer* known_buffer(PyObject* object, const BufferMemory& memory) {
  const auto found = watched_buffers().find(object);
  if (found == watched_buffers().end()) return nullptr;
  WatchedBuffer& known = found->second;
  // memory on pages of ours is where realloc has taken it, watched all along; that of another object would not be there
  if (known.own_pages && runtime->memory_allocated(memory.base) != 0) {
    known.base = memory.base;
    known.bytes = memory.bytes;
    return &known;
  }
  if (!known.own_pages && known.base == memory.base && known.bytes == memory.bytes) return &known;
  forget(object, Op::kCount);
  return nullptr;
}

std::uint64_t watch_region(const BufferMemory& memory, DictionaryRef variable, Scope scope) {
  const watcher_buffer buffer{.base = memory.base,
                              .capacity = memory.capacity,
                              .live_size = memory.live_size,
                              .live_start = memory.live_start,
                              .live_item_bytes = memory.live_item_bytes,
                              .variable = variable,
                              .item_bytes = memory.unit,
                              .scope = static_cast<std::uint8_t>(scope)};
  if (memory.capacity == 0) return 0;
  prepare_call_witness();
  return runtime->memory_watch(&buffer);
}

/// The first variable of a buffer: finds its memory a place and learns how its end becomes known.
bool adopt(PyObject* value, BufferKind kind, int references, BufferMemory* memory) {
  move_to_own_pages(value, kind, references, memory);
  LifeLine life{.tied = true};
  if (!memory->own_pages) life = tie_life_line(value, kind, end_of_buffer);
  if (!life.tied) return false;
  watched_buffers()[value] = {
      {}, memory->base, memory->bytes, memory->own_pages, life.weak_reference, memory->kept.release()};
  return true;
}

/// For one variable more of a buffer that is known: a region of its own, which must grow as the first one's does.
bool take_in(PyObject* value, BufferKind kind, int references, BufferMemory* memory) {
  const WatchedBuffer* known = known_buffer(value, *memory);
  if (known == nullptr) return adopt(value, kind, references, memory);
  if (known->own_pages)
    move_to_own_pages(value, kind, references, memory);  // it is there: this says how far it reaches
  return true;
}

}  // namespace

static DictionaryRef track_memory(PyObject* value, BufferKind kind, const Tracked& tracked) {
  if (kind == BufferKind::kNone || !ensure_session()) return 0;
  KeepException keep;
  BufferMemory memory;
  if (!read_buffer(value, kind, &memory)) return 0;
  const DictionaryRef variable =
      intern_variable(tracked.name, tracked.owner, tracked.scope, tracked.request, memory.format, memory.item_bytes);
  if (!take_in(value, kind, tracked.references, &memory))
    return refuse(value, tracked.name, "its end could not be noticed");
  WatchedBuffer& watched = watched_buffers()[value];
  for (const WatchedBuffer::Region& region : watched.regions)
    if (region.variable == variable && region.scope == tracked.scope) return variable;
  const std::uint64_t region = watch_region(memory, variable, tracked.scope);
  if (region == 0) {
    if (watched.regions.empty()) forget(value, Op::kCount);
    return refuse(value, tracked.name, "no engine takes it");
  }
  watched.regions.push_back({region, variable, tracked.scope, false});
  return variable;
}

/// Ends the regions of parts that are not among `wanted`.
static void end_parts(PyObject* value, const std::vector<DictionaryRef>& wanted) {
  const auto found = watched_buffers().find(value);
  if (found == watched_buffers().end()) return;
  std::erase_if(found->second.regions, [&](const WatchedBuffer::Region& region) {
    if (!region.part || std::find(wanted.begin(), wanted.end(), region.variable) != wanted.end()) return false;
    runtime->memory_unwatch(region.id, static_cast<int>(Op::kCount));
    return true;
  });
  if (found->second.regions.empty()) forget(value, Op::kCount);
}

void track_buffer_part(PyObject* value, const std::vector<Way>& ways) {
  if (ways.empty()) return end_parts(value, {});
  KeepException keep;
  BufferMemory memory;
  const BufferKind kind = buffer_kind(value);
  if (kind == BufferKind::kNone || !read_buffer(value, kind, &memory)) return end_parts(value, {});
  constexpr int kHolderAndCaller = 2;
  if (!take_in(value, kind, kHolderAndCaller, &memory)) return;
  std::vector<DictionaryRef> wanted;
  for (const Way& way : ways) wanted.push_back(intern_part(way.variable, way.path, memory.format, memory.item_bytes));
  WatchedBuffer& watched = watched_buffers()[value];
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto is_there = [&](const WatchedBuffer::Region& region) { return region.variable == wanted[i]; };
    if (std::any_of(watched.regions.begin(), watched.regions.end(), is_there)) continue;
    const std::uint64_t region = watch_region(memory, wanted[i], ways[i].scope);
    if (region != 0)
      watched.regions.push_back({region, wanted[i], ways[i].scope, true});
    else
      refuse(value, name_of_variable(wanted[i]), "no engine takes it");
  }
  end_parts(value, wanted);
}

DictionaryRef track_buffer(PyObject* value, const Tracked& tracked) {
  return track_memory(value, buffer_kind(value), tracked);
}

DictionaryRef track_lent_memory(PyObject* value, const Tracked& tracked) {
  const bool asked_for = !tracked.by_rule;
  if (buffer_kind(value) != BufferKind::kNone || !lends_memory(value, asked_for)) return 0;
  return track_memory(value, BufferKind::kLent, tracked);
}

// The object itself is not touched: a bytearray may have died without our knowing.
bool buffer_state(PyObject* value, DictionaryRef variable, Value* out) {
  const auto found = watched_buffers().find(value);
  if (found == watched_buffers().end()) return false;
  const WatchedBuffer& watched = found->second;
  if (watched.own_pages && runtime->memory_allocated(watched.base) == 0) return false;
  for (const WatchedBuffer::Region& region : watched.regions) {
    if (region.variable != variable) continue;
    if (out->kind != ValueKind::kBytes) return true;  // an array is shown by its address
    out->stored = static_cast<std::uint32_t>(watched.bytes < kMaxValueBytes ? watched.bytes : kMaxValueBytes);
    out->total = watched.bytes;
    out->data = reinterpret_cast<const char*>(watched.base);
    return true;
  }
  return false;
}

void unwatch_buffers(std::string_view name) {
  std::vector<std::pair<PyObject*, DictionaryRef>> found;
  for (const auto& [object, watched] : watched_buffers())
    for (const WatchedBuffer::Region& region : watched.regions)
      if (name_of_variable(region.variable) == name) found.emplace_back(object, region.variable);
  for (const auto& [object, variable] : found) untrack_buffer(object, variable);
}

bool unwatch_buffer(PyObject* object) {
  return forget(object, Op::kCount);
}

bool untrack_buffer(PyObject* value, DictionaryRef variable) {
  const auto found = watched_buffers().find(value);
  if (found == watched_buffers().end()) return false;
  std::vector<WatchedBuffer::Region>& regions = found->second.regions;
  for (auto region = regions.begin(); region != regions.end(); ++region) {
    if (region->variable != variable) continue;
    runtime->memory_unwatch(region->id, static_cast<int>(Op::kCount));
    regions.erase(region);
    if (regions.empty()) forget(value, Op::kCount);
    return true;
  }
  return false;
}

}  // namespace watcher::python

#include "probes/python/objects/object_graph.h"

#include <stdlib.h>

#include <algorithm>
#include <string>

#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/names/attribute_paths.h"
#include "probes/python/objects/attributes.h"
#include "probes/python/objects/nested_buffers.h"
#include "probes/python/objects/object_parts.h"
#include "probes/python/objects/plain_parts.h"

namespace watcher::python {
namespace {

constexpr int kUsualDepth = 4;  // as deep as values are shown

constexpr int kDeepest = 16;  // as the option allows
constexpr std::size_t kMaxTold = 64;
constexpr int kMaxListeners = 32;

bool is_number_or_text(const PyObject* object) {
  const PyObject* type = object->type;
  return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || object == &_Py_NoneStruct ||
         type == &PyBool_Type || type == &PyBytes_Type || type == &PyTuple_Type;
}

/// A module's names: code runs on them, and the interpreter's shortcuts want the very type.
bool is_namespace(PyObject* object) {
  if (object->type != &PyDict_Type) return false;
  return PyDict_GetItemString(object, "__builtins__") != nullptr ||
         (PyDict_GetItemString(object, "__spec__") != nullptr && PyDict_GetItemString(object, "__name__") != nullptr) ||
         object == loaded_modules();
}

void add_part(const WatchedContainer& parent_entry, PyObject* child) {
  if (child == nullptr || is_number_or_text(child) || is_namespace(child) || is_unwatchable_part(child)) return;
  if (kind_of(child->type) != nullptr && parts_stay_plain(parent_entry.object->type)) return;
  const WatchedContainer parent = parent_entry;  // the table may grow
  const bool buffer = is_buffer_part(child);
  WatchedContainer* entry = buffer ? add_buffer_part(child) : watch_object(child, parent.level + 1);
  if (entry != nullptr && entry->add_parent(parent) && !buffer) note_buffers_below(child);
}

/// The event on its way from the object to the variables.
struct Journey {
  Op op;
  DictionaryRef place;
  const Value& before;
  const Value& after;
  bool exact;
  PathStep* steps;  // outermost last in the array, so that a path is its tail
  int count = 0;
  std::size_t told_count = 0;
  int orphan_count = 0;

  // The GIL is held all the way, and nothing of the host runs (SettledContext): one journey at a time, and entries of
  // the table stay where they are.
  static inline constinit PathStep all_steps[kDeepest + 1]{};
  static inline constinit DictionaryRef told[kMaxTold]{};
  static inline constinit PyObject* orphans[kDeepest]{};
  Reached* reached = nullptr;  // instead of writing events
  struct Listener {
    AttributePaths* paths;
    PyObject* object;
  };
  static inline constinit Listener listeners[kMaxListeners]{};
  int listener_count = 0;

  Journey(Op operation, DictionaryRef where, const PathStep* step, const Value& old, const Value& now, bool known)
      : op(operation), place(where), before(old), after(now), exact(known), steps(all_steps + kDeepest + 1) {
    if (step != nullptr) push(*step);
  }
  void push(const PathStep& step) {
    *--steps = step;
    ++count;
  }
  void pop() {
    ++steps;
    --count;
  }

  bool is_told(DictionaryRef variable) const {
    for (std::size_t i = 0; i < told_count; ++i)
      if (told[i] == variable) return true;
    return false;
  }

  void tell(const WatchedContainer& watched) {
    for (std::uint32_t i = 0; i < watched.count; ++i) {
      const Holder& holder = watched.holders[i];
      if (holder.paths != nullptr) {
        if (count <= 1 && listener_count < kMaxListeners && reached == nullptr)
          listeners[listener_count++] = {holder.paths, watched.object};
        continue;
      }
      if (is_told(holder.variable) || !holder.alive()) continue;
      if (told_count < kMaxTold) told[told_count++] = holder.variable;
      if (reached != nullptr) {
        reached->ways.push_back({holder.variable, holder.scope, intern_path({steps, static_cast<std::size_t>(count)})});
        continue;
      }
      emit(op, {.variable = holder.variable, .place = place, .scope = holder.scope, .exact = exact},
           {steps, static_cast<std::size_t>(count)}, before, after);
    }
  }

  void climb(WatchedContainer& watched, int level) {
    tell(watched);
    if (watched.parent_count == 0) return;
    watched.reporting = true;
    for (std::uint32_t i = 0; i < watched.parent_count;) {
      Parent& link = watched.parents[i];
      WatchedContainer* parent = watched_containers.find(link.object);
      PathStep step;
      const bool attributes = watched.attributes;
      const bool there = parent != nullptr && parent->life == link.life &&
                         (attributes ? attributes_of(parent->object) == watched.object
                                     : find_part(parent->object, watched.object, &link.hint, level, &step));
      if (!there) {
        watched.remove_parent(i);
        continue;
      }
      ++i;
      if (reached != nullptr) reached->above.push_back(parent->object);
      if (parent->reporting || level >= max_depth()) continue;
      if (!attributes) push(step);
      climb(*parent, level + (attributes ? 0 : 1));
      if (!attributes) pop();
    }
    watched.reporting = false;
    if (watched.unneeded() && orphan_count < kDeepest) orphans[orphan_count++] = watched.object;
  }
};

}  // namespace

bool depth_is_chosen() {
  static const bool chosen = [] {
    const char* text = runtime->option("depth");
    return text != nullptr && atoi(text) > 0;
  }();
  return chosen;
}

int max_depth() {
  static const int depth = [] {
    const char* text = runtime->option("depth");
    const int wanted = text != nullptr ? atoi(text) : 0;
    return wanted < 1 ? kUsualDepth : wanted > kDeepest ? kDeepest : wanted;
  }();
  return depth;
}

WatchedContainer* watch_object(PyObject* object, int level) {
  WatchedContainer* known = watched_containers.find(object);
  if (known != nullptr && known->type != object->type) {  // of an object whose end was not told
    watched_containers.remove(object);
    known = nullptr;
  }
  if (known != nullptr && known->buffer) return nullptr;
  if (known != nullptr && known->level <= level) return known;
  if (known == nullptr) {
    if (!end_will_be_told(object) || !catch_changes(object) || (known = watched_containers.add(object)) == nullptr)
      return nullptr;
    known->size_now = size_of_parts(object);
    known->see_size();
  }
  known->level = static_cast<std::uint8_t>(level);
  adopt_all(object);
  return watched_containers.find(object);
}

void adopt_part(PyObject* parent, PyObject* child) {
  if (child == nullptr || is_number_or_text(child)) return;
  const WatchedContainer* entry = watched_containers.find(parent);
  if (entry == nullptr || entry->level >= max_depth()) return;
  const BufferPartsBelow below;
  add_part(*entry, child);
}

void adopt_parts(PyObject* parent, PyObject* const* children, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) adopt_part(parent, children[i]);
}

void adopt_all(PyObject* parent) {
  const WatchedContainer* entry = watched_containers.find(parent);
  if (entry == nullptr || entry->level >= max_depth()) return;
  const BufferPartsBelow below;
  PyObject* child;
  for (Parts parts(parent); (child = parts.next()) != nullptr;) adopt_part(parent, child);
}

void adopt_attributes(PyObject* object, PyObject* dict) {
  const WatchedContainer* entry = watched_containers.find(object);
  if (entry == nullptr || dict->type != &PyDict_Type || parts_stay_plain(object->type)) return;
  const WatchedContainer parent = *entry;
  if (!catch_changes(dict)) return;
  WatchedContainer* names = watched_containers.add(dict);
  if (names == nullptr) return;
  names->attributes = true;
  names->level = parent.level;
  names->add_parent(parent);
}

static void release_parts(PyObject* object, std::uint32_t life) {
  PyObject* child;
  for (Parts parts(object); (child = parts.next()) != nullptr;) {
    WatchedContainer* part = watched_containers.find(child);
    if (part == nullptr) continue;
    for (std::uint32_t i = 0; i < part->parent_count; ++i) {
      if (part->parents[i].object != object || part->parents[i].life != life) continue;
      part->remove_parent(i);
      if (part->unneeded()) let_go(child);
      break;
    }
  }
}

void let_go(PyObject* object) {
  const WatchedContainer* watched = watched_containers.find(object);
  if (watched == nullptr) return;
  if (watched->buffer) return release_buffer_part(object);
  const std::uint32_t life = watched->life;
  const bool has_parts = watched->level < max_depth();
  watched_containers.remove(object);
  release_changes(object);
  if (has_parts) release_parts(object, life);
}

void forget_dying(PyObject* object) {
  const WatchedContainer* watched = watched_containers.find(object);
  if (watched == nullptr) return;
  const std::uint32_t life = watched->life;
  const bool has_parts = watched->level < max_depth();
  std::vector<AttributePaths*> ended;
  for (std::uint32_t i = 0; i < watched->count; ++i)
    if (watched->holders[i].paths != nullptr && watched->holders[i].paths->single())
      ended.push_back(watched->holders[i].paths);
  watched_containers.remove(object);
  if (has_parts) release_parts(object, life);
  for (AttributePaths* paths : ended) delete paths;
}

Reached variables_above(PyObject* object) {
  Reached reached;
  WatchedContainer* watched = watched_containers.find(object);
  if (watched == nullptr) return reached;
  const SettledContext context;
  Journey journey(Op::kWrite, 0, nullptr, {}, {}, true);
  journey.reached = &reached;
  journey.climb(*watched, 1);
  return reached;
}

void report(PyObject* object, Op op, DictionaryRef place, const PathStep* path, const Value& before, const Value& after,
            bool exact) {
  const SettledContext context;
  WatchedContainer* watched = watched_containers.find(object);
  if (watched == nullptr) return;
  PathStep innermost;
  if (path != nullptr && watched->parent_count != 0) path = &(innermost = kept_step(*path, 0));
  Journey journey(op, place, path, before, after, exact);
  journey.climb(*watched, 1);
  for (int i = 0; i < journey.orphan_count; ++i) let_go(Journey::orphans[i]);
  const bool at_the_end = op == Op::kAppend || op == Op::kExtend || op == Op::kAdd;  // all others stay where they are
  if (has_buffer_parts() && !at_the_end) settle_buffer_parts(object);
  if (journey.listener_count == 0) [[likely]]
    return;
  const bool attribute = op == Op::kSetAttr || op == Op::kDelAttr;
  const std::string name(attribute && path != nullptr && path->text != nullptr ? path->text : "",
                         attribute && path != nullptr && path->text != nullptr ? path->text_bytes : 0);
  Journey::Listener listeners[kMaxListeners];
  std::copy_n(Journey::listeners, journey.listener_count, listeners);
  for (int i = 0; i < journey.listener_count; ++i) listeners[i].paths->changed(listeners[i].object, name, place);
}

}  // namespace watcher::python

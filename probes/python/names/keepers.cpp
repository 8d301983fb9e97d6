#include "probes/python/names/keepers.h"

#include <iterator>
#include <unordered_map>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {
namespace {

using Dealloc = void (*)(PyObject* self);

struct FollowedType {
  PyObject* type;
  Dealloc original = nullptr;
};
constinit FollowedType followed[] = {{&PyCell_Type}, {&PyGen_Type}, {&PyCoro_Type}, {&PyAsyncGen_Type}};

constinit std::uint32_t lives_so_far = 0;
auto& alive() {
  static auto* table = new std::unordered_map<const PyObject*, std::uint32_t>;  // process-lifetime
  return *table;
}

template <std::size_t which>
void dealloc(PyObject* self) {
  followed[which].original(self);
  alive().erase(self);  // behind what a generator does at its end; freeing itself is the last thing it does
}

// Only once a container is held by such a variable: until then no cell and no generator pays for it.
void follow_types() {
  static constexpr Dealloc kOurs[] = {dealloc<0>, dealloc<1>, dealloc<2>, dealloc<3>};
  for (std::size_t i = 0; i < std::size(followed); ++i) {
    if (followed[i].original != nullptr) continue;
    auto& slot = field_ref<Dealloc>(followed[i].type, kTypeDealloc);
    followed[i].original = slot;
    slot = kOurs[i];
  }
}

// PyGenObject. Up to 3.10 it refers to its frame and the frame to it; from 3.11 the frame lies inside.
constexpr int kGeneratorFrame = 16;
int frames_generator() {
  return compat.minor >= 10 ? 88 : 96;
}  // PyFrameObject.f_gen
int embedded_frame() {
  return compat.minor >= 12 ? 72 : 80;
}
int frame_state() {
  return compat.minor >= 12 ? 67 : 75;
}
constexpr std::int8_t kCompleted = 1;  // and what comes after it
constexpr std::uint8_t kOwnedByGenerator = 1;

bool has_ended(const PyObject* generator) {
  if (compat.minor <= 10) return field(generator, kGeneratorFrame) == nullptr;
  return field<std::int8_t>(generator, frame_state()) >= kCompleted;
}

bool is_generator(const PyObject* object) {
  return object->type == &PyGen_Type || object->type == &PyCoro_Type || object->type == &PyAsyncGen_Type;
}

}  // namespace

PyObject* generator_of(void* frame) {
  if (compat.minor <= 10) return field<PyObject*>(frame, frames_generator());
  if (field<std::uint8_t>(frame, compat.frame_owner) != kOwnedByGenerator) return nullptr;
  auto* generator = reinterpret_cast<PyObject*>(static_cast<char*>(frame) - embedded_frame());
  return is_generator(generator) ? generator : nullptr;
}

Keeper keep_track_of(const PyObject* object) {
  if (object == nullptr) return {};
  follow_types();
  const auto [entry, fresh] = alive().try_emplace(object, lives_so_far + 1);
  if (fresh) ++lives_so_far;
  return {object, entry->second};
}

bool lives(const Keeper& keeper) {
  const auto found = alive().find(keeper.object);
  if (found == alive().end() || found->second != keeper.life) return false;
  return !is_generator(keeper.object) || !has_ended(keeper.object);
}

}  // namespace watcher::python

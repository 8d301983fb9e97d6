#include "probes/python/interpreter/leading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <utility>

namespace watcher::python {
namespace {

// ---- slot wrappers

/// struct wrapperbase, the interpreter's row for a slot.
struct WrapperRow {
  const char* name;
  int offset;
  void* python_slot;
  WrapperFunction wrapper;
};

/// The rows lie side by side, so the mapping of one is mostly that of all.
bool is_writable(const void* address) {
  static constinit unsigned long known_first = 0, known_end = 0;
  const auto at = reinterpret_cast<unsigned long>(address);
  if (at >= known_first && at < known_end) return true;
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return false;
  char line[512];
  bool writable = false;
  while (!writable && fgets(line, sizeof line, maps) != nullptr) {
    unsigned long first = 0, end = 0;
    char mode[5] = "";
    if (sscanf(line, "%lx-%lx %4s", &first, &end, mode) != 3 || at < first || at >= end) continue;
    if (mode[1] != 'w') break;
    writable = true;
    known_first = first;
    known_end = end;
  }
  fclose(maps);
  return writable;
}

WrapperRow* row_of(PyObject* type, const char* name) {
  const Ref descriptor(PyObject_GetAttrString(type, name));
  if (!descriptor || descriptor.get()->type != &PyWrapperDescr_Type) {
    PyErr_Clear();
    return nullptr;
  }
  auto* row = field<WrapperRow*>(descriptor.get(), kWrapperBase);
  return is_writable(row) ? row : nullptr;
}

// ---- slots

struct SlotPlace {
  int slot;  // of typeslots.h
  int suite, offset;
  std::size_t suite_bytes;
  const char* name;
};
constexpr SlotPlace kPlaces[] = {
    {3, kTypeAsMapping, kMappingSetItem, 24, "__setitem__"},
    {3, kTypeAsMapping, kMappingSetItem, 24, "__delitem__"},
    {39, kTypeAsSequence, kSequenceSetItem, 80, "__setitem__"},
    {39, kTypeAsSequence, kSequenceSetItem, 80, "__delitem__"},
    // a class takes the first for the second; the wrappers of both rows would have to be led as one
    {42, kTypeAsSequence, kSequenceInPlaceConcat, 80, nullptr},
    {42, kTypeAsNumber, kNumberInPlaceAdd, 288, nullptr},
    {43, kTypeAsSequence, kSequenceInPlaceRepeat, 80, "__imul__"},
    {15, kTypeAsNumber, kNumberInPlaceAnd, 288, "__iand__"},
    {19, kTypeAsNumber, kNumberInPlaceOr, 288, "__ior__"},
    {23, kTypeAsNumber, kNumberInPlaceSubtract, 288, "__isub__"},
    {25, kTypeAsNumber, kNumberInPlaceXor, 288, "__ixor__"},
    {60, 0, kTypeInit, 0, "__init__"},
};

const SlotPlace* place_of(int slot) {
  for (const SlotPlace& place : kPlaces)
    if (place.slot == slot) return &place;
  return nullptr;
}

void* slot_at(const PyObject* type, const SlotPlace& place) {
  return place.suite == 0 ? field(type, place.offset) : suite_slot(type, place.suite, place.offset);
}

/// A static type may share its suite with its base.
void write_slot(PyObject* type, const SlotPlace& place, void* function) {
  if (place.suite == 0) {
    field_ref<void*>(type, place.offset) = function;
    return;
  }
  auto& suite = field_ref<void*>(type, place.suite);
  const PyObject* base = field<PyObject*>(type, kTypeBase);
  if (base != nullptr && field(base, place.suite) == suite) {
    void* own = malloc(place.suite_bytes);  // lives as long as the type
    if (own == nullptr) return;
    memcpy(own, suite, place.suite_bytes);
    suite = own;
  }
  field_ref<void*>(suite, place.offset) = function;
}

// A wrapper is called with the base's slot function: for a watched object ours takes its place.
struct Replaced {
  void* base;
  void* ours;
};
constinit Replaced replaced[64]{};
constinit std::size_t replaced_count = 0;

struct LedRow {
  WrapperRow* row;
  WrapperFunction original;
};
constexpr std::size_t kMaxRows = 16;
constinit LedRow led_rows[kMaxRows]{};
constinit std::size_t led_row_count = 0;

template <std::size_t which>
PyObject* lead_call(PyObject* self, PyObject* args, void* slot, PyObject* kwargs) {
  if (watched_containers.find(self) != nullptr)
    for (std::size_t i = 0; i < replaced_count; ++i)
      if (replaced[i].base == slot) return led_rows[which].original(self, args, replaced[i].ours, kwargs);
  return led_rows[which].original(self, args, slot, kwargs);
}

template <std::size_t... which>
constexpr std::array<WrapperFunction, sizeof...(which)> lead_calls(std::index_sequence<which...>) {
  return {lead_call<which>...};
}
constexpr auto kLeadCalls = lead_calls(std::make_index_sequence<kMaxRows>());

void lead_row(WrapperRow* row) {
  for (std::size_t i = 0; i < led_row_count; ++i)
    if (led_rows[i].row == row) return;
  if (row == nullptr || led_row_count == kMaxRows) return;
  led_rows[led_row_count] = {row, row->wrapper};
  row->wrapper = kLeadCalls[led_row_count++];
}

}  // namespace

WrapperFunction lead_wrapper(PyObject* type, const char* name, WrapperFunction replacement, void** python_slot) {
  WrapperRow* row = row_of(type, name);
  if (row == nullptr) return nullptr;
  if (python_slot != nullptr) *python_slot = row->python_slot;
  const WrapperFunction original = row->wrapper;
  row->wrapper = replacement;
  return original;
}

bool learn_methods(ContainerKind& kind) {
  for (Mutator& mutator : kind.mutators) {
    if (mutator.base != nullptr) continue;
    mutator.descriptor = PyObject_GetAttrString(kind.base, mutator.name);
    if (mutator.descriptor == nullptr || mutator.descriptor->type != &PyMethodDescr_Type) return false;
    auto* definition = field<PyMethodDef*>(mutator.descriptor, kMethodDefinition);
    if (mutator.fast == nullptr && definition->flags != kMethO) return false;
    mutator.base = PyDescr_NewMethod(kind.base, definition);
    if (mutator.base == nullptr) return false;
    const bool fast = mutator.fast != nullptr;
    mutator.definition = {mutator.name,
                          fast ? reinterpret_cast<void*>(mutator.fast) : reinterpret_cast<void*>(mutator.one_argument),
                          fast ? kMethFastcall | kMethKeywords : kMethO, definition->doc};
  }
  for (std::size_t i = 0; i < kind.slots.size(); ++i)
    if (const SlotPlace* place = place_of(kind.slots[i].slot)) kind.base_slots[i] = slot_at(kind.base, *place);
  return true;
}

void lead_methods(ContainerKind& kind) {
  for (Mutator& mutator : kind.mutators) {
    const Ref ours(PyDescr_NewMethod(kind.base, &mutator.definition));
    if (!ours) continue;
    field_ref<PyMethodDef*>(mutator.descriptor, kMethodDefinition) = &mutator.definition;
    field_ref<PyVectorcall>(mutator.descriptor, kMethodVectorcall) = field<PyVectorcall>(ours.get(), kMethodVectorcall);
  }
  PyType_Modified(kind.base);
}

void lead_wrappers(const ContainerKind& kind) {
  for (std::size_t i = 0; i < kind.slots.size(); ++i) {
    if (kind.base_slots[i] == nullptr || replaced_count == sizeof replaced / sizeof *replaced) continue;
    replaced[replaced_count++] = {kind.base_slots[i], kind.slots[i].function};
    for (const SlotPlace& place : kPlaces)
      if (place.slot == kind.slots[i].slot && place.name != nullptr) lead_row(row_of(kind.base, place.name));
  }
}

void lead_slots(const ContainerKind& kind, PyObject* type) {
  bool changed = false;
  for (std::size_t i = 0; i < kind.slots.size(); ++i) {
    for (const SlotPlace& place : kPlaces) {
      if (place.slot != kind.slots[i].slot || kind.base_slots[i] == nullptr) continue;
      if (slot_at(type, place) != kind.base_slots[i]) continue;
      write_slot(type, place, kind.slots[i].function);
      changed = true;
    }
  }
  if (changed) PyType_Modified(type);
}

}  // namespace watcher::python

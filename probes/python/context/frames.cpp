#include "probes/python/context/frames.h"

#include <string.h>

#include "probes/python/events/emit.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/loading/hooked_code.h"
#include "runtime/capture/memory_watch.h"

namespace watcher::python {
namespace {

constexpr int kOwnedByCStack = 3;  // 3.12+: the shim frame under each entry of the evaluation loop, no Python code
constexpr int kMaxDepth = 4000;

const std::uint8_t* bytes_data(const PyObject* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes) + 32;
}

// co_lnotab, Objects/lnotab_notes.txt: pairs (byte increment, signed line increment).
int line_from_lnotab(const PyObject* table, int line, int instruction) {
  const std::uint8_t* entry = bytes_data(table);
  int address = 0;
  for (ssize_t left = size_of(table) / 2; left > 0; --left, entry += 2) {
    address += entry[0];
    if (address > instruction) break;
    line += static_cast<std::int8_t>(entry[1]);
  }
  return line;
}

// 3.10 co_linetable (PEP 626): pairs (byte length, signed line delta), delta -128 means "no line".
int line_from_pairs(const PyObject* table, int line, int instruction) {
  const std::uint8_t* entry = bytes_data(table);
  int end = 0;
  for (ssize_t left = size_of(table) / 2; left > 0; --left, entry += 2) {
    const auto delta = static_cast<std::int8_t>(entry[1]);
    end += entry[0];
    if (delta != -128) line += delta;
    if (end > instruction) return delta == -128 ? -1 : line;
  }
  return -1;
}

std::uint32_t read_varint(const std::uint8_t*& at) {
  std::uint32_t value = *at & 63;
  for (int shift = 6; (*at++ & 64) != 0; shift += 6) value |= static_cast<std::uint32_t>(*at & 63) << shift;
  return value;
}

int read_signed_varint(const std::uint8_t*& at) {
  const std::uint32_t value = read_varint(at);
  return (value & 1) != 0 ? -static_cast<int>(value >> 1) : static_cast<int>(value >> 1);
}

// 3.11+ co_linetable, Objects/locations.md: one entry a run of code units, first byte 1ccccnnn.
int line_from_locations(const PyObject* table, int line, int instruction) {
  const std::uint8_t* entry = bytes_data(table);
  const std::uint8_t* const end_of_table = entry + size_of(table);
  int end = 0;
  while (entry < end_of_table) {
    const std::uint8_t head = *entry;
    const int code = (head >> 3) & 15;
    const std::uint8_t* data = entry + 1;
    end += ((head & 7) + 1) * 2;
    if (code == 13 || code == 14) line += read_signed_varint(data);
    if (code >= 10 && code <= 12) line += code - 10;
    if (end > instruction) return code == 15 ? -1 : line;
    for (++entry; entry < end_of_table && (*entry & 128) == 0;) ++entry;
  }
  return -1;
}

int instruction_of(void* frame, const PyObject* code) {
  if (compat.minor <= 9) return field<int>(frame, compat.frame_last);
  if (compat.minor == 10) return field<int>(frame, compat.frame_last) * 2;  // counted in code units
  const auto* at = field<const char*>(frame, compat.frame_last);
  return static_cast<int>(at - (reinterpret_cast<const char*>(code) + compat.code_instructions));
}

/// A str as bytes for the dictionary: in place for ASCII, else encoded into `room`.
std::string_view text_view(PyObject* text, char* room, std::size_t size) {
  if (text == nullptr) return {};
  const auto state = field<std::uint32_t>(text, 32);
  if ((state >> 5 & 3) == 3)  // compact and ASCII
    return {reinterpret_cast<const char*>(text) + compat.text_ascii, static_cast<std::size_t>(size_of(text))};
  std::uint64_t total = 0;
  return {room, write_utf8(text, room, size, &total)};
}

std::string_view function_name(const PyObject* code, char* room, std::size_t size) {
  if (compat.code_qualified_name >= 0) return text_view(field<PyObject*>(code, compat.code_qualified_name), room, size);
  const std::string_view qualified = qualified_name_of(code);
  return !qualified.empty() ? qualified : text_view(field<PyObject*>(code, compat.code_name), room, size);
}

DictionaryRef intern_position(const FramePosition& at) {
  char function[256];
  char file[1024];
  return intern_place(function_name(at.code, function, sizeof function),
                      text_view(field<PyObject*>(at.code, compat.code_file), file, sizeof file),
                      line_of(at.code, at.instruction));
}

// Places by code and instruction. An entry keeps its code object alive, so that its address cannot come to mean
// another; therefore the table is bounded and never evicts, and holds no code that comes from no file: that is to die.
struct PlaceEntry {
  PyObject* code;
  std::uintptr_t last;  // as the frame has it
  DictionaryRef place;
};
constexpr std::size_t kPlaceEntries = 4096;
constinit PlaceEntry places[kPlaceEntries] = {};

bool comes_from_file(const PyObject* code) {
  char first[8];
  const std::string_view name = text_view(field<PyObject*>(code, compat.code_file), first, sizeof first);
  return name.empty() || name[0] != '<';
}

constexpr int kHiddenFiles = 4;
constinit const PyObject* hidden_files[kHiddenFiles] = {};

bool is_hidden(const PyObject* file) {
  for (int i = 0; i < kHiddenFiles && hidden_files[i] != nullptr; ++i)
    if (hidden_files[i] == file) return true;
  return false;
}

constinit std::uint32_t most_callers = 0;

/// The next frame that runs Python code of the program, from this one on.
void* python_frame_from(void* frame) {
  for (int depth = 0; frame != nullptr && depth < kMaxDepth; ++depth, frame = field(frame, compat.frame_back)) {
    if (compat.minor >= 12 && field<std::uint8_t>(frame, compat.frame_owner) == kOwnedByCStack) continue;
    const PyObject* code = code_of(frame);
    if (code == nullptr || code->type != &PyCode_Type) continue;
    if (!is_hidden(field<PyObject*>(code, compat.code_file))) return frame;
  }
  return nullptr;
}

FramePosition position_of(void* frame) {
  PyObject* code = code_of(frame);
  return {.code = code, .instruction = instruction_of(frame, code)};
}

/// The frame's word for its last instruction: an index, or an address.
std::uintptr_t last_of(void* frame) {
  return compat.minor <= 10 ? field<std::uint32_t>(frame, compat.frame_last)
                            : field<std::uintptr_t>(frame, compat.frame_last);
}

/// `count` grows place by place, so that it is right whenever the walk ends.
void walk_callers(void* state, DictionaryRef (*place_of)(void* frame), DictionaryRef* places, std::uint32_t* count) {
  *count = 0;
  void* frame = innermost_python_frame(state);
  while (frame != nullptr && *count < most_callers) {
    frame = python_frame_from(field(frame, compat.frame_back));
    if (frame != nullptr) places[(*count)++] = place_of(frame);
  }
}

PlaceEntry& entry_of(const PyObject* code, std::uintptr_t last) {
  const auto hash = (reinterpret_cast<std::uintptr_t>(code) / 16 + last) * 0x9e3779b97f4a7c15u;
  return places[(hash >> 32) % kPlaceEntries];
}

DictionaryRef remembered_place(void* frame) {
  const FramePosition at = position_of(frame);
  const std::uintptr_t last = last_of(frame);
  PlaceEntry& entry = entry_of(at.code, last);
  if (entry.code == at.code && entry.last == last) return entry.place;
  const DictionaryRef place = intern_position(at);
  if (entry.code == nullptr && place != 0 && comes_from_file(at.code)) {
    incref(at.code);
    entry = {.code = at.code, .last = last, .place = place};
  }
  return place;
}

DictionaryRef place_of_frame(void* frame) {
  return intern_position(position_of(frame));
}

}  // namespace

void* innermost_python_frame(void* state) {
  return state != nullptr ? python_frame_from(frame_of(state)) : nullptr;
}

bool innermost_frame(void* state, FramePosition* out) {
  void* frame = innermost_python_frame(state);
  if (frame == nullptr) return false;
  *out = position_of(frame);
  return true;
}

void hide_frames_of(PyObject* file) {
  for (const PyObject*& hidden : hidden_files) {
    if (hidden == file) return;
    if (hidden != nullptr) continue;
    incref(file);
    hidden = file;
    return;
  }
}

void record_callers(std::uint32_t most) {
  most_callers = most < kMaxStack ? most : kMaxStack;
}

std::uint32_t callers_here(DictionaryRef* places) {
  std::uint32_t count = 0;
  walk_callers(thread_state(), remembered_place, places, &count);
  return count;
}

std::uint32_t callers_of_writer(void* places, std::uint32_t* count) {
  walk_callers(PyGILState_GetThisThreadState(), place_of_frame, static_cast<DictionaryRef*>(places), count);
  return *count;
}

int line_of(const PyObject* code, int instruction) {
  const auto* table = field<const PyObject*>(code, compat.code_line_table);
  const int first = field<int>(code, compat.code_first_line);
  if (instruction < 0) return first;
  const int line = compat.minor <= 9    ? line_from_lnotab(table, first, instruction)
                   : compat.minor == 10 ? line_from_pairs(table, first, instruction)
                                        : line_from_locations(table, first, instruction);
  return line < 0 ? first : line;
}

Position position_here() {
  FramePosition at;
  if (!innermost_frame(thread_state(), &at)) return {};
  char function[256];
  char file[1024];
  return {.function = std::string(function_name(at.code, function, sizeof function)),
          .file = std::string(text_view(field<PyObject*>(at.code, compat.code_file), file, sizeof file)),
          .line = line_of(at.code, at.instruction)};
}

// A place that is remembered is one of the program's: no need to look what kind of frame it is.
DictionaryRef place_here() {
  static const PlaceEntry* latest = &places[0];
  void* state = thread_state();
  void* frame = state != nullptr ? frame_of(state) : nullptr;
  if (frame == nullptr) return 0;
  const PyObject* code = code_of(frame);
  const std::uintptr_t last = last_of(frame);
  if (code != latest->code || last != latest->last) latest = &entry_of(code, last);
  if (code == latest->code && last == latest->last && code != nullptr) [[likely]]
    return latest->place;
  frame = python_frame_from(frame);
  return frame != nullptr ? remembered_place(frame) : 0;
}

DictionaryRef place_of_writer(void* ucontext, DictionaryRef* context) {
  void* state = PyGILState_GetThisThreadState();
  *context = known_thread_context(state);
  FramePosition at;
  if (innermost_frame(state, &at)) return intern_position(at);
  return ucontext == nullptr && finalizing() ? kNoEvent : 0;
}

bool frames_self_check() {
  void* frame = PyEval_GetFrame();
  FramePosition at;
  if (frame == nullptr || !innermost_frame(thread_state(), &at)) return false;
  Ref line(PyObject_GetAttrString(static_cast<PyObject*>(frame), "f_lineno"));
  Ref code(PyObject_GetAttrString(static_cast<PyObject*>(frame), "f_code"));
  if (!line || !code) {
    PyErr_Clear();
    return false;
  }
  const bool has_line = line.get() != &_Py_NoneStruct;
  return code.get() == at.code && (!has_line || PyLong_AsLong(line.get()) == line_of(at.code, at.instruction));
}

}  // namespace watcher::python

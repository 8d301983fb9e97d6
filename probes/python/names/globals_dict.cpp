#include "probes/python/names/globals_dict.h"

#include <algorithm>

#include "probes/python/api/debugger.h"
#include "probes/python/context/frames.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/loading/code_swap.h"
#include "probes/python/loading/hooked_code.h"
#include "probes/python/names/module_globals.h"

namespace watcher::python {
namespace {

enum DictEvent { kAdded, kModified, kDeleted, kCloned, kCleared, kDeallocated };

constinit int watcher_id = -1;
constinit const PyObject* expected_globals = nullptr;
constinit const PyObject* expected_name = nullptr;

std::uint8_t opcode_of(void* frame, PyObject* code) {
  constexpr std::uint8_t kFirstInstrumented = 236;  // sys.monitoring has put its own in the place
  const auto* at = field<const std::uint8_t*>(frame, compat.frame_last);
  if (*at < kFirstInstrumented) return *at;
  const Ref bytes(PyCode_GetCode(code));
  const std::ptrdiff_t offset = at - (reinterpret_cast<const std::uint8_t*>(code) + compat.code_instructions);
  if (!bytes || offset < 0 || offset >= size_of(bytes.get())) return 0;
  return reinterpret_cast<const std::uint8_t*>(bytes.get())[32 + offset];
}

bool is_hooked_store_of(void* frame, PyObject* code) {
  // STORE_NAME, STORE_GLOBAL, DELETE_NAME, DELETE_GLOBAL, CALL_INTRINSIC_1
  static constexpr std::uint8_t kStores312[] = {90, 97, 91, 98, 173};
  static constexpr std::uint8_t kStores313[] = {114, 113, 67, 66, 55};
  const std::uint8_t opcode = opcode_of(frame, code);
  for (std::uint8_t store : compat.minor >= 13 ? kStores313 : kStores312)
    if (opcode == store) return is_hooked_code(code);
  return false;
}

/// A store or del of instrumented code, or its star-import: the hook behind it tells.
bool is_hooked_store(const PyObject* globals) {
  // Stores come in loops. The name tells an address that is used again.
  static const void *latest = nullptr, *name_of_latest = nullptr;
  void* state = thread_state();
  void* frame = state != nullptr ? frame_of(state) : nullptr;
  const auto runs_on_globals = [&] { return frame != nullptr && field(frame, compat.frame_globals) == globals; };
  if (runs_on_globals() && field(frame, compat.frame_last) == latest &&
      field(code_of(frame), compat.code_name) == name_of_latest) [[likely]]
    return true;
  frame = innermost_python_frame(state);
  if (!runs_on_globals() || !is_hooked_store_of(frame, code_of(frame))) return false;
  latest = field(frame, compat.frame_last);
  name_of_latest = field(code_of(frame), compat.code_name);
  return true;
}

void tell(Namespace& space, Variable& variable, const std::string& name, PyObject* value, DictionaryRef place,
          bool exact) {
  Subject subject = subject_of_global(space, variable, name, place);
  subject.exact = exact;
  if (value != nullptr)
    record_binding(subject, variable, value, name, space.rules->path());
  else
    record_unbinding(subject, variable);
  if (compat.minor >= 12 && (attention & kBreaks) != 0) break_later();
}

/// clear(), or an empty dictionary that becomes a copy of `source`.
void tell_all(Namespace& space, PyObject* globals, PyObject* source) {
  for (auto& [name, variable] : space.variables) {
    PyObject* present = PyDict_GetItemString(source != nullptr ? source : globals, name.c_str());
    if (variable.watched && present != nullptr)
      tell(space, variable, name, source != nullptr ? present : nullptr, place_here(), true);
  }
}

/// The collector has found it unreachable and takes it apart: a module whose import failed.
bool is_garbage(const PyObject* object) {
  constexpr int kGcPrevious = -8;
  constexpr std::uintptr_t kCollecting = 2;
  return (field<std::uintptr_t>(object, kGcPrevious) & kCollecting) != 0;
}

// Before the dictionary changes.
int on_change(int event, PyObject* globals, PyObject* key, PyObject* value) {
  if (event == kDeallocated || (event == kCleared && is_garbage(globals))) return 0;
  if (globals == expected_globals && key == expected_name) {
    expected_globals = nullptr;
    return 0;
  }
  const bool whole = event == kCleared || event == kCloned;
  if (!whole && is_hooked_store(globals)) return 0;
  Namespace* space = find_namespace(globals);
  if (space == nullptr || space->rules == nullptr || finalizing()) return 0;
  KeepException keep;
  if (whole) {
    if (ensure_session()) tell_all(*space, globals, event == kCloned ? key : nullptr);
    return 0;
  }
  const std::string name = text_of_name(key);
  Variable* variable = watched_global(*space, name);
  if (variable == nullptr || !ensure_session()) return 0;
  if (variable->handler != 0 && PyDict_GetItemWithError(globals, key) == nullptr) variable->leave_handler();
  tell(*space, *variable, name, event == kDeleted ? nullptr : value, place_here(), true);
  return 0;
}

/// Of the module's own code it is certain in which of its handlers it is.
void leave_handlers(const Site& site, const PyObject* globals) {
  Namespace* space = find_namespace(globals);
  if (space == nullptr) return;
  for (auto& [name, variable] : space->variables)
    if (variable.handler != 0 &&
        std::find(site.handlers.begin(), site.handlers.end(), variable.handler) == site.handlers.end())
      variable.leave_handler();
}

PyObject* on_check(PyObject* self, PyObject* const*, ssize_t) {
  Site& site = *field<Site*>(self, 16);
  if (ensure_session()) {
    if (site.subject.place == 0) site.subject.place = intern_place(site.function, site.file, site.line);
    auto* globals = field<PyObject*>(current_frame(), compat.frame_globals);
    if (site.declared_global) leave_handlers(site, globals);
    check_dictionary(globals, site.subject.place);
  }
  const bool breaks = (attention & kBreaks) != 0 && (compat.minor >= 12 ? later_break_asked() : break_asked());
  if (breaks && !enter_debugger()) return nullptr;
  return Ref::borrow(&_Py_NoneStruct).release();
}

PyMethodDef definition{"__watcher__", reinterpret_cast<void*>(on_check), kMethFastcall, nullptr};

constinit const RuleSet* rules_of_next = nullptr;

void begin_without_source(PyObject* globals) {
  namespace_of(globals, rules_of_next).renew(globals);
  watch_module_attributes();
  watch_dictionary(globals);
}

}  // namespace

void watch_dictionary(PyObject* globals) {
  if (PyDict_AddWatcher == nullptr || globals->type != &PyDict_Type) return;
  KeepException keep;
  if (watcher_id < 0) watcher_id = PyDict_AddWatcher(on_change);
  if (watcher_id >= 0) PyDict_Watch(watcher_id, globals);
}

void expect_store(const PyObject* globals, const PyObject* name) {
  expected_globals = globals;
  expected_name = name;
}

void check_dictionary(PyObject* globals, DictionaryRef place) {
  constexpr int kVersion = 24;  // ma_version_tag, up to 3.11
  Namespace* space = compat.minor <= 11 ? find_namespace(globals) : nullptr;
  if (space == nullptr || finalizing() || space->version == field<std::uint64_t>(globals, kVersion) ||
      !ensure_session())
    return;
  space->version = field<std::uint64_t>(globals, kVersion);
  KeepException keep;
  for (auto& [name, variable] : space->variables) {
    if (!variable.watched) continue;
    PyObject* present = PyDict_GetItemString(globals, name.c_str());
    if (present == nullptr && variable.handler != 0) continue;  // its handler was left
    if (present != variable.object) tell(*space, variable, name, present, place, false);
  }
}

PyMethodDef* check_method() {
  return &definition;
}

void watch_globals_of(PyObject* code, const RuleSet& rules) {
  rules_of_next = &rules;
  if (!tell_globals(code, begin_without_source)) PyErr_Clear();
}

}  // namespace watcher::python

#include "probes/python/names/variables.h"

#include <string.h>

#include "probes/python/interpreter/compat.h"
#include "probes/python/names/attribute_paths.h"
#include "probes/python/names/module_globals.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

bool option_is(const char* name, const char* wanted) {
  const char* value = runtime->option(name);
  return value != nullptr && strcmp(value, wanted) == 0;
}

/// A name from a rule is watched before it is bound, so its first binding changes it: from unbound. It may be taken for
/// the initial state instead, as what watch() is called with always is.
bool first_bindings_are_initial() {
  static const bool initial = option_is("first_bindings", "skip");
  return initial;
}

bool records_init() {
  static const bool wanted = [] {
    const char* value = runtime->option("record_init");
    return value != nullptr && value[0] == 't';
  }();
  return wanted;
}

}  // namespace

void Variable::renew(bool from_rule) {
  before.clear();
  object = nullptr;
  watched = from_rule;
  given = nullptr;
  ever_bound = false;
  handler = 0;
  variable = 0;
  untrack();
}

void Variable::leave_handler() {
  object = nullptr;
  before.clear();
  untrack();
  handler = 0;
}

void Variable::track(PyObject* value, std::string_view name, std::string_view owner, Scope scope, DictionaryRef known) {
  if (tracked != value) untrack();
  // what watch() was called with stays watched when the function is left
  tracked_frame = variable != 0 ? nullptr : frame;
  const Tracked request{.name = shown_name(name),
                        .owner = owner,
                        .scope = scope,
                        .references = 2,
                        .frame = tracked_frame,
                        .keeper = tracked_frame != nullptr ? keeper : nullptr,
                        .by_rule = given == nullptr,
                        .request = given,
                        .known = known};
  tracked_variable = track_value(value, request);
  tracked = tracked_variable != 0 ? value : nullptr;
}

void Variable::take(PyObject* value, std::string_view name, std::string_view owner, Scope scope) {
  watched = true;
  object = value;
  before.assign(encode(value, scratch_before));
  ever_bound = value != nullptr;
  from_watch = false;
  if (value != nullptr) track(value, name, owner, scope);
}

bool Variable::holds(PyObject* value) const {
  const Value& held = before.value();
  const Value now = encode(value, scratch_after);
  if (held.kind != now.kind || held.type_name != now.type_name) return false;
  if (is_inline(held.kind)) return held.word == now.word;
  if (held.kind == ValueKind::kObject || held.stored != held.total) return object == value;
  return held.total == now.total && memcmp(held.data, now.data, held.stored) == 0;
}

// Only contents that an event shows: a container's repr, a bytearray's bytes.
bool Variable::refresh() {
  Value now = before.value();
  if (tracked == nullptr) return true;
  if (!tracked_state(tracked, tracked_variable, tracked_frame, &now)) return now.kind == ValueKind::kObject;
  const bool shown =
      now.kind == before.value().kind && (now.kind == ValueKind::kBytes || now.type_name == before.value().type_name);
  if (shown && now.data != before.value().data) before.assign(now);
  return true;
}

void Variable::untrack() {
  if (tracked != nullptr) untrack_value(tracked, tracked_variable, tracked_frame);
  tracked = nullptr;
}

// Frames are told apart by address. An address is used again only by a frame that is entered anew, and every hooked
// body starts with an entry hook, so an entry can be stale but never wrong. There are as many entries as frames of that
// function were ever alive at once, about: the interpreter uses their memory again.
std::vector<Variable>& CodeSites::locals(const void* frame) {
  std::vector<Variable>& variables = frames_[frame];
  if (variables.size() != slot_from_rule.size()) {
    variables.resize(slot_from_rule.size());
    for (std::size_t i = 0; i < variables.size(); ++i) {
      variables[i].renew(slot_from_rule[i]);
      variables[i].frame = frame;
    }
  }
  return variables;
}

// Both tables are process-lifetime: sites keep pointers into them.
static auto& namespaces() {
  static auto* table = new std::unordered_map<const PyObject*, Namespace>;
  return *table;
}

Namespace* find_namespace(const PyObject* dictionary) {
  const auto found = namespaces().find(dictionary);
  return found != namespaces().end() ? &found->second : nullptr;
}

Namespace& namespace_of(const PyObject* dictionary, const RuleSet* rules) {
  Namespace& space = namespaces()[dictionary];
  if (space.rules == nullptr || space.rules->empty()) space.rules = rules;
  return space;
}

Variable& cell_variable(const PyObject* cell) {
  static auto* table = new std::unordered_map<const PyObject*, Variable>;
  Variable& variable = (*table)[cell];
  variable.frame = variable.keeper = cell;
  return variable;
}

Variable& Namespace::variable(const std::string& name) {
  const auto [found, fresh] = variables.try_emplace(name);
  Variable& made = found->second;
  if (!fresh) return made;
  made.renew(rules->wants_global(name));
  made.by_name = rules->wants(name, "", true);
  std::vector<std::string> attributes = rules->attributes_of(name);
  if (!attributes.empty())
    made.paths = new AttributePaths(name, rules->path(), Scope::kGlobal, std::move(attributes), nullptr);
  return made;
}

bool Namespace::begin(PyObject* dictionary, const RuleSet* its_rules) {
  PyObject *name, *value;
  for (ssize_t position = 0; PyDict_Next(dictionary, &position, &name, &value) != 0;)
    if (name->type != &PyUnicode_Type || !text_of_name(name).starts_with("__")) return false;
  rules = its_rules;
  for (auto& [known, variable] : variables) variable.renew(false);
  return true;
}

void Namespace::renew(PyObject* dictionary) {
  KeepException keep;
  for (auto& [name, variable] : variables) {
    PyObject* present = PyDict_GetItemString(dictionary, name.c_str());
    // the next statement at a prompt, the next cell, a reload: what it held it holds on to
    if (present != nullptr && variable.watched && variable.tracked == present) continue;
    const bool by_call = variable.watched && variable.variable != 0;
    const DictionaryRef renamed = variable.variable;
    const WatchRequest* given = variable.given;
    variable.renew(by_call || rules->wants_global(name));
    if (by_call) variable.variable = renamed;
    if (by_call) variable.given = given;
    variable.object = present;
    if (present == nullptr || !ensure_session()) continue;
    if (variable.paths != nullptr) variable.paths->bind(present, 0, true);
    if (variable.only_attributes()) continue;
    variable.before.assign(encode(present, scratch_before));
    variable.ever_bound = true;
  }
}

void record_binding(const Subject& subject, Variable& variable, PyObject* value, std::string_view name,
                    std::string_view owner) {
  if (variable.paths != nullptr) [[unlikely]] {
    variable.paths->bind(value, subject.place, false);
    variable.object = value;
    if (variable.only_attributes()) return;
  }
  Subject exactly = subject;
  if (variable.tracked != nullptr && !variable.refresh()) exactly.exact = false;
  const Value after = encode(value, scratch_after);
  const bool initial = variable.from_watch || (!variable.ever_bound && first_bindings_are_initial());
  const Op op = initial ? Op::kInit : Op::kStore;
  variable.from_watch = false;
  if (op == Op::kStore || records_init()) emit(op, exactly, nullptr, variable.before.value(), after);
  variable.before.assign(after);
  variable.object = value;
  variable.ever_bound = true;
  if (after.kind < ValueKind::kBytes && variable.tracked == nullptr) [[likely]]
    return;
  variable.track(value, name, owner, subject.scope, subject.variable);
}

void record_unbinding(const Subject& subject, Variable& variable) {
  if (variable.paths != nullptr) variable.paths->bind(nullptr, subject.place, false);
  if (variable.only_attributes()) {
    variable.object = nullptr;
    return;
  }
  Subject exactly = subject;
  if (!variable.refresh()) exactly.exact = false;
  emit(Op::kDelete, exactly, nullptr, variable.before.value(), Value{});
  variable.before.clear();
  variable.object = nullptr;
  variable.untrack();
}

}  // namespace watcher::python

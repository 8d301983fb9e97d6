#include "probes/python/variables.h"

#include "probes/python/compat.h"
#include "probes/python/tracked.h"

namespace watcher::python {
namespace {

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
  watched = from_rule;
  ever_bound = false;
  handler = 0;
  variable = 0;
  tracked = nullptr;
}

// Frames are told apart by address. An address is used again only by a frame that is entered anew, and every hooked body
// starts with an entry hook, so an entry can be stale but never wrong. There are as many entries as frames of that function
// were ever alive at once, about: the interpreter uses their memory again.
std::vector<Variable>& CodeSites::locals(const void* frame) {
  std::vector<Variable>& variables = frames_[frame];
  if (variables.size() != slot_from_rule.size()) {
    variables.resize(slot_from_rule.size());
    for (std::size_t i = 0; i < variables.size(); ++i) variables[i].renew(slot_from_rule[i]);
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
  space.rules = rules;
  return space;
}

Variable& cell_variable(const PyObject* cell) {
  static auto* table = new std::unordered_map<const PyObject*, Variable>;
  return (*table)[cell];
}

Variable& Namespace::variable(const std::string& name) {
  const auto [found, fresh] = variables.try_emplace(name);
  if (fresh) found->second.renew(rules->wants(name, "", true));
  return found->second;
}

void Namespace::renew(PyObject* dictionary) {
  KeepException keep;
  for (auto& [name, variable] : variables) {
    variable.renew(rules->wants(name, "", true));
    PyObject* present = PyDict_GetItemString(dictionary, name.c_str());
    if (present == nullptr || !ensure_session()) continue;
    variable.before.assign(encode(present, scratch_before));
    variable.ever_bound = true;
  }
}

void record_binding(const Subject& subject, Variable& variable, PyObject* value, std::string_view name, std::string_view owner) {
  const Value after = encode(value, scratch_after);
  const Op op = variable.ever_bound ? Op::kStore : Op::kInit;
  if (op == Op::kStore || records_init()) emit(op, subject, nullptr, variable.before.value(), after);
  variable.before.assign(after);
  variable.ever_bound = true;
  if (after.kind < ValueKind::kBytes && variable.tracked == nullptr) [[likely]] return;
  if (variable.tracked != nullptr && variable.tracked != value) untrack_value(variable.tracked);
  const Tracked tracked{.name = name, .owner = owner, .scope = subject.scope, .references = 2};
  variable.tracked = track_value(value, tracked) ? value : nullptr;
}

void record_unbinding(const Subject& subject, Variable& variable) {
  emit(Op::kDelete, subject, nullptr, variable.before.value(), Value{});
  variable.before.clear();
  if (variable.tracked != nullptr) untrack_value(variable.tracked);
  variable.tracked = nullptr;
}

}  // namespace watcher::python

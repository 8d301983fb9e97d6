#include "probes/python/api/unwatch.h"

#include <map>
#include <vector>

#include "probes/python/containers/containers_table.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

/// By variable: its name in the source.
auto& given_variables() {
  static auto* all = new std::map<Variable*, std::string>;  // process-lifetime
  return *all;
}

void end(Variable& variable, const std::string& name) {
  const void* frame = variable.frame;
  const PyObject* keeper = variable.keeper;
  variable.renew(false);
  variable.frame = frame;
  variable.keeper = keeper;
  forget_watched_global(name);
}

template <class Matches>
bool end_given(Matches matches) {
  bool any = false;
  for (const auto& [variable, name] : given_variables()) {
    if (variable->given == nullptr || !matches(*variable, name)) continue;
    end(*variable, name);
    any = true;
  }
  return any;
}

struct Hold {
  PyObject* object;
  DictionaryRef variable;
  const void* frame;
};

template <class Matches>
bool end_holds(Matches matches) {
  std::vector<Hold> found;
  watched_containers.for_each([&](const WatchedContainer& watched) {
    for (std::uint32_t i = 0; i < watched.count; ++i)
      if (watched.holders[i].paths == nullptr && matches(watched, watched.holders[i].variable))
        found.push_back({watched.object, watched.holders[i].variable, watched.holders[i].frame});
  });
  for (const Hold& hold : found) untrack_value(hold.object, hold.variable, hold.frame);
  return !found.empty();
}

}  // namespace

void note_given(Variable* variable, const std::string& name) {
  given_variables()[variable] = name;
}

void forget_given(Variable* variable) {
  given_variables().erase(variable);
}

void unwatch_name(std::string_view name) {
  if (!ring) return;
  end_given([name](const Variable& variable, const std::string& own) { return variable.shown_name(own) == name; });
  end_holds([name](const WatchedContainer&, DictionaryRef variable) { return name_of_variable(variable) == name; });
  unwatch_buffers(name);
}

bool unwatch_object(PyObject* object) {
  const bool given =
      end_given([object](const Variable& variable, const std::string&) { return variable.tracked == object; });
  const bool held =
      end_holds([object](const WatchedContainer& watched, DictionaryRef) { return watched.object == object; });
  return unwatch_buffer(object) || held || given;
}

void unwatch_request(const WatchRequest* request) {
  end_given([request](const Variable& variable, const std::string&) { return variable.given == request; });
}

}  // namespace watcher::python

// What each watched variable held before: the shadow memory of names.
//
// Threads: the GIL is held.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "probes/python/names/names.h"

namespace watcher::python {

class AttributePaths;

/// One variable alive: a local of one frame, a closure cell, a global of one module.
struct Variable {
  Shadow before;
  bool watched = false;
  const WatchRequest* given = nullptr;  // by a watch() call
  bool ever_bound = false;
  bool from_watch = false;           // the binding under way is that of a watch() call
  const PyObject* object = nullptr;  // the value bound last: an address
  std::uint32_t life = 0;            // of the generator expression whose variable it is: its keeper's
  std::int32_t handler = 0;          // bound by `except … as`: unbound when that handler is left
  DictionaryRef variable = 0;        // when watch(name=…) renamed it
  const void* frame = nullptr;       // of a local; the cell of a closure variable; null: a global
  const PyObject* keeper = nullptr;  // that cell, or the generator whose frame it is
  PyObject* tracked = nullptr;       // value that is watched in place: an address, perhaps of a dead object
  DictionaryRef tracked_variable = 0;
  const void* tracked_frame = nullptr;
  AttributePaths* paths = nullptr;  // a global: the attributes that rules name
  bool by_name = true;              // false: only these count

  void renew(bool from_rule);
  /// The name that its events show.
  std::string_view shown_name(std::string_view name) const {
    return given != nullptr && !given->name.empty() ? std::string_view(given->name) : name;
  }
  /// The end of `except … as x` unbound it.
  void leave_handler();
  /// Watches the new value in place, and the old one no more for this variable. `known`: see Tracked.
  void track(PyObject* value, std::string_view name, std::string_view owner, Scope scope, DictionaryRef known = 0);
  /// It is watched from here on, and holds that already; null: unbound.
  void take(PyObject* value, std::string_view name, std::string_view owner, Scope scope);
  /// As far as it can be told without asking the object.
  bool holds(PyObject* value) const;
  void untrack();
  /// Brings `before` up to date with what happened inside the value. False: that is not known any more.
  bool refresh();
  bool only_attributes() const { return !by_name && given == nullptr; }
  /// Nothing to think about when it is bound again to a number.
  bool plain() const { return ever_bound && handler == 0 && tracked == nullptr && is_inline(before.value().kind); }
};

/// The hooked code object: its local variables, by frame.
struct CodeSites {
  std::vector<bool> slot_from_rule;
  std::vector<std::pair<std::int32_t, bool>> own_cells;  // index of a cell this code creates; from a rule?
  std::vector<Site*> sites;
  bool suspends = false;  // a generator or coroutine: its frames live on while they do not run

  /// The variables of a frame. The reference stays good: an entry is made once for each address a frame ever had.
  std::vector<Variable>& locals(const void* frame);

 private:
  std::unordered_map<const void*, std::vector<Variable>> frames_;
};

/// Globals of one module.
struct Namespace {
  const RuleSet* rules = nullptr;
  std::unordered_map<std::string, Variable> variables;
  std::uint64_t version = 0;  // up to 3.11: of the dictionary, when it was compared last

  /// The variable of that name; watched from now on when a rule names it.
  Variable& variable(const std::string& name);
  /// The module's body begins, before anything else is asked. True: for the first time, with nothing bound yet. Then
  /// the dictionary's address may have been another one's, which died with its module.
  bool begin(PyObject* dictionary, const RuleSet* its_rules);
  /// The module's body begins (again): what it binds already is what its variables hold.
  void renew(PyObject* dictionary);
};

/// By module dictionary; null when that module has no watched names.
Namespace* find_namespace(const PyObject* dictionary);
Namespace& namespace_of(const PyObject* dictionary, const RuleSet* rules);
/// By cell object.
Variable& cell_variable(const PyObject* cell);

/// The name was bound to `value`: one event (Op::kInit for a first binding, when those are wanted), and the value is
/// watched in place if it can be. `name` and `owner` are the variable's, as in Tracked.
void record_binding(const Subject& subject, Variable& variable, PyObject* value, std::string_view name,
                    std::string_view owner);
void record_unbinding(const Subject& subject, Variable& variable);

}  // namespace watcher::python

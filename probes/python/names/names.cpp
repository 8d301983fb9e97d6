#include "probes/python/names/names.h"

#include "probes/python/api/debugger.h"
#include "probes/python/api/unwatch.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/names/attribute_paths.h"
#include "probes/python/names/failed_import.h"
#include "probes/python/names/globals_dict.h"
#include "probes/python/names/keepers.h"
#include "probes/python/names/module_globals.h"
#include "probes/python/names/variables.h"
#include "probes/python/objects/tracked.h"
#include "probes/python/transform/put_off.h"

namespace watcher::python {
namespace {

// ---- what watch() said last

struct Announcement {
  PyObject* value;  // identity only
  const WatchRequest* request;
  DictionaryRef provisional;
};

std::vector<Announcement>& announcements() {
  thread_local std::vector<Announcement> pending;
  return pending;
}

/// Null: the value does not come from a watch() call.
const WatchRequest* take_announcement(PyObject* value) {
  auto& pending = announcements();
  for (auto it = pending.begin(); it != pending.end(); ++it) {
    if (it->value != value) continue;
    const WatchRequest* request = it->request;
    untrack_value(value, it->provisional, nullptr);  // the binding's own tracking follows
    pending.erase(it);
    return request;
  }
  return nullptr;
}

std::set<std::string, std::less<>>& watched_globals() {
  static auto* names = new std::set<std::string, std::less<>>;  // process-lifetime
  return *names;
}

// ---- recording

void intern_site(Site& site) {
  site.subject.variable = intern_variable(site.text, site.owner, site.subject.scope, nullptr);
  site.subject.place = intern_place(site.function, site.file, site.line);
  site.is_plain = site.subject.place != 0 && site.handlers.empty() && site.comprehension == nullptr;
}

bool lies_in(const Site& site, std::int32_t handler) {
  for (std::int32_t enclosing : site.handlers)
    if (enclosing == handler) return true;
  return false;
}

/// `except … as x` unbinds x when its handler is left, without a store of its own. Its own binding enters it anew.
void leave_handler(const Site& site, Variable& variable) {
  if (variable.handler != 0 && (variable.handler == site.binds_handler || !lies_in(site, variable.handler)))
    variable.leave_handler();
  variable.handler = site.handlers.empty() ? 0 : site.handlers.back();
}

void give(Site& site, Variable& variable, const WatchRequest* request) {
  variable.watched = variable.from_watch = true;
  variable.given = request;
  variable.ever_bound = false;
  if (site.declared_global) watched_globals().insert(site.text);
  variable.variable = intern_variable(variable.shown_name(site.text), site.owner, site.subject.scope, request);
  note_given(&variable, site.text);
}

/// `request`: of the watch() call that the value comes from; null: it comes from none.
void record_store(Site& site, Variable& variable, PyObject* value, const WatchRequest* request) {
  if (site.subject.place == 0) intern_site(site);
  if (request != nullptr) give(site, variable, request);
  if (!site.handlers.empty() || variable.handler != 0) [[unlikely]]
    leave_handler(site, variable);
  Subject subject = site.subject;
  if (variable.variable != 0) subject.variable = variable.variable;
  record_binding(subject, variable, value, site.text, site.owner);
}

void record_delete(Site& site, Variable& variable) {
  if (!variable.watched) return;
  if (site.subject.place == 0) intern_site(site);
  Subject subject = site.subject;
  if (variable.variable != 0) subject.variable = variable.variable;
  record_unbinding(subject, variable);
}

// ---- finding the variable

using Arguments = PyObject* const*;
constexpr int kCellContent = 16;

void* frame_of_call(Site& site, Arguments args) {
  const char* at = reinterpret_cast<const char*>(args);
  if (site.frame_offset == 0) [[unlikely]]
    site.frame_offset = at - static_cast<const char*>(current_frame());
  return const_cast<char*>(at - site.frame_offset);
}

Variable& local_of(Site& site, void* frame) {
  return site.code->locals(frame)[site.slot];
}

/// A name may be a cell in one part of a function only: where a comprehension inside it is evaluated.
bool is_cell(const void* value) {
  return value != nullptr && static_cast<const PyObject*>(value)->type == &PyCell_Type;
}

Variable& variable_in_frame(Site& site, void* frame) {
  if (site.declared_global)
    return namespace_of(field<PyObject*>(frame, compat.frame_globals), site.rules).variable(site.text);
  const void* cell = site.cell_index >= 0 ? field(frame, compat.frame_values + site.cell_index * 8) : nullptr;
  return is_cell(cell) ? cell_variable(static_cast<const PyObject*>(cell)) : local_of(site, frame);
}

/// A local is found by its frame, a closure variable by its cell, a global by its module's dictionary.
const void* key_of(Site& site, Arguments args) {
  if (site.declared_global) return field(frame_of_call(site, args), compat.frame_globals);
  if (site.cell_index < 0) [[likely]]
    return args;
  const void* cell = field(frame_of_call(site, args), compat.frame_values + site.cell_index * 8);
  return is_cell(cell) ? cell : args;
}

/// The one that was found there before; null: it has to be looked for.
Variable* known_variable(Site& site, Arguments args) {
  return key_of(site, args) == site.cached_key ? site.cached : nullptr;
}

Variable& variable_of(Site& site, Arguments args) {
  const void* key = key_of(site, args);
  if (key != site.cached_key) {
    site.cached = &variable_in_frame(site, frame_of_call(site, args));
    site.cached_key = key;
  }
  return *site.cached;
}

/// Each evaluation of a comprehension has variables of its own: a generator expression's live as long as its generator.
void begin_comprehension(Site& site, Variable& variable, void* frame) {
  const PyObject* generator = site.code->suspends ? generator_of(frame) : nullptr;
  if (site.comprehension->own_code && generator != nullptr) {
    const std::uint32_t life = keep_track_of(generator).life;
    if (variable.life == life) return;
    variable.renew(site.from_rule);
    variable.life = life;
  } else {
    const void* around = site.comprehension->own_code ? field(frame, compat.frame_back) : frame;
    if (site.comprehension->begun.erase({around, site.comprehension_name}) == 0) return;
    variable.renew(site.from_rule);
  }
  if (variable.frame == frame) variable.keeper = generator;
}

// ---- the hooks: METH_FASTCALL functions whose self is a capsule of the site

Site& site_of(PyObject* self) {
  return *field<Site*>(self, 16);
}  // PyCapsule.pointer

PyObject* none() {
  incref(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

PyObject* same(PyObject* value) {
  incref(value);
  return value;
}

/// The debugger's turn, when the event asked for it. False: it raised.
bool after_event() {
  if ((attention & kBreaks) == 0 || !break_asked()) [[likely]]
    return true;
  return enter_debugger();
}

__attribute__((noinline)) PyObject* on_other_store(Site& site, Arguments args) {
  PyObject* value = args[0];
  Variable& variable = variable_of(site, args);
  if (site.comprehension != nullptr) begin_comprehension(site, variable, frame_of_call(site, args));
  if (variable.watched && !is_nothing_bound(value) && ensure_session()) {
    record_store(site, variable, value, nullptr);
    if (!after_event()) return nullptr;
  }
  return same(value);
}

/// Numbers follow numbers: nothing to think about.
PyObject* on_store(PyObject* self, Arguments args, ssize_t) {
  Site& site = site_of(self);
  PyObject* value = args[0];
  Word after;
  Variable* variable = site.is_plain && (attention & kThoughtOfByHooks) == 0 ? known_variable(site, args) : nullptr;
  if (variable == nullptr || !variable->watched || !variable->plain() || !encode_word(value, &after))
    return on_other_store(site, args);
  const Value& before = variable->before.value();
  const DictionaryRef own = variable->variable != 0 ? variable->variable : site.subject.variable;
  const Word held{before.kind, before.word};
  variable->before.assign_inline(after);
  variable->object = value;
  emit_slot(Op::kStore, static_cast<std::uint8_t>(site.subject.scope), own, site.subject.place, 0, held, after);
  return same(value);
}

/// `watch(…, track_locals=True)`: the function's other locals as well, from here on.
void watch_locals(Site& site, void* frame) {
  for (Site* other : site.code->sites) {
    const std::int32_t index = other->cell_index >= 0 ? other->cell_index : other->local_index;
    if (!has_variable(other->kind) || other->declared_global || other->comprehension != nullptr || index < 0) continue;
    Variable& variable = variable_in_frame(*other, frame);
    if (variable.watched) continue;
    auto* value = field<PyObject*>(frame, compat.frame_values + index * 8);
    if (is_cell(value)) value = field<PyObject*>(value, kCellContent);
    variable.take(value, other->text, other->owner, Scope::kLocal);
  }
}

PyObject* on_watch_bind(PyObject* self, Arguments args, ssize_t) {
  Site& site = site_of(self);
  Variable& variable = variable_of(site, args);
  const WatchRequest* request = take_announcement(args[0]);
  if ((request == nullptr && !variable.watched) || !ensure_session()) return same(args[0]);
  record_store(site, variable, args[0], request);
  if (request != nullptr && request->locals && !site.declared_global) watch_locals(site, frame_of_call(site, args));
  return after_event() ? same(args[0]) : nullptr;
}

/// `self.x = watch(…)`: called with `self`; the site's text is "self.x".
PyObject* on_watch_attribute(PyObject* self, Arguments args, ssize_t) {
  Site& site = site_of(self);
  const std::size_t dot = site.text.find('.');
  std::string attribute = site.text.substr(dot + 1);
  PyObject* value = attribute_value(args[0], &attribute);
  const WatchRequest* request = value != nullptr ? take_announcement(value) : nullptr;
  if (request == nullptr || !ensure_session()) return none();
  watch_attribute(args[0], std::string_view(site.text).substr(0, dot), attribute, site.owner + "\n" + site.function,
                  site.function == "<module>" ? Scope::kGlobal : Scope::kLocal, request);
  return none();
}

PyObject* on_delete(PyObject* self, Arguments args, ssize_t) {
  Site& site = site_of(self);
  if (ensure_session()) record_delete(site, variable_of(site, args));
  return after_event() ? none() : nullptr;
}

void enter_module(Site& site, PyObject* globals) {
  Namespace& space = namespace_of(globals, site.rules);
  const bool is_new = space.begin(globals, site.rules);
  for (Site* other : site.code->sites)
    if (other->declared_global && has_variable(other->kind)) space.variable(other->text);
  for (const std::string& name : space.rules->plain_globals()) space.variable(name);
  if (!is_new) check_dictionary(globals, 0);
  space.renew(globals);
  watch_dictionary(globals);
}

PyObject* on_enter(PyObject* self, Arguments, ssize_t) {
  Site& site = site_of(self);
  void* frame = current_frame();
  if (site.declared_global) {
    enter_module(site, field<PyObject*>(frame, compat.frame_globals));
    return after_event() ? none() : nullptr;
  }
  if (compat.minor <= 11 && site.rules->names_globals())
    check_dictionary(field<PyObject*>(frame, compat.frame_globals), 0);
  CodeSites& code = *site.code;
  if (!code.slot_from_rule.empty()) {
    std::vector<Variable>& locals = code.locals(frame);
    const PyObject* generator = code.suspends ? generator_of(frame) : nullptr;
    for (std::size_t i = 0; i < locals.size(); ++i) {
      locals[i].renew(code.slot_from_rule[i]);
      locals[i].keeper = generator;
    }
  }
  for (const auto& [index, from_rule] : code.own_cells) {
    const auto* cell = field<const PyObject*>(frame, compat.frame_values + index * 8);
    if (is_cell(cell)) cell_variable(cell).renew(from_rule);
  }
  return after_event() ? none() : nullptr;
}

PyObject* on_begin(PyObject* self, Arguments, ssize_t) {
  Comprehension& comprehension = *site_of(self).comprehension;
  for (std::size_t i = 0; i < comprehension.names.size(); ++i) comprehension.begun.emplace(current_frame(), i);
  return none();
}

PyObject* on_leave(PyObject* self, Arguments, ssize_t) {
  for (Site* site : site_of(self).comprehension->sites)  // a cell of the function around it holds the value itself then
    if (site->code == site_of(self).code) local_of(*site, current_frame()).renew(site->from_rule);
  return none();
}

/// Stands as a decorator, so that it has the function before anybody else does.
PyObject* on_type_parameter(PyObject* self, Arguments args, ssize_t) {
  Site& site = site_of(self);
  const Ref found =
      args[0]->type == &PyTuple_Type ? Ref::borrow(args[0]) : Ref(PyObject_GetAttrString(args[0], "__type_params__"));
  if (!found) PyErr_Clear();
  if (!found || found.get()->type != &PyTuple_Type || site.index >= size_of(found.get())) return same(args[0]);
  if (site.cached == nullptr) site.cached = new Variable;  // process-lifetime, as the site
  site.cached->renew(site.from_rule);
  if (ensure_session()) record_store(site, *site.cached, tuple_items(found.get())[site.index], nullptr);
  return after_event() ? same(args[0]) : nullptr;
}

/// `sink[None] = value`
int on_sink(PyObject* self, PyObject*, PyObject* value) {
  Site& site = site_of(self);
  if (value == nullptr) return 0;
  if (site.kind == SiteKind::kPutOff) return put_off(site.is_first, value) ? 0 : -1;
  void* frame = current_frame();
  Variable& variable = variable_in_frame(site, frame);
  if (site.comprehension != nullptr) begin_comprehension(site, variable, frame);
  const WatchRequest* request = site.sinks_watch ? take_announcement(value) : nullptr;
  if ((request != nullptr || variable.watched) && ensure_session()) record_store(site, variable, value, request);
  return after_event() ? 0 : -1;
}

/// An object of three words whose third is the site, as in a capsule.
PyObject* make_sink(Site* site) {
  enum { kSlotMappingSetItem = 3 };
  static PyTypeSlot slots[] = {{kSlotMappingSetItem, reinterpret_cast<void*>(on_sink)}, {0, nullptr}};
  static PyTypeSpec spec{"__watcher__", 24, 0, 1u << 18, slots};
  static PyObject* type = [] {
    const Ref bases(PyTuple_Pack(1, &PyBaseObject_Type));
    return bases ? PyType_FromSpecWithBases(&spec, bases.get()) : nullptr;
  }();
  PyObject* sink = type != nullptr ? PyObject_CallObject(type, nullptr) : nullptr;
  if (sink != nullptr) field_ref<Site*>(sink, 16) = site;
  return sink;
}

PyMethodDef store_method{"__watcher__", reinterpret_cast<void*>(on_store), kMethFastcall, nullptr};
PyMethodDef watch_bind_method{"__watcher__", reinterpret_cast<void*>(on_watch_bind), kMethFastcall, nullptr};
PyMethodDef watch_attribute_method{"__watcher__", reinterpret_cast<void*>(on_watch_attribute), kMethFastcall, nullptr};
PyMethodDef delete_method{"__watcher__", reinterpret_cast<void*>(on_delete), kMethFastcall, nullptr};
PyMethodDef enter_method{"__watcher__", reinterpret_cast<void*>(on_enter), kMethFastcall, nullptr};
PyMethodDef begin_method{"__watcher__", reinterpret_cast<void*>(on_begin), kMethFastcall, nullptr};
PyMethodDef type_parameter_method{"__watcher__", reinterpret_cast<void*>(on_type_parameter), kMethFastcall, nullptr};
PyMethodDef leave_method{"__watcher__", reinterpret_cast<void*>(on_leave), kMethFastcall, nullptr};

}  // namespace

PyObject* make_hook(Site* site) {
  if (site->kind == SiteKind::kSink || site->kind == SiteKind::kPutOff) return make_sink(site);
  PyMethodDef* method = site->kind == SiteKind::kStore            ? &store_method
                        : site->kind == SiteKind::kWatchBind      ? &watch_bind_method
                        : site->kind == SiteKind::kDelete         ? &delete_method
                        : site->kind == SiteKind::kWatchAttribute ? &watch_attribute_method
                        : site->kind == SiteKind::kStar           ? star_import_method()
                        : site->kind == SiteKind::kBegin          ? &begin_method
                        : site->kind == SiteKind::kTakeUp         ? take_up_method()
                        : site->kind == SiteKind::kLeave          ? &leave_method
                        : site->kind == SiteKind::kBound          ? bound_method()
                        : site->kind == SiteKind::kTypeParameter  ? &type_parameter_method
                        : site->kind == SiteKind::kCheck          ? check_method()
                                                                  : &enter_method;
  Ref capsule(PyCapsule_New(site, nullptr, nullptr));
  return capsule ? PyCFunction_NewEx(method, capsule.get(), nullptr) : nullptr;
}

bool any_watched_global(std::string_view name) {
  return name.empty() ? !watched_globals().empty() : watched_globals().count(name) != 0;
}

void forget_watched_global(const std::string& name) {
  watched_globals().erase(name);
}

void forget_announcements(const WatchRequest* request) {
  auto& pending = announcements();
  for (std::size_t i = pending.size(); i > 0; --i) {
    if (pending[i - 1].request != request) continue;
    untrack_value(pending[i - 1].value, pending[i - 1].provisional, nullptr);
    pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(i - 1));
  }
}

void announce_watch(PyObject* value, const WatchRequest* request, DictionaryRef provisional) {
  auto& pending = announcements();
  if (pending.size() >= 16) pending.erase(pending.begin());  // calls whose value was never bound to a name
  pending.push_back({value, request, provisional});
}

}  // namespace watcher::python

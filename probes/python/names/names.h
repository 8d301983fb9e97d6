// Watched names: one Site for each place in the source that binds one, and what each variable held before.
//
// A post-hook `x = e; hook(x)` calls the site's function with the new value; the old one is kept here: for a local by
// frame (renewed when the function is entered), for a closure variable by cell, for a global by module dictionary.
//
// Threads: the GIL is held.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "probes/python/events/emit.h"
#include "probes/python/names/rules.h"

namespace watcher::python {

/// What happens at a site.
enum class SiteKind : std::uint8_t {
  kStore,           // the name was bound
  kWatchBind,       // … perhaps from a watch() call: then the variable is watched from here on
  kDelete,          // the name was unbound
  kWatchAttribute,  // an attribute was bound, perhaps from a watch() call: `self.x = watch(0)`
  kStar,            // `from m import *`: any of the module's watched names may have been bound
  kEnter,           // a body begins: a function's variables are unbound, a module's may be there already
  kSink,           // a target that is bound again before anybody could read it: stands in its place and takes the value
  kPutOff,         // a target that is bound by a statement of its own: stands in its place and keeps the value
  kTakeUp,         // … and gives the values to that statement
  kBegin,          // a comprehension is about to be evaluated: its variables are unbound
  kBound,          // behind an import, perhaps one that failed: had it bound the name, and to what?
  kTypeParameter,  // `def f[T]`: called with what was made of it, or with the parameters
  kCheck,          // behind a statement that may change globals by their dictionary
  kLeave           // … was evaluated, in the frame of the function around it
};

/// Does the site bind or unbind a variable of its own?
inline bool has_variable(SiteKind kind) {
  return kind == SiteKind::kStore || kind == SiteKind::kWatchBind || kind == SiteKind::kDelete ||
         kind == SiteKind::kSink || kind == SiteKind::kBound;
}

struct CodeSites;
struct Site;
struct Variable;

/// One comprehension of the source, whose variables are its own. From 3.12 on most are evaluated in the frame around.
struct Comprehension {
  std::vector<std::string> names;
  std::vector<Site*> sites;
  std::set<std::pair<const void*, std::size_t>> begun;  // frame around it and name: not bound there since it began
  bool own_code = false;                                // evaluated by a code object of its own
};

struct Site {
  SiteKind kind = SiteKind::kStore;
  bool declared_global = false;    // module level, or `global x`
  bool sinks_watch = false;        // kSink: the value may be that of a watch() call
  bool is_first = false;           // kPutOff: of its statement
  bool from_rule = false;          // named by the configuration: watched from the first binding on
  std::uint16_t slot = 0;          // local: index into the frame's variables
  std::int32_t cell_index = -1;    // closure variable: index of its cell in the frame's values
  std::int32_t local_index = -1;   // local: of its value there
  std::int32_t binds_handler = 0;  // `except … as x`: the handler that unbinds x at its end, 0 none
  std::int32_t import_level = 0;   // kStar, kBound: leading dots; of kStar `text` is the module's name
  std::int32_t index = 0;          // kBound, kTypeParameter: among the names of its statement; -1: all were bound
  int line = 0;
  Subject subject;        // interned at the first event
  bool is_plain = false;  // since then: neither in a handler of its name nor in a comprehension

  // Where the arguments of a call lie tells the frame: they are on its value stack, and a site's depth there is fixed.
  std::ptrdiff_t frame_offset = 0;   // from the frame to the arguments, learnt at the first call
  const void* cached_key = nullptr;  // what `cached` was found by: arguments, cell or module dictionary
  Variable* cached = nullptr;
  CodeSites* code = nullptr;
  std::shared_ptr<Comprehension> comprehension;
  std::size_t comprehension_name = 0;  // index in its names
  const RuleSet* rules = nullptr;
  std::vector<std::int32_t> handlers;  // enclosing handlers that bind this name
  std::string text;                    // the name, UTF-8
  std::string function;                // qualified
  std::string file;
  std::string owner;  // file and owning function: makes the variable's id
};

/// The callable that stands in the instrumented code for this site (process-lifetime). New reference, null on error.
PyObject* make_hook(Site* site);

/// Tells the sites of one code object how its variables are stored: fast local, cell, or global.
void bind_sites(PyObject* code, const std::vector<Site*>& sites);

/// Was watch() called for a global, of that name if one is given?
bool any_watched_global(std::string_view name = {});
void forget_watched_global(const std::string& name);

/// What watch() leaves for the binding that follows it: the value, what was asked for, and the variable that it was
/// tracked for meanwhile (0: none).
void forget_announcements(const WatchRequest* request);
void announce_watch(PyObject* value, const WatchRequest* request, DictionaryRef provisional);

}  // namespace watcher::python

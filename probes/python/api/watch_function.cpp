#include "probes/python/api/watch_function.h"

#include <errno.h>
#include <string.h>

#include <string>

#include "probes/python/api/pause.h"
#include "probes/python/api/shadow_memory.h"
#include "probes/python/api/unwatch.h"
#include "probes/python/context/frames.h"
#include "probes/python/context/sql.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/loading/load_hooks.h"
#include "probes/python/names/names.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

const char kWatchDoc[] =
    "watch(value, name=None, *, track_threads=False, track_locals=False,\n"
    "      track_sql=False, mutation_depth='FULL', scope=None, when=None,\n"
    "      proxy=False, on_change='record')\n"
    "--\n\n"
    "Watch a value and return it unchanged.\n\n"
    "The name it is assigned to is watched from here on, and so is what happens inside a list, dict, set,\n"
    "object or buffer.\n\n"
    "name            what events call it; the name it is assigned to unless given\n"
    "track_threads   events tell the names of thread and asyncio task\n"
    "track_locals    the other local variables of the function are watched as well\n"
    "track_sql       events tell the SQL statement under which the change happened\n"
    "mutation_depth  'FULL', or how many changed bytes an event lists\n"
    "scope           'local', 'global', 'both' or 'unknown': what events show instead of what it is\n"
    "when            which changes count, such as \"new > 100 and old <= 100\"\n"
    "proxy           return a WatchProxy, which needs no instrumented code\n"
    "on_change       'break' enters the debugger at each such change, by sys.breakpointhook()";

const char kUnwatchDoc[] =
    "unwatch(name_or_value, /)\n"
    "--\n\n"
    "End the watch of the variables of that name, or of those that hold this list, dict, object or buffer.";

const char kPauseDoc[] =
    "pause()\n"
    "--\n\n"
    "Record no changes until resume(), which records what changed meanwhile as one event 'resumed' of each\n"
    "variable.";

const char kResumeDoc[] =
    "resume()\n"
    "--\n\n"
    "End a pause().";

const char kStatsDoc[] =
    "stats()\n"
    "--\n\n"
    "What happened so far, as a dict: 'emitted', 'dropped' and 'blocked' events, 'regions' of memory watched\n"
    "now, 'neighbour_traps', 'kernel_redirects', 'single_steps', 'engine', 'engine_reason', 'paused'.";

PyObject* none() {
  return Ref::borrow(&_Py_NoneStruct).release();
}

/// A value that is never bound to a name is known by where it was watched, until a binding names it.
void begin_watch(PyObject* value, const WatchRequest* request) {
  if (request->threads) track_threads();
  if (request->sql) sql_start();
  const Position here = position_here();
  const std::string fallback = here.file + ":" + std::to_string(here.line);
  const std::string owner = here.file + "\n" + here.function;
  const Tracked tracked{.name = request->name.empty() ? std::string_view(fallback) : std::string_view(request->name),
                        .owner = owner,
                        .scope = here.function == "<module>" ? Scope::kGlobal : Scope::kLocal,
                        .references = 1,
                        .request = request};
  announce_watch(value, request, track_value(value, tracked));
}

/// The names that code without a file binds may be out of reach, as on standard input that nobody has copied.
bool must_be_proxy(const PyObject* value) {
  const PyObject* type = value->type;
  if (type != &PyLong_Type && type != &PyFloat_Type && type != &PyUnicode_Type && type != &PyBytes_Type) return false;
  const std::string file = position_here().file;
  return std::string_view(file).substr(0, 1) == "<" && !has_hooks(file);
}

PyObject* watch(PyObject*, PyObject* const* args, ssize_t count, PyObject* keywords) {
  WatchRequest request;
  PyObject* value = nullptr;
  bool proxy = false;
  if (!parse_request("watch", args, count, keywords, &value, &proxy, &request)) return nullptr;
  if (!ensure_session()) return Ref::borrow(value).release();
  if (proxy || must_be_proxy(value)) return make_proxy(value, keep_request(request));
  begin_watch(value, keep_request(request));
  return Ref::borrow(value).release();
}

/// (value, block): the same for a `with` block, whose end is told by end_block; a proxy ends with its ShadowMemory.
PyObject* begin_block(PyObject*, PyObject* const* args, ssize_t count, PyObject* keywords) {
  static std::uint64_t blocks = 0;
  WatchRequest request;
  PyObject* value = nullptr;
  bool proxy = false;
  if (!parse_request("watching", args, count, keywords, &value, &proxy, &request)) return nullptr;
  const WatchRequest* kept = nullptr;
  if (ensure_session()) {
    if (proxy || must_be_proxy(value)) return make_proxy_block(value, keep_request(request));
    request.block = ++blocks;
    begin_watch(value, kept = keep_request(request));
  }
  const Ref block(PyLong_FromLongLong(reinterpret_cast<long long>(kept)));
  return block ? PyTuple_Pack(2, value, block.get()) : nullptr;
}

PyObject* end_block(PyObject*, PyObject* block) {
  int overflow = 0;
  const auto* request = reinterpret_cast<const WatchRequest*>(PyLong_AsLongLongAndOverflow(block, &overflow));
  if (request == nullptr) return none();
  unwatch_request(request);
  forget_announcements(request);
  forget_request(request);
  return none();
}

PyObject* unwatch(PyObject*, PyObject* subject) {
  if (subject->type == &PyUnicode_Type) {
    ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(subject, &size);
    if (text == nullptr) return nullptr;
    unwatch_name({text, static_cast<std::size_t>(size)});
    unwatch_shadows({text, static_cast<std::size_t>(size)});
    return none();
  }
  const bool plain = is_inline(encode(subject, scratch_before).kind) || subject->type == &PyTuple_Type ||
                     subject->type == &PyBytes_Type || subject->type == &PyLong_Type;
  if (is_proxy(subject)) return close_proxy(subject);
  if (!plain) {
    unwatch_object(subject);
    return none();
  }
  PyErr_Format(PyExc_TypeError, "unwatch() argument must be the name of a variable or a watched object, not %s",
               type_name(subject->type));
  return nullptr;
}

PyObject* raise_unless(int error, const char* what) {
  if (error == 0) return none();
  PyErr_Format(PyExc_RuntimeError, "%s: %s", what, strerror(error));
  return nullptr;
}

PyObject* pause(PyObject*, PyObject*) {
  return raise_unless(pause_recording(), "what is watched could not be copied for the pause");
}

PyObject* resume(PyObject*, PyObject*) {
  KeepException keep;
  const int error = resume_recording();
  if (error != 0)
    runtime->log(WATCHER_WARNING, "some variables are watched no more after the pause: %s", strerror(error));
  return none();
}

PyObject* stats(PyObject*, PyObject*) {
  watcher_stats now{};
  runtime->stats(&now);
  const struct {
    const char* name;
    std::uint64_t count;
  } counts[] = {{"emitted", now.emitted},
                {"dropped", now.dropped},
                {"blocked", now.blocked},
                {"regions", now.regions},
                {"neighbour_traps", now.neighbour_traps},
                {"kernel_redirects", now.kernel_redirects},
                {"single_steps", now.single_steps}};
  Ref result(PyDict_New());
  auto put = [&result](const char* name, Ref value) {
    return value && PyDict_SetItemString(result.get(), name, value.get()) == 0;
  };
  if (!result) return nullptr;
  for (const auto& [name, count] : counts)
    if (!put(name, Ref(PyLong_FromUnsignedLongLong(count)))) return nullptr;
  const bool done = put("engine", Ref(PyUnicode_FromString(now.engine))) &&
                    put("engine_reason", Ref(PyUnicode_FromString(now.engine_reason))) &&
                    put("paused", Ref(PyBool_FromLong((attention & kPaused) != 0)));
  return done ? result.release() : nullptr;
}

PyMethodDef functions[] = {
    {"watch", reinterpret_cast<void*>(watch), kMethFastcall | kMethKeywords, kWatchDoc},
    {"unwatch", reinterpret_cast<void*>(unwatch), kMethO, kUnwatchDoc},
    {"pause", reinterpret_cast<void*>(pause), kMethNoArgs, kPauseDoc},
    {"resume", reinterpret_cast<void*>(resume), kMethNoArgs, kResumeDoc},
    {"stats", reinterpret_cast<void*>(stats), kMethNoArgs, kStatsDoc},
    {"_begin_block", reinterpret_cast<void*>(begin_block), kMethFastcall | kMethKeywords, nullptr},
    {"_end_block", reinterpret_cast<void*>(end_block), kMethO, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool add_functions(PyObject* dictionary, std::string_view module) {
  const Ref name(PyUnicode_FromStringAndSize(module.data(), static_cast<ssize_t>(module.size())));
  PyMethodDef* definition = module == "watcher" ? functions : module == "watcher._proxy" ? shadow_functions : nullptr;
  for (; definition != nullptr && definition->name != nullptr; ++definition) {
    const Ref function(name ? PyCFunction_NewEx(definition, nullptr, name.get()) : nullptr);
    if (!function || PyDict_SetItemString(dictionary, definition->name, function.get()) != 0) return false;
  }
  return true;
}

}  // namespace watcher::python

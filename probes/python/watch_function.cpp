#include "probes/python/watch_function.h"

#include <string>

#include "probes/python/compat.h"
#include "probes/python/frames.h"
#include "probes/python/names.h"
#include "probes/python/sql.h"
#include "probes/python/tracked.h"

namespace watcher::python {
namespace {

const char kDoc[] =
    "watch($module, value, name=None, *, track_threads=False, track_locals=False,\n"
    "      track_sql=False, mutation_depth='FULL')\n"
    "--\n\n"
    "Watch a value and return it unchanged.\n\n"
    "The name it is assigned to is watched from here on, and so is what happens inside a list, dict, set\n"
    "or buffer. `name` defaults to the name it is assigned to.";

struct Arguments {
  PyObject* value = nullptr;
  PyObject* name = nullptr;
  bool track_threads = false, track_sql = false;
};

bool is_text(PyObject* object, const char* text) {
  return PyUnicode_CompareWithASCIIString(object, text) == 0;
}

/// False, None, 0; no code of the host's is asked.
bool is_off(PyObject* flag) {
  const Value value = encode(flag, scratch_before);
  return value.kind == ValueKind::kNone ||
         ((value.kind == ValueKind::kBool || value.kind == ValueKind::kInt) && value.word == 0);
}

bool parse(PyObject* const* args, ssize_t count, PyObject* keywords, Arguments* out) {
  if (count > 2) {
    PyErr_Format(PyExc_TypeError, "watch() takes at most 2 positional arguments (%zd given)", count);
    return false;
  }
  if (count > 0) out->value = args[0];
  if (count > 1) out->name = args[1];
  for (ssize_t i = 0; keywords != nullptr && i < size_of(keywords); ++i) {
    PyObject* keyword = tuple_items(keywords)[i];
    PyObject* argument = args[count + i];
    static constexpr const char* kSettings[] = {"track_threads", "track_locals", "track_sql", "mutation_depth"};
    bool known = false;
    for (const char* setting : kSettings) known = known || is_text(keyword, setting);
    if (is_text(keyword, "track_threads") && !is_off(argument)) out->track_threads = true;
    if (is_text(keyword, "track_sql") && !is_off(argument)) out->track_sql = true;
    if (is_text(keyword, "value") && out->value == nullptr) {
      out->value = argument;
    } else if (is_text(keyword, "name") && out->name == nullptr) {
      out->name = argument;
    } else if (!known) {
      PyErr_Format(PyExc_TypeError, "watch() got an unexpected keyword argument '%U'", keyword);
      return false;
    }
  }
  if (out->value == nullptr) {
    PyErr_SetString(PyExc_TypeError, "watch() missing 1 required positional argument: 'value'");
    return false;
  }
  if (out->name == &_Py_NoneStruct) out->name = nullptr;
  if (out->name != nullptr && out->name->type != &PyUnicode_Type) {
    PyErr_Format(PyExc_TypeError, "watch() argument 'name' must be str, not %s", type_name(out->name->type));
    return false;
  }
  return true;
}

PyObject* watch(PyObject*, PyObject* const* args, ssize_t count, PyObject* keywords) {
  Arguments arguments;
  if (!parse(args, count, keywords, &arguments)) return nullptr;
  PyObject* value = arguments.value;
  if (ensure_session()) {
    if (arguments.track_threads) track_threads();
    if (arguments.track_sql) sql_start();
    std::string name;
    if (arguments.name != nullptr) {
      ssize_t size = 0;
      const char* text = PyUnicode_AsUTF8AndSize(arguments.name, &size);
      if (text == nullptr) return nullptr;
      name.assign(text, static_cast<std::size_t>(size));
    }
    // a value that is never bound to a name is known by where it was watched, until a binding names it
    const Position here = position_here();
    const std::string fallback = here.file + ":" + std::to_string(here.line);
    const std::string owner = here.file + "\n" + here.function;
    const Tracked tracked{.name = name.empty() ? std::string_view(fallback) : std::string_view(name),
                          .owner = owner,
                          .scope = here.function == "<module>" ? Scope::kGlobal : Scope::kLocal,
                          .references = 1};
    announce_watch(value, name, track_value(value, tracked));
  }
  incref(value);
  return value;
}

PyMethodDef definition{"watch", reinterpret_cast<void*>(watch), kMethFastcall | kMethKeywords, kDoc};

}  // namespace

PyObject* make_watch_function() {
  Ref module(PyUnicode_FromString("watcher"));
  return module ? PyCFunction_NewEx(&definition, nullptr, module.get()) : nullptr;
}

}  // namespace watcher::python

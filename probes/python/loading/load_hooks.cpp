#include "probes/python/loading/load_hooks.h"

#include <string.h>
#include <unistd.h>

#include <set>
#include <string>
#include <unordered_map>

#include "probes/python/buffers/bulk_witness.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/loading/code_swap.h"
#include "probes/python/loading/compile.h"
#include "probes/python/loading/hooked_code.h"
#include "probes/python/loading/origins.h"
#include "probes/python/loading/source.h"
#include "probes/python/names/globals_dict.h"
#include "probes/python/names/module_globals.h"
#include "probes/python/names/names.h"
#include "probes/python/objects/tracked.h"
#include "probes/python/transform/transform.h"
#include "probes/python/transform/watch_calls.h"

namespace watcher::python {
namespace {

/// Does the code, or code inside it, use the name "watcher"? Only such modules can call watch().
bool mentions_watcher(PyObject* code) {
  PyObject* names = field<PyObject*>(code, compat.code_names);
  for (ssize_t i = 0; i < size_of(names); ++i)
    if (PyUnicode_CompareWithASCIIString(tuple_items(names)[i], "watcher") == 0) return true;
  PyObject* consts = field<PyObject*>(code, compat.code_consts);
  for (ssize_t i = 0; i < size_of(consts); ++i)
    if (tuple_items(consts)[i]->type == &PyCode_Type && mentions_watcher(tuple_items(consts)[i])) return true;
  return false;
}

std::string_view bytes_of(PyObject* bytes) {
  return {reinterpret_cast<const char*>(bytes) + 32, static_cast<std::size_t>(size_of(bytes))};
}

bool is_file(const char* path) {
  return path[0] != '<' && access(path, F_OK) == 0;
}

/// pytest hands us code whose asserts it has rewritten: do the same to our tree.
bool rewrite_asserts(PyObject* code, PyObject* tree, PyObject* source, PyObject* filename) {
  PyObject* names = field<PyObject*>(code, compat.code_names);
  bool rewritten = false;
  for (ssize_t i = 0; i < size_of(names); ++i)
    rewritten = rewritten || PyUnicode_CompareWithASCIIString(tuple_items(names)[i], "@pytest_ar") == 0;
  if (!rewritten) return true;
  PyObject* module = PyDict_GetItemString(loaded_modules(), "_pytest.assertion.rewrite");
  Ref function = module != nullptr ? Ref(PyObject_GetAttrString(module, "rewrite_asserts")) : Ref();
  Ref result = function ? Ref(PyObject_CallFunctionObjArgs(function.get(), tree, source, filename, nullptr)) : Ref();
  return static_cast<bool>(result);
}

/// Qualified name of a code object among another's constants.
std::string qualified_inside(PyObject* outer, const std::string& prefix, PyObject* inner) {
  constexpr int kFunction = 1;  // CO_OPTIMIZED: no module, no class
  ssize_t size = 0;
  const char* name = PyUnicode_AsUTF8AndSize(field<PyObject*>(inner, compat.code_name), &size);
  if (name == nullptr) PyErr_Clear();
  const std::string own(name != nullptr ? name : "", static_cast<std::size_t>(name != nullptr ? size : 0));
  if (prefix.empty()) return own;
  return prefix + ((field<int>(outer, compat.code_flags) & kFunction) != 0 ? ".<locals>." : ".") + own;
}

/// Replaces the markers in a code object's constants by their hooks, in nested code too. Empty with an exception set.
Ref bind(PyObject* code, Transformed& transformed, const std::string& qualified) {
  PyObject* consts = field<PyObject*>(code, compat.code_consts);
  const ssize_t count = size_of(consts);
  Ref bound(PyTuple_New(count));
  std::vector<Site*> sites;
  bool changed = false;
  if (!bound) return Ref();
  for (ssize_t i = 0; i < count; ++i) {
    PyObject* constant = tuple_items(consts)[i];
    Ref replacement;
    if (constant->type == &PyCode_Type) {
      const std::string inner = qualified_inside(code, qualified, constant);
      replacement = bind(constant, transformed, inner);
      if (!replacement) return Ref();
      add_hooked_code(replacement.get(), inner);
    } else if (constant->type == &PyUnicode_Type) {
      ssize_t size = 0;
      const char* text = PyUnicode_AsUTF8AndSize(constant, &size);
      if (text == nullptr) PyErr_Clear();  // a lone surrogate: the host's own string
      const std::string_view view(text == nullptr ? "" : text, text == nullptr ? 0 : static_cast<std::size_t>(size));
      if (view.substr(0, kMarker.size()) == kMarker) {
        const auto index = static_cast<std::size_t>(atol(text + kMarker.size()));
        if (index < transformed.sites.size() && transformed.sites[index] != nullptr) {
          Site* site = transformed.sites[index].release();  // process-lifetime from here on
          replacement = Ref(make_hook(site));
          if (!replacement) return Ref();
          sites.push_back(site);
        }
      }
    }
    changed = changed || replacement;
    PyTuple_SetItem(bound.get(), i, replacement ? replacement.release() : Ref::borrow(constant).release());
  }
  if (!sites.empty()) bind_sites(code, sites);
  if (!changed) return Ref::borrow(code);
  return with_constants(code, bound.get());
}

Ref bind_module(PyObject* code, Transformed& transformed) {
  Ref bound = bind(code, transformed, "");
  if (bound) add_hooked_code(bound.get(), "<module>");
  return bound;
}

// A program may compile expressions under its own file's name, in a loop: each would cost a compilation of the file.
constexpr int kForeignAtMost = 32;

/// How often code bore this file's name without coming from it.
int& foreign_code(std::string_view path) {
  static auto* counts = new std::unordered_map<std::string, int>;  // process-lifetime
  return (*counts)[std::string(path)];
}

void note_foreign(std::string_view path) {
  const int count = ++foreign_code(path);
  if (count != 1 && count != kForeignAtMost) return;
  runtime->log(WATCHER_WARNING, "%.*s: code that is not what the file says runs without hooks for names%s",
               static_cast<int>(path.size()), path.data(),
               count == 1 ? "" : "; so does all that is loaded from it from now on");
}

/// The instrumented code; empty when there is nothing to hook, or on failure (then with an exception).
Ref instrument_origin(PyObject* code, PyObject* filename, const Origin& origin, const RuleSet& rules) {
  Transformed transformed;
  ssize_t size = 0;
  std::string_view text;
  if (origin.text && origin.text.get()->type == &PyUnicode_Type) {
    const char* utf8 = PyUnicode_AsUTF8AndSize(origin.text.get(), &size);
    if (utf8 == nullptr) return Ref();
    text = {utf8, static_cast<std::size_t>(size)};
  } else if (origin.text) {
    text = bytes_of(origin.text.get());
  }
  if (!transform(origin.tree.get(), text, rules, true, &transformed) || !transformed.changed()) return Ref();
  Ref compiled = compile_source(origin.tree.get(), filename, origin.mode, compile_flags(code));
  return compiled ? bind_module(compiled.get(), transformed) : Ref();
}

/// There is nothing to instrument: the module's own stores are told by its dictionary, where that can be watched.
void note_sourceless(PyObject* code, std::string_view path, const RuleSet& rules) {
  const bool all = compat.minor >= 12 && !rules.names_locals();
  runtime->log(all ? WATCHER_INFO : WATCHER_WARNING, "%.*s has no source: %s", static_cast<int>(path.size()),
               path.data(),
               compat.minor >= 12 ? "its globals are watched, its locals are not"
                                  : "its globals are watched for stores from other modules only");
  if (rules.names_globals()) watch_globals_of(code, rules);
}

Ref instrument_file(PyObject* code, PyObject* filename, std::string_view path, const RuleSet& rules) {
  Ref source = read_source(std::string(path));
  if (!source) {
    if (!rules.empty()) note_sourceless(code, path, rules);
    return Ref();
  }
  Ref tree = compile_source(source.get(), filename, "exec", kOnlyAst);
  Transformed transformed;
  if (!tree || !transform(tree.get(), bytes_of(source.get()), rules, false, &transformed) || !transformed.changed())
    return Ref();
  if (!rewrite_asserts(code, tree.get(), source.get(), filename)) return Ref();
  Ref compiled = compile_source(tree.get(), filename, "exec", compile_flags(code));
  if (!compiled) return Ref();
  if (made_from_same_source(code, compiled.get())) return bind_module(compiled.get(), transformed);
  note_foreign(path);
  return Ref();
}

void log_failure(std::string_view path) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  Ref owned_type(type), owned_value(value), owned_traceback(traceback);
  if (type == nullptr) return;
  char text[512];
  text[write_repr(value != nullptr ? value : type, text, sizeof text - 1)] = 0;
  runtime->log(WATCHER_WARNING, "%.*s runs without hooks for names, since it could not be instrumented: %s",
               static_cast<int>(path.size()), path.data(), text);
}

/// Up to 3.10 such a body begins to run long after its evaluation, as a coroutine.
bool cannot_be_swapped(PyObject* code) {
  constexpr int kSuspends = 0x20 | 0x80 | 0x200;
  return compat.minor <= 10 && (field<int>(code, compat.code_flags) & kSuspends) != 0;
}

std::set<std::string, std::less<>>& hooked_files() {
  static auto* files = new std::set<std::string, std::less<>>;  // process-lifetime
  return *files;
}

}  // namespace

bool has_hooks(const std::string& file) {
  return hooked_files().count(file) != 0;
}

void before_exec(PyObject* code) {
  if (code->type != &PyCode_Type) return;
  PyObject* name = field<PyObject*>(code, compat.code_name);
  PyObject* filename = field<PyObject*>(code, compat.code_file);
  if (PyUnicode_CompareWithASCIIString(name, "<module>") != 0 || cannot_be_swapped(code)) return;
  KeepException keep;
  ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(filename, &size);
  if (text == nullptr || size == 0) return PyErr_Clear();
  const std::string_view path(text, static_cast<std::size_t>(size));
  // a name that watch() was called for at the prompt is watched in what is typed next
  const bool asked = has_rules(path) || mentions_watcher(code) || (watch_was_imported() && !is_file(text));
  if (!asked || foreign_code(path) >= kForeignAtMost) return;
  if (!containers_start()) return log_failure(path);
  watch_module_attributes();
  prepare_call_witness();
  NoWarnings quiet;
  Origin origin;
  const RuleSet& rules = *rules_for(path);
  Ref instrumented;
  const bool found = find_origin(code, filename, &origin);
  if (found || text[0] != '<') hooked_files().emplace(path);
  if (found)
    instrumented = instrument_origin(code, filename, origin, rules);
  else if (text[0] != '<')
    instrumented = instrument_file(code, filename, path, rules);
  if (!instrumented) return log_failure(path);
  if (!run_instead(code, instrumented.get())) return log_failure(path);
  runtime->log(WATCHER_DEBUG, "%.*s: the stores of its names are hooked", static_cast<int>(path.size()), path.data());
}

}  // namespace watcher::python

// The probe's entry: called by the runtime from the shim's constructor, before the interpreter starts.

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <string>

#include "probes/python/api/package.h"
#include "probes/python/buffers/bulk_witness.h"
#include "probes/python/context/frames.h"
#include "probes/python/context/spans.h"
#include "probes/python/context/sql.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/loading/code_swap.h"
#include "probes/python/loading/load_hooks.h"
#include "probes/python/loading/origins.h"
#include "probes/python/loading/stdin_text.h"

namespace watcher::python {
namespace {

// Ours is busy: what we import and compile raises audit events too.
__attribute__((tls_model("initial-exec"))) constinit thread_local bool busy = false;
constinit void** hook_list = nullptr;

PyObject* first_argument(PyObject* args) {
  return PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : nullptr;
}

bool names_watcher(PyObject* name) {
  if (name == nullptr || name->type != &PyUnicode_Type) return false;
  ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(name, &size);
  if (text == nullptr) {
    PyErr_Clear();
    return false;
  }
  return strncmp(text, "watcher", 7) == 0 && (text[7] == 0 || text[7] == '.');
}

// The list of hooks is freed at exit with the allocator of that moment; -X dev changes it after our entry was made, and
// the interpreter aborts. So ours is unlinked before (it leaks: one entry).
void unlink_hook(void* hook) {
  if (hook_list == nullptr || *hook_list == nullptr) return;
  auto** entry = static_cast<void**>(*hook_list);
  if (entry[1] == hook) *hook_list = entry[0];
}

// The last event. The program's Python code has run; its daemon threads still wait for the GIL, and up to 3.10 one that
// gets it once the interpreter is gone crashes. So the collector is waited for here, where the GIL is held, and not in
// exit().
void interpreter_ends(void* hook) {
  unlink_hook(hook);
  if (finalizing()) runtime->close();
}

/// A .pyc file run as the script gives no event "exec".
void before_compiled_script(PyObject* code) {
  if (busy) return;
  busy = true;
  before_exec(code);
  busy = false;
}

bool is_compiled_file(PyObject* name) {
  ssize_t size = 0;
  const char* text = name != nullptr && name->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
  if (text == nullptr) PyErr_Clear();
  return text != nullptr && size > 4 && strcmp(text + size - 4, ".pyc") == 0;
}

/// From 3.12 on a subinterpreter may have a lock and an allocator of its own: it is left alone.
bool is_foreign_interpreter() {
  return compat.minor >= 12 && PyInterpreterState_Get() != PyInterpreterState_Main();
}

int audit(const char* event, PyObject* args, void*) {
  if (event[0] == 'c' && strcmp(event, "cpython._PySys_ClearAuditHooks") == 0)
    interpreter_ends(reinterpret_cast<void*>(audit));
  if (busy || Py_IsInitialized() == 0 || is_foreign_interpreter()) return 0;
  busy = true;
  if (spans_pending) [[unlikely]]
    find_spans();
  if (event[0] == 'e' && strcmp(event, "exec") == 0) {
    PyObject* code = first_argument(args);
    if (code != nullptr && !sql_sees_exec(code)) before_exec(code);
  } else if (event[0] == 'c' && strcmp(event, "compile") == 0) {
    if (PyTuple_Size(args) == 2) note_compile(PyTuple_GetItem(args, 0), PyTuple_GetItem(args, 1));
  } else if (event[0] == 'i' && strcmp(event, "import") == 0) {
    if (names_watcher(first_argument(args))) offer_package();
    sql_sees_import(first_argument(args));
    spans_see_import(first_argument(args));
  } else if (event[0] == 's' && strcmp(event, "sqlite3.connect") == 0) {
    sql_sees_connect();
  } else if (event[0] == 'c' && strcmp(event, "cpython.run_module") == 0) {
    offer_package();
  } else if (event[0] == 'c' && strcmp(event, "cpython.run_stdin") == 0) {
    stdin_begins();
  } else if (event[0] == 'c' && strcmp(event, "cpython.run_file") == 0) {
    if (is_compiled_file(first_argument(args)) && !show_next_module(before_compiled_script)) PyErr_Clear();
  }
  busy = false;
  return 0;
}

/// Adds the hook and learns where the interpreter keeps the list's head: the word of `_PyRuntime` that now points to
/// us.
bool add_audit_hook() {
  void* interpreter = dlsym(RTLD_DEFAULT, "_PyRuntime");
  Dl_info info;
  const ElfW(Sym)* symbol = nullptr;
  std::string before;
  if (interpreter != nullptr &&
      dladdr1(interpreter, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)), RTLD_DL_SYMENT) != 0 &&
      symbol != nullptr)
    before.assign(static_cast<const char*>(interpreter), symbol->st_size);
  if (PySys_AddAuditHook(audit, nullptr) != 0) return false;
  for (std::size_t at = 0; at + sizeof(void*) <= before.size(); at += sizeof(void*)) {
    auto** word = reinterpret_cast<void**>(static_cast<char*>(interpreter) + at);
    if (*word == nullptr || memcmp(word, before.data() + at, sizeof *word) == 0) continue;
    if ((reinterpret_cast<std::uintptr_t>(*word) & 7) == 0 &&
        static_cast<void**>(*word)[1] == reinterpret_cast<void*>(audit))
      hook_list = word;
  }
  return true;
}

constinit char host_name[64];
constinit watcher_probe probe{.abi = WATCHER_PROBE_ABI,
                              .bytes = sizeof(watcher_probe),
                              .host = host_name,
                              .place = place_of_writer,
                              .after_fork_child = forget_thread,
                              .witness = &call_witness,
                              .stack = nullptr};

}  // namespace
}  // namespace watcher::python

namespace watcher::python {

extern "C" __attribute__((visibility("default"))) const watcher_probe* watcher_probe_attach(
    const watcher_runtime* table) {
  if (table->abi != WATCHER_PROBE_ABI || !Compat::load(&compat) || Py_IsInitialized() != 0) return nullptr;
  runtime = table;
  const std::string version(Py_GetVersion());
  strncpy(host_name, ("CPython " + version.substr(0, version.find(' '))).c_str(), sizeof host_name - 1);
  const char* threads = table->option("track_threads");
  if (threads != nullptr && threads[0] == 't') track_threads();
  const char* callers = table->option("stack");
  if (const int most = callers != nullptr ? atoi(callers) : 0; most > 0) {
    record_callers(static_cast<std::uint32_t>(most));
    attention |= kStacks;
    probe.stack = callers_of_writer;
  }
  return add_audit_hook() ? &probe : nullptr;
}

}  // namespace watcher::python

// Who the running thread is, beyond its number: its name in the `threading` module, when track_threads asks for it.

#include "probes/python/compat.h"
#include "probes/python/emit.h"

namespace watcher::python {
namespace {

// Read in fault handlers too, written under the GIL on the same thread.
__attribute__((tls_model("initial-exec"))) constinit thread_local DictionaryRef cached_context = 0;
__attribute__((tls_model("initial-exec"))) constinit thread_local bool known = false;

bool tracks_threads() {
  static const bool wanted = [] {
    const char* value = runtime->option("track_threads");
    return value != nullptr && value[0] == 't';
  }();
  return wanted;
}

/// threading._active[ident]._name, or empty before the thread is registered there.
Ref thread_name() {
  PyObject* threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading");
  if (threading == nullptr) return Ref(PyUnicode_FromString("MainThread"));
  Ref active(PyObject_GetAttrString(threading, "_active"));
  Ref ident(PyLong_FromUnsignedLongLong(PyThread_get_thread_ident()));
  PyObject* thread = active && ident ? PyDict_GetItemWithError(active.get(), ident.get()) : nullptr;
  return thread != nullptr ? Ref(PyObject_GetAttrString(thread, "_name")) : Ref();
}

}  // namespace

DictionaryRef known_thread_context() {
  return cached_context;
}

DictionaryRef thread_context() {
  if (known || !tracks_threads()) return cached_context;
  KeepException keep;
  Ref name = thread_name();
  ssize_t size = 0;
  const char* text = name && name.get()->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(name.get(), &size) : nullptr;
  PyErr_Clear();
  if (text == nullptr) return 0;
  const ContextBlob blob{.thread_name = intern({text, static_cast<std::size_t>(size)}), .task = 0, .sql = 0};
  cached_context = ring.dictionary().intern(BlobKind::kContext, blob);
  known = true;
  return cached_context;
}

}  // namespace watcher::python

// Who the running thread is, beyond its number: its name in the `threading` module, its asyncio task, and the SQL
// statement of that flow.

#include <string.h>

#include <atomic>
#include <string>

#include "probes/python/context/flows.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {

namespace {

constinit bool tracking_threads = false;

// Read in fault handlers too, written under the GIL on the same thread.
__attribute__((tls_model("initial-exec"))) constinit thread_local DictionaryRef thread_name = 0;
// What the last event found, so that nothing is looked up while nothing changes.
struct LastContext {
  ContextBlob blob;
  DictionaryRef ref;
};
__attribute__((tls_model("initial-exec"))) constinit thread_local LastContext last_context{};

// While a SettledContext lives: no other code runs on this thread meanwhile.
__attribute__((tls_model("initial-exec"))) constinit thread_local bool is_settled = false;
__attribute__((tls_model("initial-exec"))) constinit thread_local DictionaryRef settled = 0;

// The dictionary also holds what every event needs: names and places. Endless threads, tasks and statements may not
// fill it.
constinit std::atomic<int> contexts_left{12288};
constinit int task_names_left = 2048;

void count_cut() {
  ring.header()->contexts_cut.fetch_add(1, std::memory_order_relaxed);
}

DictionaryRef intern_context(const ContextBlob& blob) {
  if (blob.thread_name == 0 && blob.task == 0 && blob.sql == 0) return 0;
  Dictionary& dictionary = ring.dictionary();
  if (const DictionaryRef known = dictionary.lookup(BlobKind::kContext, blob)) return known;
  if (contexts_left.load(std::memory_order_relaxed) <= 0) {
    count_cut();
    if (blob.sql == 0) return 0;
    return dictionary.intern(BlobKind::kContext, ContextBlob{.thread_name = 0, .task = 0, .sql = blob.sql});
  }
  contexts_left.fetch_sub(1, std::memory_order_relaxed);
  return dictionary.intern(BlobKind::kContext, blob);
}

/// threading._active[ident]._name, or empty before the thread is registered there.
Ref name_of_thread() {
  PyObject* threading = PyDict_GetItemString(loaded_modules(), "threading");
  if (threading == nullptr) return Ref(PyUnicode_FromString("MainThread"));
  Ref active(PyObject_GetAttrString(threading, "_active"));
  Ref ident(PyLong_FromUnsignedLongLong(PyThread_get_thread_ident()));
  PyObject* thread = active && ident ? PyDict_GetItemWithError(active.get(), ident.get()) : nullptr;
  return thread != nullptr ? Ref(PyObject_GetAttrString(thread, "_name")) : Ref();
}

std::string text_of(const Ref& text) {
  ssize_t size = 0;
  const char* bytes =
      text && text.get()->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(text.get(), &size) : nullptr;
  PyErr_Clear();
  return bytes != nullptr ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
}

void learn_thread_name() {
  KeepException keep;
  const KeepScratch room;
  const std::string name = text_of(name_of_thread());
  if (!name.empty()) thread_name = intern(name);
}

/// An attribute of a module that may not be imported yet; found once, kept for ever.
PyObject* module_attribute(const char* module_name, const char* name, PyObject** kept) {
  if (*kept != nullptr) return *kept;
  PyObject* module = PyDict_GetItemString(loaded_modules(), module_name);
  *kept = module != nullptr ? PyObject_GetAttrString(module, name) : nullptr;
  PyErr_Clear();
  return *kept;
}

/// asyncio's table of running tasks by event loop; null before asyncio is there.
PyObject* running_tasks() {
  static constinit PyObject* tasks = nullptr;
  module_attribute("asyncio.tasks", "_current_tasks", &tasks);
  return tasks != nullptr && tasks->type == &PyDict_Type ? tasks : nullptr;
}

/// The task that this thread's event loop runs; borrowed. Null: none.
PyObject* running_task() {
  static constinit PyObject* running_loop = nullptr;
  PyObject* tasks = running_tasks();
  if (tasks == nullptr || PyDict_Size(tasks) == 0 ||
      module_attribute("asyncio.events", "_get_running_loop", &running_loop) == nullptr)
    return nullptr;
  Ref loop(PyObject_CallObject(running_loop, nullptr));
  PyObject* task = loop && loop.get() != &_Py_NoneStruct ? PyDict_GetItemWithError(tasks, loop.get()) : nullptr;
  PyErr_Clear();
  return task != &_Py_NoneStruct ? task : nullptr;
}

/// Is it still the task seen last? Asked of every event: up to 3.11 _get_running_loop() makes a system call.
bool runs_seen_task(const Flow* flow) {
  if (flow == nullptr || flow->task_seen == nullptr || flow->task_thread != thread_state()) return false;
  PyObject* seen = field<PyObject*>(flow->task_seen, kWeakrefObject);
  ssize_t position = 0;
  PyObject *loop, *task;
  while (PyDict_Next(running_tasks(), &position, &loop, &task) != 0)
    if (task == seen) return true;
  return false;
}

/// "Task-3 (fetch_users)": its name, and what its coroutine is called.
DictionaryRef intern_task(PyObject* task) {
  Ref coroutine(PyObject_CallMethod(task, "get_coro", nullptr));
  std::string text = "(";
  if (coroutine) text += text_of(Ref(PyObject_GetAttrString(coroutine.get(), "__qualname__")));
  text += ")";
  if (task_names_left > 0) {
    --task_names_left;
    text = text_of(Ref(PyObject_CallMethod(task, "get_name", nullptr))) + " " + text;
  } else {
    count_cut();
  }
  PyErr_Clear();
  return intern(text);
}

// A weak reference without a callback is shared by all who make one, and says whether the address still means that
// task.
void see_task() {
  if (runs_seen_task(running_flow(false))) return;
  KeepException keep;
  const KeepScratch room;
  Ref task = Ref::borrow(running_task());
  Ref reference(task ? PyWeakref_NewRef(task.get(), nullptr) : nullptr);
  PyErr_Clear();
  const DictionaryRef name = reference ? intern_task(task.get()) : 0;
  Flow* flow = running_flow(static_cast<bool>(reference));
  if (flow == nullptr) return;
  Ref before(flow->task_seen);
  flow->task_seen = reference.release();
  flow->task_thread = thread_state();
  flow->task.store(name, std::memory_order_relaxed);
}

ContextBlob blob_of(const Flow* flow) {
  if (flow == nullptr) return {.thread_name = thread_name, .task = 0, .sql = 0};
  return {.thread_name = thread_name,
          .task = flow->task.load(std::memory_order_relaxed),
          .sql = flow->sql.load(std::memory_order_relaxed)};
}

}  // namespace

void track_threads() {
  tracking_threads = true;
  attention |= kContexts;
}

void track_statements() {
  attention |= kContexts;
}

SettledContext::SettledContext() : outermost_(!is_settled && (attention & kContexts) != 0) {
  if (!outermost_) return;
  settled = find_thread_context();
  is_settled = true;
}

SettledContext::~SettledContext() {
  if (outermost_) is_settled = false;
}

DictionaryRef find_thread_context() {
  if (!ring) return 0;
  if (is_settled) return settled;
  if (tracking_threads && thread_name == 0) learn_thread_name();
  if (tracking_threads && in_entered_context()) see_task();
  const ContextBlob blob = blob_of(running_flow(false));
  LastContext& last = last_context;
  if (memcmp(&blob, &last.blob, sizeof blob) == 0) return last.ref;
  const DictionaryRef ref = intern_context(blob);
  last = {blob, ref};
  return ref;
}

DictionaryRef known_thread_context(void* state) {
  return (attention & kContexts) != 0 && ring ? intern_context(blob_of(flow_of_writer(state))) : 0;
}

}  // namespace watcher::python

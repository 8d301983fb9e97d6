#include "probes/python/context/flows.h"

#include <stdlib.h>

#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {
namespace {

__attribute__((tls_model("initial-exec"))) constinit thread_local Flow thread_flow{};

constinit int context_offset = -1;  // PyThreadState.context: it moved with every version; -1 before it is sought
constinit bool greenlets_expected = false;

// The flows of contexts and greenlets. Their addresses are used again at once, so each is followed by a weak reference.
// A key lies within kWindow slots from its home; readers in fault handlers look only for the key of the running flow,
// whose entry cannot go away meanwhile. A table that became too small stays where it is: they may be reading it.
constexpr std::size_t kWindow = 8;
struct Table {
  std::size_t mask;
  Flow flows[1];
};
constinit std::atomic<Table*> table{nullptr};

Flow& slot(Table* in, const void* key, std::size_t step) {
  const auto home = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(key) * 0x9e3779b97f4a7c15u >> 32);
  return in->flows[(home + step) & in->mask];
}

Flow* find(const void* key) {
  Table* in = table.load(std::memory_order_acquire);
  for (std::size_t step = 0; in != nullptr && step < kWindow; ++step)
    if (Flow& flow = slot(in, key, step); flow.key.load(std::memory_order_relaxed) == key) return &flow;
  return nullptr;
}

Flow* free_slot(Table* in, const void* key) {
  for (std::size_t step = 0; in != nullptr && step < kWindow; ++step)
    if (Flow& flow = slot(in, key, step); flow.key.load(std::memory_order_relaxed) == nullptr) return &flow;
  return nullptr;
}

void move_to(Flow& to, const Flow& from) {
  to.sql.store(from.sql.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to.task.store(from.task.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to.connection = from.connection;
  to.task_seen = from.task_seen;
  to.task_thread = from.task_thread;
  to.end = from.end;
  to.key.store(from.key.load(std::memory_order_relaxed), std::memory_order_release);
}

/// A table of `size` slots with all flows of the old one in it; null: no memory, or one of them finds no place.
Table* copy_of(Table* old, std::size_t size) {
  auto* larger = static_cast<Table*>(calloc(1, sizeof(Table) + size * sizeof(Flow)));
  if (larger == nullptr) return nullptr;
  larger->mask = size - 1;
  for (std::size_t i = 0; old != nullptr && i <= old->mask; ++i) {
    const void* key = old->flows[i].key.load(std::memory_order_relaxed);
    if (key == nullptr) continue;
    Flow* place = free_slot(larger, key);
    if (place == nullptr) {
      free(larger);
      return nullptr;
    }
    move_to(*place, old->flows[i]);
  }
  return larger;
}

Flow* make_room(const void* key) {
  constexpr std::size_t kFirstSize = 256, kMaxSize = 1u << 20;
  Table* old = table.load(std::memory_order_relaxed);
  if (Flow* place = free_slot(old, key)) return place;
  for (std::size_t size = old != nullptr ? (old->mask + 1) * 2 : kFirstSize; size <= kMaxSize; size *= 2) {
    Table* larger = copy_of(old, size);
    if (larger == nullptr) continue;
    table.store(larger, std::memory_order_release);
    if (Flow* place = free_slot(larger, key)) return place;
    old = larger;
  }
  return nullptr;
}

void forget(Flow* flow) {
  Ref task(flow->task_seen), end(flow->end);
  flow->task_seen = flow->end = nullptr;
  flow->key.store(nullptr, std::memory_order_relaxed);
  flow->sql.store(0, std::memory_order_relaxed);
  flow->task.store(0, std::memory_order_relaxed);
}

// The weak reference's callback; its self is the key's address as a number.
PyObject* key_ended(PyObject* address, PyObject*) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(address, &overflow);
  if (Flow* flow = find(reinterpret_cast<const void*>(number))) forget(flow);
  return Ref::borrow(&_Py_NoneStruct).release();
}
PyMethodDef key_ended_definition{"_flow_ended", reinterpret_cast<void*>(key_ended), kMethO, nullptr};

Flow* flow_for(PyObject* key, bool create) {
  Flow* flow = find(key);
  if (flow != nullptr || !create) return flow;
  KeepException keep;
  Ref address(PyLong_FromLongLong(reinterpret_cast<long long>(key)));
  Ref callback(address ? PyCFunction_NewEx(&key_ended_definition, address.get(), nullptr) : nullptr);
  Ref end(callback ? PyWeakref_NewRef(key, callback.get()) : nullptr);
  PyErr_Clear();
  // a garbage collection may have run the host's code
  if (flow = find(key); flow != nullptr) return flow;
  flow = end ? make_room(key) : nullptr;
  if (flow == nullptr) return nullptr;
  flow->end = end.release();
  flow->key.store(key, std::memory_order_release);
  return flow;
}

void find_context_offset() {
  constexpr int kStateBytes = 256;  // the shortest is 264
  KeepException keep;
  int found = -2;  // not there: the flows are greenlets and threads
  Ref context(PyContext_New());
  if (context && PyContext_Enter(context.get()) == 0) {
    for (int at = 0; at < kStateBytes && found < 0; at += 8)
      if (field<PyObject*>(thread_state(), at) == context.get()) found = at;
    PyContext_Exit(context.get());
  }
  context_offset = found;
  PyErr_Clear();
}

PyObject* entered_context(void* state) {
  PyObject* context = context_of(state);
  return context != nullptr && field<int>(context, kContextEntered) != 0 ? context : nullptr;
}

/// The running greenlet, unless it is its thread's first one or there is no such module. Its flow is what a switch
/// left.
Ref running_greenlet() {
  static constinit PyObject* getcurrent = nullptr;
  if (!greenlets_expected) return Ref();
  KeepException keep;
  if (getcurrent == nullptr) {
    PyObject* module = PyDict_GetItemString(loaded_modules(), "greenlet");
    if (module == nullptr) return Ref();
    getcurrent = PyObject_GetAttrString(module, "getcurrent");  // process-lifetime
    PyErr_Clear();
    if (getcurrent == nullptr) return Ref();
  }
  Ref greenlet(PyObject_CallObject(getcurrent, nullptr));
  Ref parent = greenlet ? Ref(PyObject_GetAttrString(greenlet.get(), "parent")) : Ref();
  PyErr_Clear();
  if (!parent || parent.get() == &_Py_NoneStruct) return Ref();
  return greenlet;
}

// Where faults of a greenlet look: its thread has no pointer to it.
__attribute__((tls_model("initial-exec"))) constinit thread_local Flow* last_greenlet_flow = nullptr;

}  // namespace

void expect_greenlets() {
  greenlets_expected = true;
}

Flow* running_flow(bool create) {
  if (context_offset == -1) find_context_offset();
  if (PyObject* context = entered_context(thread_state())) return flow_for(context, create);
  Ref greenlet = running_greenlet();
  last_greenlet_flow = greenlet ? flow_for(greenlet.get(), create) : nullptr;
  return greenlet ? last_greenlet_flow : &thread_flow;
}

const Flow* flow_of_writer(void* state) {
  if (PyObject* context = entered_context(state)) return find(context);
  return last_greenlet_flow != nullptr ? last_greenlet_flow : &thread_flow;
}

PyObject* context_of(void* state) {
  return context_offset >= 0 && state != nullptr ? field<PyObject*>(state, context_offset) : nullptr;
}

bool in_entered_context() {
  if (context_offset == -1) find_context_offset();
  return entered_context(thread_state()) != nullptr;
}

}  // namespace watcher::python

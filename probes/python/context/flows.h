// A flow is what SQL statements and task names belong to: the contextvars context that is entered (every asyncio task
// has one), a greenlet, or else the thread.
//
// Threads: the GIL is held; flow_of_writer is for fault handlers, in threads with and without the GIL.
#pragma once

#include <atomic>

#include "probes/python/interpreter/python_api.h"
#include "runtime/queue/event.h"

namespace watcher::python {

struct Flow {
  // Written under the GIL, read by handlers of the same thread: a flow runs in one thread at a time.
  std::atomic<const void*> key;  // context or greenlet; null: unused, or the thread's own
  std::atomic<DictionaryRef> sql;
  std::atomic<DictionaryRef> task;
  const void* connection;   // that `sql` was executed on; never followed
  PyObject* task_seen;      // weak reference to the task that `task` names
  const void* task_thread;  // state of the thread where that was
  PyObject* end;            // weak reference to the key: tells its end
};

/// The module `greenlet` is being imported, or has been.
void expect_greenlets();

/// The running flow; null when it has none of its own yet and `create` is false, or there is no memory. Valid until
/// code of the host may have run: flows come and go.
Flow* running_flow(bool create);

/// In a fault handler; `state` is the thread's. Null: nothing is known of the running flow.
const Flow* flow_of_writer(void* state);

/// A thread's context variables, once in_entered_context() has been asked; null: it has none. Fault handlers too.
PyObject* context_of(void* state);

/// May an asyncio task be running? Only inside an entered context.
bool in_entered_context();

}  // namespace watcher::python

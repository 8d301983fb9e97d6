/* The whole contract between the shim (libwatcher_preload.so) and the runtime (libwatcher_runtime.so).
 *
 * The shim finds the runtime by dlopen and calls `watcher_runtime_attach`. The runtime fills in the hooks it wants;
 * a null hook means the interposer only forwards. Plain C, no allocation, no ownership: both tables live for ever. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WATCHER_RUNTIME_HOOKS_VERSION 3u

#define WATCHER_KERNEL_WRITE_KEEPS 1u

/* A native host is a program that watches its own memory (runtime/watcher.h); the shim never attaches to one itself. */
enum watcher_host { WATCHER_HOST_PYTHON = 1, WATCHER_HOST_NODE = 2, WATCHER_HOST_NATIVE = 3 };

/* What the interposers ask the runtime. Every hook may run on any thread, most of them in signal handlers: no locks
 * that an application thread can hold, no allocation. Order of stores: the runtime sets a hook once, with release,
 * while other threads call; kernel_write_end before kernel_write_begin. A hook may be entered again by a signal
 * handler. */
struct watcher_runtime_hooks {
  uint32_t version;
  uint32_t bytes;

  /* memory_calls: 1 when `pointer` is ours and was dealt with, 0 to forward. */
  int (*free_memory)(void* pointer);
  /* 1: ours, *result is the new pointer (or null with errno set, as realloc does). 0: forward. */
  int (*realloc_memory)(void* pointer, size_t bytes, void** result);
  /* usable bytes, 0 when not ours */
  size_t (*memory_size)(void* pointer);

  /* memory_calls and mapping_calls, of memory that is not the runtime's; set when some of it is watched for the first
   * time. These are for normal context, and allocate nothing.
   * The memory is about to be freed, unmapped or moved. Returns a token when watches had to let go of it, else 0. */
  uint64_t (*lift_watches)(void* start, size_t bytes);
  /* What became of it: where it begins now (null: it is gone), and its size. */
  void (*settle_watches)(uint64_t token, void* start, size_t bytes);
  /* mprotect (`key` < 0), pkey_mprotect; madvise. 1: done, *result and errno are the call's. 0: forward. */
  int (*protect_memory)(void* start, size_t bytes, int protection, int key, int* result);
  int (*advise_memory)(void* start, size_t bytes, int advice, int* result);
  /* segment_calls: the size of the System V segment attached there; 0: nothing of it is watched, or not known. */
  size_t (*segment_bytes)(const void* start);

  /* reading_calls: a system call is about to write [buffer, buffer + bytes). Returns where to let it write (the second
   * mapping, or a bounce buffer), or `buffer` itself. `token` carries state to the end; it says on entry whether the
   * call needs the present content there (WATCHER_KERNEL_WRITE_KEEPS) or not (0), and is one of these two on return
   * when nothing is watched, or the content cannot be read. */
  void* (*kernel_write_begin)(void* buffer, size_t bytes, uint64_t* token);
  /* `written` bytes arrived (0 or more); call number for the event. Only called when begin left a token, and never when
   * the call is left by thread cancellation or longjmp: a token must not be a lock or the last of a kind. */
  void (*kernel_write_end)(void* buffer, size_t written, uint64_t token, int call_number);

  /* signal_calls: return 1 when the runtime handled the call itself (result in *result, errno set), 0 to forward. */
  int (*set_action)(int signal_number, const struct sigaction* action, struct sigaction* previous, int* result);
  /* Takes our signals out of a mask that is about to be blocked; `set` is the shim's private copy. */
  void (*filter_mask)(sigset_t* set);

  /* sigaltstack, likewise. */
  int (*set_stack)(const stack_t* stack, stack_t* previous, int* result);

  /* process_calls: the process is about to end without running atexit handlers (_exit, _Exit). */
  void (*leaving)(int status);

  /* The process whose state this is: set by the shim before attach, and to the child's pid by the runtime's after-fork
   * handler. In any other process, such as a vfork child in our memory, set_action, set_stack and leaving are not called. */
  pid_t owner;
};

/* The next symbols behind our interposers, resolved by the shim; never null when the table is handed over. */
struct watcher_real_functions {
  uint32_t version;
  uint32_t bytes;
  void (*free_)(void*);
  void* (*realloc_)(void*, size_t);
  int (*sigaction_)(int, const struct sigaction*, struct sigaction*);
  int (*pthread_sigmask_)(int, const sigset_t*, sigset_t*);
  ssize_t (*read_)(int, void*, size_t);
};

/* Exported by the runtime. `directory` is where the shim was found (NUL-terminated, borrowed for the call).
 * Returns 0 when the process is watched or may become so; anything else, with no hook set: the shim stays a forwarder.
 */
typedef int (*watcher_runtime_attach_fn)(enum watcher_host host, const char* directory,
                                         struct watcher_runtime_hooks* hooks,
                                         const struct watcher_real_functions* real);

/* Exported by the shim, for a program that attaches the runtime to itself. 0 and the two tables, or -1. */
int watcher_shim_tables(struct watcher_runtime_hooks** hooks, const struct watcher_real_functions** real);

#ifdef __cplusplus
}
#endif

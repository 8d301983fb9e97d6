/* The versioned contract between the runtime and the probes (one shared object a language runtime).
 *
 * The runtime dlopens the probe that fits the host and calls `watcher_probe_attach`, before the interpreter starts.
 * Both tables live for ever. Unless stated otherwise a function may be called by any thread outside signal handlers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runtime/watcher.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WATCHER_PROBE_ABI 4u

enum watcher_rule_scope { WATCHER_SCOPE_UNKNOWN, WATCHER_SCOPE_LOCAL, WATCHER_SCOPE_GLOBAL, WATCHER_SCOPE_BOTH };

/* A name to watch in a source file; owned by the runtime, never freed. */
struct watcher_rule {
  const char* name; /* may hold glob characters, and dots for a qualified name */
  enum watcher_rule_scope scope;
  /* Which changes count: see config/options.h's WatchTerms. `when` is null when every change does. */
  const char* when;
  double sample;
  uint32_t max_per_second;
  int breaks; /* 1: the language's debugger is entered at each such change */
};

/* A buffer to watch: memory_watch.h's MemoryVariable in C. */
struct watcher_buffer {
  void* base;
  size_t capacity;
  const int64_t* live_size;
  void* const* live_start;
  int64_t live_item_bytes;
  uint32_t variable; /* dictionary reference of a VariableBlob */
  uint32_t item_bytes;
  uint8_t scope;
};

enum watcher_log_level { WATCHER_DEBUG, WATCHER_INFO, WATCHER_WARNING, WATCHER_ERROR };

struct watcher_runtime {
  uint32_t abi;
  uint32_t bytes;

  /* 1 when watching was asked for: by a configuration, by WATCHER_*, or by watcher-exec. */
  int (*asked)(void);
  /* Brings the session up if it is not: ring, collector, fork handlers. 0 or an errno. */
  int (*start)(void);
  /* The mapped ring (first byte of the file) once start() returned 0, else null. Same address for ever, also after
   * fork. */
  void* (*ring)(void);
  /* Starts a new collector: for a writer that finds the old one dead. Any thread, signal handlers too. */
  void (*revive_collector)(void);

  /* The rules for a source file, by the interpreter's own spelling of its path. Returns how many there are. */
  size_t (*rules)(const char* path, const struct watcher_rule** rules);
  /* 1 when any rule exists at all. */
  int (*has_rules)(void);
  /* Value of an option as text ("true", "FULL", …), by its configuration name; null for an unknown one. */
  const char* (*option)(const char* name);

  /* Memory: see runtime/capture/memory_watch.h. allocate/allocated/free deal in pages of their own. */
  void* (*memory_allocate)(size_t bytes);
  size_t (*memory_allocated)(const void* pointer);
  int (*memory_free)(void* pointer);
  uint64_t (*memory_watch)(const struct watcher_buffer* buffer);
  void (*memory_unwatch)(uint64_t region, int op);

  /* One line to standard error, when the level is enabled; printf-like, no newline. */
  void (*log)(enum watcher_log_level level, const char* format, ...);

  /* No more events come: returns when all are written, as the end of the process would. */
  void (*close)(void);

  /* Watched memory costs nothing between the two; the second tells what changed meanwhile. 0 or an errno (EALREADY,
   * ENOMEM): see runtime/capture/memory_watch.h. */
  int (*memory_pause)(void);
  int (*memory_resume)(void);
  /* What happened so far; zeros before start(). */
  void (*stats)(struct watcher_stats* stats);

  /* The sentence that says what is wrong with a condition (config/condition.h); null: nothing. Valid until the thread's
   * next call. */
  const char* (*condition_fault)(const char* condition);

  /* A builtin's stores at once, as one event: see memory_store. */
  int (*memory_store)(void* to, const void* from, size_t bytes, uint64_t stores, uint32_t place, uint32_t context);

  /* From now on memory events are told with the running span: called like watcher_probe::place, it fills a SpanBlob
   * and sets `known` to 1, or leaves both alone. */
  void (*memory_spans)(uint32_t (*span)(void* span, uint32_t* known));
};

/* Tells when a C call returns to the interpreter: what the stores of one bulk statement are told by (bulk_window.h).
 * Any thread, signal context. */
struct watcher_call_witness {
  /* The calling thread was interrupted at `ip` with stack pointer `sp`: where the return address of its innermost call
   * from the interpreter's loop lies; 0 when that is not known. What is there is for the caller to check: it may be a
   * stub. */
  uintptr_t (*return_slot)(uintptr_t ip, uintptr_t sp);
  /* 1 when a return to this address is one to the interpreter's loop. */
  int (*is_interpreter)(uintptr_t address);
  /* Until called with null, `entered` is told before any code of the language runs. 0 when that cannot be. One caller
   * at a time. */
  int (*watch_entries)(void (*entered)(void));
};

struct watcher_probe {
  uint32_t abi;
  uint32_t bytes;
  const char* host; /* e.g. "CPython 3.11.2" */

  /* runtime/capture/memory_watch.h's PlaceOfWriter. Signal context, on the writing thread: the place (dictionary
   * reference of a PlaceBlob) of the running code, 0 if none; `context` receives a ContextBlob reference or 0. Must not
   * allocate, lock or fault for long. */
  uint32_t (*place)(void* ucontext, uint32_t* context);
  /* In the child, after the ring was renewed: cached thread ids and the like are stale. */
  void (*after_fork_child)(void);
  /* Null when a call's return cannot be witnessed here. */
  const struct watcher_call_witness* witness;
  /* The callers of the running code, innermost first, as places: writes up to 64 of them to `places`, an array of
   * uint32_t, and how many to `count`. Called like `place`, in the same contexts. Null when callers are not recorded.
   */
  uint32_t (*stack)(void* places, uint32_t* count);
};

/* Exported by a probe. Returns null when this host cannot be served (reason logged), else its table. */
typedef const struct watcher_probe* (*watcher_probe_attach_fn)(const struct watcher_runtime* runtime);

#ifdef __cplusplus
}
#endif

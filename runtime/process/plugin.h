/* Processors in C, C++, Rust or Go: a shared object that Watcher's worker process loads and asks about each event.
 *
 *     [[processor]]
 *     type = "plugin"
 *     path = "./my_processor.so"
 *     args = ["anything", "you like"]
 *
 * The object exports watcher_processor_create. It runs in a process of its own: it may take its time (timeout_ms), fail
 * or crash, which costs that event and nothing else. One thread calls it; what it prints does not get in the way.
 * C++ programs may like processor.hpp better. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WATCHER_PROCESSOR_ABI 1
#define WATCHER_PROCESSOR_EXPORT __attribute__((visibility("default")))

/* A byte that changed; where delta_format = "ranges" or a size changed, see the JSON instead. */
typedef struct watcher_delta {
  uint64_t offset;
  uint8_t before;
  uint8_t after;
} watcher_delta;

/* Valid until the call returns. Texts are UTF-8, never NULL; "" where the event says null. Later versions append. */
typedef struct watcher_processor_event {
  uint32_t size; /* of this struct */
  int32_t line;
  uint64_t ts_ns; /* CLOCK_REALTIME */
  uint64_t tid;
  uint64_t pid;
  const char* event_id;
  const char* variable_id;
  const char* variable_name;
  const char* symbol; /* the function */
  const char* file;
  const char* scope;         /* local, global, both, unknown */
  const char* op;            /* store, append, write, ... */
  const char* sql_statement; /* "" without one */
  const watcher_delta* deltas;
  size_t delta_count;  /* of `deltas` */
  size_t change_count; /* of the event's deltas, sizes and ranges included */
  const char* json;    /* the whole event, as it stands in events.jsonl */
  size_t json_length;
} watcher_processor_event;

typedef enum watcher_action {
  WATCHER_ACTION_PASS = 0,
  WATCHER_ACTION_DROP = 1,
  WATCHER_ACTION_ANNOTATE = 2, /* with `object` as its "annotations" */
  WATCHER_ACTION_ENRICH = 3,   /* with `object` as its "extra" */
  WATCHER_ACTION_FAIL = 4      /* the event is left out and counted; `object` may say why, as plain text */
} watcher_action;

typedef struct watcher_response {
  watcher_action action;
  const char* object; /* a JSON object, valid until the next call of the processor; NULL adds nothing */
} watcher_response;

typedef struct watcher_processor {
  void* state;
  void (*process)(void* state, const watcher_processor_event* event, watcher_response* response);
  void (*destroy)(void* state); /* may be NULL */
} watcher_processor;

/* Fills `processor` and returns NULL, or returns a sentence that says what is wrong. `arguments` are the table's args.
 */
WATCHER_PROCESSOR_EXPORT const char* watcher_processor_create(uint32_t abi, size_t argument_count,
                                                              const char* const* arguments,
                                                              watcher_processor* processor);

#ifdef __cplusplus
}
#endif

/* Watcher for programs that watch their own memory: who changed this variable, when, from where, from what to what.
 *
 *   if (watcher_initialize("watcher_output", 0) != 0) puts(watcher_last_error());
 *   char id[WATCHER_ID_BYTES];
 *   watcher_register(&balance, sizeof balance, "balance", WATCHER_INT64 | WATCHER_GLOBAL, WATCHER_FULL_DEPTH, id);
 *   watcher_start();
 *   balance += 5;                    // an event in watcher_output/events.jsonl, with the instruction's address
 *   watcher_stop();
 *
 * `pkg-config --cflags --libs watcher` links the runtime and, in front of libc, the shim whose functions lead system
 * calls around the protection of watched memory and keep the program's signal handlers behind ours. A program that
 * dlopens libwatcher_runtime.so instead gets the same by LD_PRELOAD=libwatcher_preload.so or by running under
 * watcher-exec. Without the shim a system call that writes to watched memory fails with EFAULT (with engine "uffd" it
 * succeeds on memory of watcher_allocate), and so would a store after the program has taken SIGSEGV for itself.
 *
 * States: new -> initialize -> initialized -> start -> running <-> paused -> stop -> stopped; a failed initialize leads
 * to failed. There is one session a process and no way back. A call in the wrong state changes nothing and fails.
 *
 * What is recorded are stores: a change that the compiler keeps in a register, or merges with the next, is none.
 *
 * Results: 0 or a WATCHER_E_ code; watcher_last_error() then has a sentence. Nothing here aborts, throws, or touches
 * errno's meaning. Threads: any, one call at a time (they wait for each other); not from signal handlers. A forked
 * child goes on in its parent's state, with events of its own in the same file. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WATCHER_API __attribute__((visibility("default")))

enum watcher_code {
  WATCHER_OK = 0,
  WATCHER_E_STATE = 1,    /* not in this state */
  WATCHER_E_ARGUMENT = 2, /* null, empty, too long, an unknown flag */
  WATCHER_E_MEMORY = 3,  /* not writable, or in use while stores are captured: a thread's stack, thread-local storage */
  WATCHER_E_UNKNOWN = 4, /* no variable of this id */
  WATCHER_E_SYSTEM = 5,  /* the system refused: directory, memory, … */
  WATCHER_E_DISABLED = 6 /* WATCHER_DISABLE=1, or a set-uid program: the program runs on unwatched */
};

enum watcher_state {
  WATCHER_STATE_NEW = 0,
  WATCHER_STATE_INITIALIZED = 1,
  WATCHER_STATE_RUNNING = 2,
  WATCHER_STATE_PAUSED = 3,
  WATCHER_STATE_STOPPED = 4,
  WATCHER_STATE_FAILED = 5
};

/* What a variable consists of, one of these … */
#define WATCHER_BYTES 0u
#define WATCHER_INT8 1u
#define WATCHER_UINT8 2u
#define WATCHER_INT16 3u
#define WATCHER_UINT16 4u
#define WATCHER_INT32 5u
#define WATCHER_UINT32 6u
#define WATCHER_INT64 7u
#define WATCHER_UINT64 8u
#define WATCHER_FLOAT32 9u
#define WATCHER_FLOAT64 10u
#define WATCHER_BOOL 11u
/* … and the `scope` of its events. */
#define WATCHER_LOCAL 0x100u
#define WATCHER_GLOBAL 0x200u

#define WATCHER_FULL_DEPTH 0u /* tell every changed byte of a store */
#define WATCHER_ID_BYTES 17   /* 16 hexadecimal digits and a zero: the events' variable_id */

struct watcher_stats {
  uint64_t emitted;          /* events recorded */
  uint64_t dropped;          /* events that found no room in the queue */
  uint64_t blocked;          /* times that a store waited for room */
  uint64_t neighbour_traps;  /* stores beside a variable, on its pages */
  uint64_t kernel_redirects; /* system calls led around the protection */
  uint64_t single_steps;     /* stores that had to open their page */
  uint64_t regions;          /* variables watched now */
  char engine[16];           /* "inline", "uffd", …; empty before memory is watched */
  char engine_reason[160];
};

/* `output_dir` (null or "": as configured) and `max_queue_size` (events, 0: as configured) are what the program
 * suggests; WATCHER_OUTPUT, WATCHER_MAX_QUEUE_SIZE, watcher-exec and a watcher.toml have the last word. Stores are not
 * recorded before watcher_start. */
WATCHER_API int watcher_initialize(const char* output_dir, size_t max_queue_size);

/* Watches [base, base + size): memory of the program's own that stays writable, mapped and where it is until
 * watcher_unregister; say that before free(), munmap() or the end of a scope. Whole pages are protected: stores to what
 * else lies on them work, but cost as much, so large or busy variables belong on pages of their own
 * (watcher_allocate). Refused: stacks and thread-local storage of all threads, read-only memory. Of stacks, those of
 * coroutines and of threads made by a bare clone() cannot be recognised: never pass them. The same name may be used
 * more than once; the ids differ, and are the same in every run of the program for the same order of registration.
 * `mutation_depth`: how many changed bytes an event lists. */
WATCHER_API int watcher_register(void* base, size_t size, const char* name, uint32_t flags, uint32_t mutation_depth,
                                 char id[WATCHER_ID_BYTES]);
WATCHER_API int watcher_unregister(const char* id);

/* Copies the first `size` bytes of the variable as they are between two stores; no store is seen half. `variable_size`
 * may be null. A size of 0 only asks for it. */
WATCHER_API int watcher_read_snapshot(const char* id, void* to, size_t size, size_t* variable_size);
/* Sets the whole variable, `size` being exactly its own, such as back to an earlier snapshot. While running it is one
 * change like the program's own stores: op "write" at the caller's address (an event for every 60 KiB), with nobody
 * else's store in between. */
WATCHER_API int watcher_write_snapshot(const char* id, const void* from, size_t size);

WATCHER_API int watcher_start(void);
/* While paused a store costs what it always cost. Copies what is watched; WATCHER_E_SYSTEM when there is no room. */
WATCHER_API int watcher_pause(void);
/* One event of each variable that changed meanwhile, op "resumed" with "exact": false: who did it is not known. */
WATCHER_API int watcher_resume(void);
/* Ends all watches and returns when the events are written. WATCHER_E_SYSTEM: they wait in the output directory for
 * `watcher-exec` or the next run. */
WATCHER_API int watcher_stop(void);

/* `bytes`: sizeof(struct watcher_stats), as the caller knows it. */
WATCHER_API int watcher_get_stats(struct watcher_stats* stats, size_t bytes);
WATCHER_API enum watcher_state watcher_get_state(void);
/* Of the calling thread's last failed call; never null, valid until its next one fails. */
WATCHER_API const char* watcher_last_error(void);

/* Zeroed memory on pages of its own, where a store costs least and has no neighbours. After watcher_initialize; null
 * on failure. watcher_free ends the watches inside, with op "freed". */
WATCHER_API void* watcher_allocate(size_t bytes);
WATCHER_API void watcher_free(void* memory);

#ifdef __cplusplus
}
#endif

// The state machine of a program that watches its own memory: watcher.h without its C.
//
// Threads: any, one call at a time; not in signal handlers. The lock is held across fork, so that a child finds it
// free.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "runtime/capture/memory_watch.h"
#include "runtime/watcher.h"

namespace watcher {

/// Results are WATCHER_E_ codes; the calling thread's last_error() says more.
class Control {
 public:
  constexpr Control() = default;

  int initialize(const char* output, std::size_t max_queue_size);
  int add(void* base, std::size_t bytes, const char* name, std::uint32_t flags, std::uint32_t mutation_depth, char* id);
  int remove(const char* id);
  int read(const char* id, void* to, std::size_t bytes, std::size_t* variable_bytes);
  int write(const char* id, const void* from, std::size_t bytes, std::uintptr_t ip);
  int start();
  int pause();
  int resume();
  int stop();
  int stats(watcher_stats* stats, std::size_t bytes);
  void* allocate(std::size_t bytes);
  void free(void* memory);

  watcher_state state() const { return state_.load(std::memory_order_relaxed); }

  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  struct Variable {
    RegionId region = 0;
    std::size_t bytes = 0;
    std::string name;
    std::uint64_t first_of_name = 0;  // the id of the first variable of that name and scope
  };
  struct Registry {
    std::map<std::uint64_t, Variable> variables;    // by id
    std::map<std::uint64_t, unsigned> of_one_name;  // how many there are, by the first one's id
  };
  using Found = std::map<std::uint64_t, Variable>::iterator;

  /// False, with the sentence, when the state is none of `states` (bits); `what` completes "cannot …".
  bool allowed(unsigned states, const char* what) const;
  int set_up(const char* output, std::size_t max_queue_size);
  Found find(const char* id, const char* what);

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  std::atomic<watcher_state> state_{WATCHER_STATE_NEW};  // written under the lock
  Registry* registry_ = nullptr;                         // made by initialize, lives for ever
};

extern constinit Control control;

/// Of the calling thread.
const char* last_error();

}  // namespace watcher

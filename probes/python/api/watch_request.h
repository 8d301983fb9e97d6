// What a watch() call asks for, of the variable that it makes.
//
// Threads: the GIL is held.
#pragma once

#include <cstdint>
#include <string>

#include "probes/python/interpreter/python_api.h"
#include "runtime/queue/event.h"

namespace watcher::python {

struct WatchRequest {
  std::string name;  // empty: that of the target
  std::string when;
  std::uint32_t mutation_depth = 0;  // 0: as the session is configured
  Scope scope = Scope::kUnknown;     // what events show, when `scoped`
  bool scoped = false;
  bool threads = false;
  bool locals = false;
  bool sql = false;
  bool breaks = false;
  std::uint64_t block = 0;  // of a `with watching(…)`, which ends what it began; 0: none
  bool operator==(const WatchRequest&) const = default;
};

/// The one object for equal requests: variables refer to it. Process-lifetime.
const WatchRequest* keep_request(const WatchRequest& request);
/// The block ended, and with it all variables that refer to its request.
void forget_request(const WatchRequest* request);

/// From the arguments of a call: value, name, then keywords. False: an exception is set, which says what would be
/// right. `function` is the name it gives.
bool parse_request(const char* function, PyObject* const* args, ssize_t count, PyObject* keywords, PyObject** value,
                   bool* proxy, WatchRequest* request);

}  // namespace watcher::python

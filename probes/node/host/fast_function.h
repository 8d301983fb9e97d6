// A JavaScript function of ours that optimised code calls as C: without it each call costs 40 ns of V8's and N-API's
// own.
//
// Threads that run JavaScript.
#pragma once

#include <node/node_api.h>

#include <cstddef>
#include <cstdint>

namespace watcher::node {

/// What V8's own callbacks get; the same from 18 to 24. A value's handle is the address of its slot, as N-API's are.
struct CallInfo {
  std::uintptr_t* implicit;
  std::uintptr_t* slots;
  std::int32_t count;

  void give(std::uint32_t number) const {
    constexpr int kReturnValue = 3;
    implicit[kReturnValue] = std::uintptr_t{number} << 32;  // a small integer of V8's
  }
  napi_value argument(int at) const { return at < count ? reinterpret_cast<napi_value>(slots + at) : nullptr; }
};
using SlowCall = void (*)(const CallInfo& info);

/// What optimised code calls: no C++ of V8's is between the two, and nothing of V8's may be touched there. The first
/// argument is JavaScript's `this`.
struct FastCall {
  enum Kind { kNone, kStore, kNumber } kind;
  const void* address;

  FastCall() : kind(kNone), address(nullptr) {}
  explicit FastCall(void (*call)(void* self, std::uint32_t, std::uint32_t, double, double))
      : kind(kStore), address(reinterpret_cast<const void*>(call)) {}
  explicit FastCall(std::uint32_t (*call)(void* self)) : kind(kNumber), address(reinterpret_cast<const void*>(call)) {}
};

/// The calling thread's environment.
extern __attribute__((tls_model("initial-exec"))) constinit thread_local napi_env thread_env;

/// binding[name]: a function that is called by `slow`, and by optimised code, where node can (20 and later), by `fast`
/// if there is one.
void add_function(napi_value binding, const char* name, SlowCall slow, FastCall fast = {});

}  // namespace watcher::node

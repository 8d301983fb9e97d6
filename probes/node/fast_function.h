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

  napi_value argument(int at) const { return at < count ? reinterpret_cast<napi_value>(slots + at) : nullptr; }
};
using SlowCall = void (*)(const CallInfo& info);

/// store(site, kinds, before, after), all numbers. The first argument is JavaScript's `this`.
using FastStore = void (*)(void* receiver, std::uint32_t site, std::uint32_t kinds, double before, double after);

/// A function that code which is not optimised calls by `slow`. Null: this node has no such functions, or (18) none
/// that optimised code would call as C, with `fast` given.
napi_value make_function(SlowCall slow, FastStore fast);

}  // namespace watcher::node

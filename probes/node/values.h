// JavaScript values as events hold them. Objects come described by our own JavaScript (describe.cjs), so nothing here
// runs code of the host's.
#pragma once

#include <node/node_api.h>

#include <string>
#include <string_view>

#include "runtime/queue/event.h"

namespace watcher::node {

struct Value {
  ValueKind kind = ValueKind::kUnbound;
  std::uint64_t word = 0;
  DictionaryRef type_name = 0;
  std::uint64_t total = 0;
  std::string bytes;

  void clear(ValueKind now) {
    kind = now;
    word = 0;
    type_name = 0;
    total = 0;
    bytes.clear();
  }
  std::uint32_t payload_bytes() const;
  std::byte* put(std::byte* at) const;
};

/// `type`: what is described by the text `value`; empty for a value itself. A symbol of its own is "unbound".
void encode(napi_env env, napi_value value, std::string_view type, Value* out);

/// The start of a string, whole characters; `total` receives its length.
std::string bounded_text(napi_env env, napi_value value, std::size_t most, std::uint64_t* total);

}  // namespace watcher::node

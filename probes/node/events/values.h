// JavaScript values as events hold them. Objects come described by our own JavaScript (describe.cjs), so nothing here
// runs code of the host's.
#pragma once

#include <node/node_api.h>

#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include "runtime/queue/event_ring.h"

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

/// A number as an event holds it: an integer where it is one that doubles tell apart from all others.
inline ValueKind put_number(double number, std::uint64_t* word) {
  constexpr double kSafe = 9007199254740992.0;  // 2^53
  if (number > -kSafe && number < kSafe) [[likely]] {
    const auto whole = static_cast<std::int64_t>(number);
    if (static_cast<double>(whole) == number && (whole != 0 || !std::signbit(number))) {
      *word = static_cast<std::uint64_t>(whole);
      return ValueKind::kInt;
    }
  }
  *word = std::bit_cast<std::uint64_t>(number);
  return ValueKind::kFloat;
}

/// The thread's own pair, so that their texts need no new memory.
struct Scratch {
  Value before;
  Value after;
};
Scratch& scratch();

/// Puts both into an event's slots, their payloads to `at`.
void put_values(const Claim& claim, std::byte* at, const Value& before, const Value& after);

/// `type`: what is described by the text `value`; empty for a value itself. A symbol of its own is "unbound".
void encode(napi_env env, napi_value value, std::string_view type, Value* out);

/// The start of a string, whole characters, in the place of what `text` held. Gives the whole length.
std::uint64_t read_text(napi_env env, napi_value value, std::size_t most, std::string* text);

}  // namespace watcher::node

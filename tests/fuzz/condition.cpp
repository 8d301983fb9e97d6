// Conditions: what compiles gives a verdict on any change, the same one each time.
//
// The first two bytes choose the values that the change has, the rest is the source.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "config/condition.h"

namespace {

using watcher::ConditionValue;

constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();

ConditionValue value_of(unsigned choice) {
  const ConditionValue values[] = {
      {},
      ConditionValue::boolean(true),
      ConditionValue::of(std::int64_t{0}),
      ConditionValue::of(std::int64_t{-1}),
      ConditionValue::of(kLowest),
      ConditionValue::of(kHighest),
      ConditionValue::of(0.5),
      ConditionValue::of(kLargest),
      ConditionValue::of(kNoNumber),
      ConditionValue::of(std::string_view("")),
      ConditionValue::of(std::string_view("text")),
      ConditionValue::of(std::string_view("\xff\xc0")),
      {.kind = ConditionValue::Kind::kOther, .text = "<A object>", .type = "A"},
  };
  return values[choice % (sizeof values / sizeof values[0])];
}

ConditionValue look_up(watcher::ConditionName name, const void* change) {
  return value_of(static_cast<const std::uint8_t*>(change)[name == watcher::ConditionName::kOld] +
                  static_cast<unsigned>(name));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto condition = watcher::Condition::compile(source);
  if (!condition) {
    if (condition.error().message.empty()) abort();
    return 0;
  }
  if (condition.value().test(look_up, data) != condition.value().test(look_up, data)) abort();
  if (!watcher::Condition::compile(condition.value().source())) abort();
  return 0;
}

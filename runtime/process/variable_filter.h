// Which events of a variable are written: its condition, its share, its limit a second.
//
// One thread. Belongs to one ring, whose dictionary the references are of.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "config/condition.h"
#include "runtime/enrich/decode.h"

namespace watcher {

class VariableFilter {
 public:
  /// False: the event is not to be written, and is counted as filtered. A condition that cannot be evaluated for the
  /// event keeps it.
  bool keeps(const EventView& event, const Dictionary& dictionary, std::uint64_t timestamp_ns);
  /// Does it depend on a variable's earlier events which ones are written?
  bool is_limited(DictionaryRef variable, const Dictionary& dictionary);

 private:
  struct Terms {
    std::optional<Condition> when;
    double sample = 1;
    std::uint32_t max_per_second = 0;
  };
  struct Second {
    std::uint64_t number = 0;
    std::uint32_t events = 0;
  };

  const Terms& terms_of(DictionaryRef filter, const Dictionary& dictionary);
  bool within_limit(const Terms& terms, const EventView& event, std::uint64_t timestamp_ns);

  std::unordered_map<DictionaryRef, Terms> terms_;
  std::unordered_map<std::uint64_t, Second> seconds_;  // by variable id
};

/// A path as conditions see it: its steps joined by dots.
std::string path_text(const std::vector<PathPart>& path);

/// What the condition's names mean for an event. `change` is a ConditionSubject.
struct ConditionSubject {
  const EventView* event;
  std::string path;  // path_text
};
std::string path_text(const std::vector<PathPart>& path);
ConditionValue condition_value(ConditionName name, const void* change);

}  // namespace watcher

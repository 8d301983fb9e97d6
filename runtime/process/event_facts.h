// What built-in processors look at, whether the event comes from the ring or as a line from a processor before them.
//
// One thread. Borrows what it was made from.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "config/condition.h"
#include "runtime/enrich/decode.h"
#include "runtime/enrich/delta.h"
#include "runtime/process/variable_filter.h"

namespace watcher {

class EventFacts {
 public:
  virtual ~EventFacts() = default;

  std::uint64_t variable_id = 0;
  std::uint64_t timestamp_ns = 0;
  std::uint64_t thread_id = 0;
  std::uint64_t deltas = 0;
  std::int64_t line = 0;
  std::string_view name, file, function, scope, thread_name, op;

  /// Of all that tells one change from another, but for its number and its time.
  virtual std::uint64_t content_hash() const = 0;
  virtual ConditionValue value(ConditionName name) const = 0;
};

class RingEventFacts final : public EventFacts {
 public:
  RingEventFacts(const EventView& event, const Delta& delta, std::uint64_t timestamp_ns);
  std::uint64_t content_hash() const override;
  ConditionValue value(ConditionName name) const override;

 private:
  const EventView& event_;
  mutable ConditionSubject subject_;
};

class LineFacts final : public EventFacts {
 public:
  /// Of a line that is no event nothing is known.
  explicit LineFacts(std::string_view line);
  std::uint64_t content_hash() const override;
  ConditionValue value(ConditionName name) const override;

 private:
  std::string_view text(const char* key) const;
  std::int64_t number(const char* key) const;
  ConditionValue side(const char* key) const;

  rapidjson::Document event_;
  std::string_view line_;
  mutable std::string path_;
};

/// A ConditionLookup whose change is an EventFacts.
ConditionValue fact_value(ConditionName name, const void* facts);

}  // namespace watcher

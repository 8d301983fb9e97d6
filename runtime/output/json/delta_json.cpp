#include "runtime/output/json/delta_json.h"

#include <algorithm>

#include "runtime/output/json/digits.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxRanges = 1024;
constexpr std::size_t kLongestEntry = 96;  // of one byte, or one change of size
constexpr char kDigits[] = "0123456789abcdef";

char* put(std::string_view text, char* to) {
  return std::copy(text.begin(), text.end(), to);
}

/// Without padding.
char* put_byte(char character, char* to) {
  const auto byte = static_cast<unsigned char>(character);
  *to = kDigits[byte >> 4];
  to += byte >> 4 != 0;
  *to = kDigits[byte & 15];
  return to + 1;
}

char* put_hex(std::string_view bytes, char* to) {
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    *to++ = kDigits[byte >> 4];
    *to++ = kDigits[byte & 15];
  }
  return to;
}

void write_pair(std::uint64_t offset, std::uint64_t length, JsonWriter* json) {
  json->start_array();
  json->count(offset);
  json->count(length);
  json->end_array();
}

/// What turns a position in the kept bytes of a bulk event into an offset in the variable; asked in ascending order.
class BulkBase {
 public:
  explicit BulkBase(const Delta& delta) : ranges_(delta.ranges) {}

  std::uint64_t of(std::uint64_t position) {
    while (position >= begin_ + ranges_[index_].kept) begin_ += ranges_[index_++].kept;
    return ranges_[index_].offset - begin_;  // may wrap: the sum does not
  }

 private:
  const std::vector<BulkRange>& ranges_;
  std::size_t index_ = 0;
  std::uint64_t begin_ = 0;
};

void add_bytes(const Delta& delta, const DeltaRun& run, std::uint64_t base, JsonWriter* json) {
  for (std::uint64_t at = run.offset; at < run.offset + run.length; ++at)
    json->value(kLongestEntry, [&](char* to) {
      to = put_decimal(base + at, put("{\"offset\":", to));
      to = put_byte(delta.before[at], put(",\"before\":\"0x", to));
      to = put_byte(delta.after[at], put("\",\"after\":\"0x", to));
      return put("\"}", to);
    });
}

void add_range(const Delta& delta, const DeltaRun& run, std::uint64_t base, JsonWriter* json) {
  json->value(kLongestEntry + 4 * run.length, [&](char* to) {
    to = put_decimal(base + run.offset, put("{\"offset\":", to));
    to = put_hex(delta.before.substr(run.offset, run.length), put(",\"before\":\"", to));
    to = put_hex(delta.after.substr(run.offset, run.length), put("\",\"after\":\"", to));
    return put("\"}", to);
  });
}

void add_size_change(const Delta& delta, JsonWriter* json) {
  json->value(kLongestEntry, [&](char* to) {
    to = put_decimal(delta.size_before, put("{\"size_change\":\"", to));
    return put("\"}", put_decimal(delta.size_after, put(" -> ", to)));
  });
}

}  // namespace

void DeltaJson::write(Delta* delta, std::uint64_t base, std::uint64_t depth, JsonWriter* json) {
  json->key("deltas");
  json->start_array();
  std::uint64_t left = depth != 0 ? std::min(depth, DeltaStyle::kFull) : style_.depth;
  std::uint64_t listed = 0;
  BulkBase bulk(*delta);
  for (const DeltaRun& run : delta->runs) {
    if (left == 0) break;
    const DeltaRun shown{run.offset, std::min(run.length, left)};
    left -= shown.length;
    listed += shown.length;
    const std::uint64_t from = delta->ranges.empty() ? base : bulk.of(run.offset);
    style_.as_ranges ? add_range(*delta, shown, from, json) : add_bytes(*delta, shown, from, json);
  }
  if (delta->size_changed()) add_size_change(*delta, json);
  json->end_array();
  if (delta->changed_bytes <= listed) return;
  json->key("deltas_total");
  json->count(delta->changed_bytes);
  json->key("ranges");
  json->start_array();
  if (delta->ranges.empty()) merge_runs(&delta->runs, kMaxRanges);
  if (delta->ranges.empty())
    for (const DeltaRun& run : delta->runs) write_pair(base + run.offset, run.length, json);
  for (const BulkRange& range : delta->ranges) write_pair(range.offset, range.length, json);
  json->end_array();
}

}  // namespace watcher

#include "runtime/output/delta_json.h"

#include <algorithm>
#include <charconv>

namespace watcher {
namespace {

constexpr std::size_t kMaxRanges = 1024;

template <class Number>
void add_number(Number value, int base, std::string* out) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, base).ptr;
  out->append(digits, end);
}

unsigned byte_at(std::string_view bytes, std::uint64_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

void add_hex(std::string_view bytes, std::string* out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    out->push_back(kDigits[byte >> 4]);
    out->push_back(kDigits[byte & 15]);
  }
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

}  // namespace

void DeltaJson::separate() {
  if (text_.size() > 1) text_.push_back(',');
}

void DeltaJson::add_bytes(const Delta& delta, const DeltaRun& run, std::uint64_t base) {
  for (std::uint64_t at = run.offset; at < run.offset + run.length; ++at) {
    separate();
    text_.append("{\"offset\":");
    add_number(base + at, 10, &text_);
    text_.append(",\"before\":\"0x");
    add_number(byte_at(delta.before, at), 16, &text_);
    text_.append("\",\"after\":\"0x");
    add_number(byte_at(delta.after, at), 16, &text_);
    text_.append("\"}");
  }
}

void DeltaJson::add_range(const Delta& delta, const DeltaRun& run, std::uint64_t base) {
  separate();
  text_.append("{\"offset\":");
  add_number(base + run.offset, 10, &text_);
  text_.append(",\"before\":\"");
  add_hex(delta.before.substr(run.offset, run.length), &text_);
  text_.append("\",\"after\":\"");
  add_hex(delta.after.substr(run.offset, run.length), &text_);
  text_.append("\"}");
}

void DeltaJson::add_size_change(const Delta& delta) {
  separate();
  text_.append("{\"size_change\":\"");
  add_number(delta.size_before, 10, &text_);
  text_.append(" -> ");
  add_number(delta.size_after, 10, &text_);
  text_.append("\"}");
}

void DeltaJson::write(Delta* delta, std::uint64_t base, std::uint64_t depth, JsonWriter* json) {
  text_.clear();
  text_.push_back('[');
  std::uint64_t left = depth != 0 ? std::min(depth, DeltaStyle::kFull) : style_.depth;
  std::uint64_t listed = 0;
  BulkBase bulk(*delta);
  for (const DeltaRun& run : delta->runs) {
    if (left == 0) break;
    const DeltaRun shown{run.offset, std::min(run.length, left)};
    left -= shown.length;
    listed += shown.length;
    const std::uint64_t from = delta->ranges.empty() ? base : bulk.of(run.offset);
    style_.as_ranges ? add_range(*delta, shown, from) : add_bytes(*delta, shown, from);
  }
  if (delta->size_changed()) add_size_change(*delta);
  text_.push_back(']');
  json->key("deltas");
  json->raw_array(text_);
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

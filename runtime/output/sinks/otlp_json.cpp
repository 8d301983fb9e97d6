#include "runtime/output/sinks/otlp_json.h"

#include <rapidjson/reader.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>

namespace watcher {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;
using Size = rapidjson::SizeType;

constexpr unsigned kParseFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag;
constexpr int kSeverityInfo = 9;
constexpr std::string_view kTail = "]}]}]}";

/// Members of an event that are told beside it, and as what.
struct Mirrored {
  std::string_view member;
  const char* attribute;  // null: a field of the record itself
};
constexpr Mirrored kMirrored[] = {{"timestamp_ns", nullptr},
                                  {"trace_id", nullptr},
                                  {"span_id", nullptr},
                                  {"trace_flags", nullptr},
                                  {"event_id", "watcher.event_id"},
                                  {"variable_name", "watcher.variable.name"},
                                  {"variable_id", "watcher.variable.id"},
                                  {"op", "watcher.op"},
                                  {"function", "code.function.name"},
                                  {"file", "code.file.path"},
                                  {"line", "code.line.number"},
                                  {"thread_id", "thread.id"},
                                  {"pid", "process.pid"}};
constexpr std::size_t kTimestamp = 0, kTraceId = 1, kSpanId = 2, kTraceFlags = 3;

void text(Writer& json, std::string_view value) {
  json.String(value.data(), static_cast<Size>(value.size()));
}

void write_string(Writer& json, std::string_view value) {
  json.StartObject();
  json.Key("stringValue");
  text(json, value);
  json.EndObject();
}

bool fits_int64(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return fault == std::errc() && end == digits.data() + digits.size();
}

// An integer of more than 64 bits stays exact as a text.
void write_number(Writer& json, std::string_view digits) {
  const bool whole = digits.find_first_of(".eE") == std::string_view::npos;
  if (whole && !fits_int64(digits)) return write_string(json, digits);
  json.StartObject();
  json.Key(whole ? "intValue" : "doubleValue");
  whole ? text(json, digits) : (void)json.RawValue(digits.data(), digits.size(), rapidjson::kNumberType);
  json.EndObject();
}

/// From the tokens of an event to an AnyValue; the mirrored members are kept on the way.
class Transcoder {
 public:
  explicit Transcoder(Writer* json) : json_(*json) {}

  struct Kept {
    std::string value;
    bool number = false;
  };
  const Kept& kept(std::size_t index) const { return kept_[index]; }

  bool Null() { return json_.StartObject() && json_.EndObject() && end_value(); }
  bool Bool(bool value) {
    return json_.StartObject() && json_.Key("boolValue") && json_.Bool(value) && json_.EndObject() && end_value();
  }
  bool RawNumber(const char* digits, Size length, bool) {
    keep({digits, length}, true);
    write_number(json_, {digits, length});
    return end_value();
  }
  bool String(const char* bytes, Size length, bool) {
    keep({bytes, length}, false);
    write_string(json_, {bytes, length});
    return end_value();
  }
  bool StartObject() { return begin("kvlistValue", '{'); }
  bool StartArray() { return begin("arrayValue", '['); }
  bool Key(const char* bytes, Size length, bool) {
    if (levels_.size() == 1) key_.assign(bytes, length);
    return json_.StartObject() && json_.Key("key") && json_.String(bytes, length) && json_.Key("value");
  }
  bool EndObject(Size) { return end(); }
  bool EndArray(Size) { return end(); }
  // Numbers come as texts; these are never called.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(std::int64_t) { return false; }
  bool Uint64(std::uint64_t) { return false; }
  bool Double(double) { return false; }

 private:
  bool begin(const char* kind, char level) {
    if (levels_.empty() && level != '{') return false;
    levels_.push_back(level);
    return json_.StartObject() && json_.Key(kind) && json_.StartObject() && json_.Key("values") && json_.StartArray();
  }
  bool end() {
    levels_.pop_back();
    return json_.EndArray() && json_.EndObject() && json_.EndObject() && end_value();
  }
  /// A member of an object is an object of key and value.
  bool end_value() { return levels_.empty() || levels_.back() == '[' || json_.EndObject(); }
  void keep(std::string_view value, bool number) {
    if (levels_.size() != 1) return;
    for (std::size_t i = 0; i < std::size(kMirrored); ++i)
      if (kMirrored[i].member == key_) kept_[i] = {std::string(value), number};
  }

  Writer& json_;
  std::string levels_;  // what is open: '{' or '['
  std::string key_;     // of the event itself
  Kept kept_[std::size(kMirrored)];
};

void write_attribute(Writer& json, const char* key, const Transcoder::Kept& kept) {
  json.StartObject();
  json.Key("key");
  json.String(key);
  json.Key("value");
  kept.number ? write_number(json, kept.value) : write_string(json, kept.value);
  json.EndObject();
}

bool is_hex(std::string_view text, std::size_t length) {
  return text.size() == length && text.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         text.find_first_not_of('0') != std::string_view::npos;
}

void write_span(Writer& json, const Transcoder& event) {
  if (!is_hex(event.kept(kTraceId).value, 32) || !is_hex(event.kept(kSpanId).value, 16)) return;
  json.Key("traceId");
  text(json, event.kept(kTraceId).value);
  json.Key("spanId");
  text(json, event.kept(kSpanId).value);
  unsigned flags = 0;
  const std::string& digits = event.kept(kTraceFlags).value;
  std::from_chars(digits.data(), digits.data() + digits.size(), flags, 16);
  json.Key("flags");
  json.Uint(flags & 0xff);
}

bool write_record(Writer& json, std::string_view line) {
  json.StartObject();
  json.Key("body");
  Transcoder event(&json);
  rapidjson::MemoryStream stream(line.data(), line.size());
  if (rapidjson::Reader reader; reader.Parse<kParseFlags>(stream, event).IsError()) return false;
  const std::string& time = event.kept(kTimestamp).value;
  if (!event.kept(kTimestamp).number) return false;
  for (const char* key : {"timeUnixNano", "observedTimeUnixNano"}) {
    json.Key(key);
    text(json, time);
  }
  json.Key("severityNumber");
  json.Int(kSeverityInfo);
  json.Key("severityText");
  json.String("INFO");
  json.Key("eventName");
  json.String("watcher.change");
  write_span(json, event);
  json.Key("attributes");
  json.StartArray();
  for (std::size_t i = 0; i < std::size(kMirrored); ++i)
    if (kMirrored[i].attribute != nullptr && !event.kept(i).value.empty())
      write_attribute(json, kMirrored[i].attribute, event.kept(i));
  json.EndArray();
  return json.EndObject();
}

}  // namespace

OtlpRequest::OtlpRequest(const OtlpAttributes& resource) {
  rapidjson::StringBuffer buffer;
  Writer json(buffer);
  json.StartArray();
  for (const auto& [key, value] : resource) write_attribute(json, key.c_str(), {value, false});
  json.EndArray();
  head_ = "{\"resourceLogs\":[{\"resource\":{\"attributes\":" + std::string(buffer.GetString(), buffer.GetSize()) +
          "},\"scopeLogs\":[{\"scope\":{\"name\":\"watcher\"},\"logRecords\":[";
  clear();
}

void OtlpRequest::clear() {
  text_ = head_;
  records_ = 0;
}

bool OtlpRequest::add(std::string_view line) {
  record_.Clear();
  Writer json(record_);
  if (!write_record(json, line)) return false;
  if (records_++ > 0) text_ += ',';
  text_.append(record_.GetString(), record_.GetSize());
  return true;
}

const std::string& OtlpRequest::finish() {
  text_ += kTail;
  return text_;
}

}  // namespace watcher

// The JSON writer all output goes through: RapidJSON into a growing buffer that is reused.
#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <string>
#include <string_view>

#include "runtime/output/utf8.h"

namespace watcher {

using JsonBuffer = rapidjson::StringBuffer;

class JsonWriter {
 public:
  explicit JsonWriter(JsonBuffer* buffer) : writer_(*buffer) {}

  void restart(JsonBuffer* buffer) { writer_.Reset(*buffer); }

  void start_object() { writer_.StartObject(); }
  void end_object() { writer_.EndObject(); }
  void start_array() { writer_.StartArray(); }
  void end_array() { writer_.EndArray(); }

  template <std::size_t kLength>
  void key(const char (&name)[kLength]) {
    writer_.Key(name, kLength - 1);
  }
  void null() { writer_.Null(); }
  void boolean(bool value) { writer_.Bool(value); }
  void integer(std::int64_t value) { writer_.Int64(value); }
  void count(std::uint64_t value) { writer_.Uint64(value); }
  /// JSON has no NaN and no infinities: finite values only.
  void number(double value) { writer_.Double(value); }
  /// Text of ours, known to be valid.
  void text(std::string_view value) { writer_.String(value.data(), static_cast<rapidjson::SizeType>(value.size())); }
  /// Text of the host: repaired where it is not valid UTF-8.
  void foreign_text(std::string_view value) { text(valid_utf8(value, &scratch_)); }
  /// JSON made before. `members` is a run of members without braces, up to and including the last one's key.
  void raw_array(std::string_view json) { writer_.RawValue(json.data(), json.size(), rapidjson::kArrayType); }
  void raw_object(std::string_view json) { writer_.RawValue(json.data(), json.size(), rapidjson::kObjectType); }
  void raw_members(std::string_view members) {
    writer_.RawValue(members.data(), members.size(), rapidjson::kStringType);
  }

 private:
  rapidjson::Writer<JsonBuffer> writer_;
  std::string scratch_;
};

}  // namespace watcher

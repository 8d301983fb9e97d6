// Lines of the journal, read back by sinks. No line of ours is refused; one of somebody else's is skipped.
//
// One thread.
#pragma once

#include <rapidjson/document.h>

#include <charconv>
#include <cstdint>
#include <string_view>

namespace watcher {

/// Splits off the first line, without its newline.
inline std::string_view take_line(std::string_view* lines) {
  const std::size_t end = lines->find('\n');
  const std::string_view line = lines->substr(0, end);
  lines->remove_prefix(end == std::string_view::npos ? lines->size() : end + 1);
  return line;
}

/// An integer beyond what a double holds makes all numbers of its event texts.
inline bool parse_event(std::string_view line, rapidjson::Document* event) {
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag;
  event->Parse<kFlags>(line.data(), line.size());
  if (event->HasParseError() && event->GetParseError() == rapidjson::kParseErrorNumberTooBig)
    event->Parse<kFlags | rapidjson::kParseNumbersAsStringsFlag>(line.data(), line.size());
  return !event->HasParseError() && event->IsObject();
}

inline const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto found = object.FindMember(key);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

inline std::string_view text_member(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  return value != nullptr && value->IsString() ? std::string_view(value->GetString(), value->GetStringLength())
                                               : std::string_view();
}

inline std::uint64_t count_member(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value != nullptr && value->IsUint64()) return value->GetUint64();
  const std::string_view digits = text_member(object, key);
  std::uint64_t count = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), count);
  return count;
}

}  // namespace watcher

// Lines of the journal, read back by sinks. No line of ours is refused; one of somebody else's is skipped.
//
// One thread.
#pragma once

#include <rapidjson/document.h>

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
  return value != nullptr && value->IsUint64() ? value->GetUint64() : 0;
}

}  // namespace watcher

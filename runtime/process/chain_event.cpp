#include "runtime/process/chain_event.h"

#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace watcher {
namespace {

constexpr int kDeepest = 64;

/// Bounds the depth, and finds where the members of an object begin and end.
class Members : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Members> {
 public:
  struct Member {
    std::string_view key;
    std::size_t begin;  // of the key's quote
  };

  explicit Members(rapidjson::MemoryStream* stream, std::string_view text) : stream_(stream), text_(text) {}

  bool Default() { return depth_ > 0; }
  bool StartObject() { return ++depth_ <= kDeepest; }
  bool EndObject(rapidjson::SizeType) { return close(); }
  bool StartArray() { return depth_ > 0 && ++depth_ <= kDeepest; }
  bool EndArray(rapidjson::SizeType) { return close(); }
  bool Key(const char*, rapidjson::SizeType, bool) {
    if (depth_ != 1) return true;
    // The stream stands behind the key's closing quote; the spelling is compared as it was written.
    const std::size_t end = stream_->Tell();
    std::size_t begin = end - 1;
    do begin = text_.rfind('"', begin - 1);
    while (is_escaped(begin));
    members_.push_back({text_.substr(begin, end - begin), begin});
    return true;
  }

  const std::vector<Member>& members() const { return members_; }

 private:
  bool close() {
    --depth_;
    return true;
  }
  bool is_escaped(std::size_t at) const {
    std::size_t slashes = 0;
    while (at > slashes && text_[at - slashes - 1] == '\\') ++slashes;
    return slashes % 2 == 1;
  }

  rapidjson::MemoryStream* stream_;
  std::string_view text_;
  int depth_ = 0;
  std::vector<Member> members_;
};

constexpr unsigned kStrict =
    rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;

std::vector<Members::Member> members_of(std::string_view object, bool* valid) {
  rapidjson::MemoryStream stream(object.data(), object.size());
  rapidjson::Reader reader;
  Members members(&stream, object);
  *valid = object.starts_with('{') && !reader.Parse<kStrict>(stream, members).IsError();
  return members.members();
}

/// The parser takes a zero byte for the end.
bool is_object(std::string_view text) {
  bool valid = text.find('\0') == std::string_view::npos && text.ends_with('}');
  if (valid) members_of(text, &valid);
  return valid;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == ',' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The members of an object as they are written, each with its key.
std::vector<std::pair<std::string_view, std::string_view>> written_members(std::string_view object) {
  bool valid = false;
  const std::vector<Members::Member> members = members_of(object, &valid);
  std::vector<std::pair<std::string_view, std::string_view>> written;
  for (std::size_t i = 0; valid && i < members.size(); ++i) {
    const std::size_t end = i + 1 < members.size() ? members[i + 1].begin : object.size() - 1;
    written.emplace_back(members[i].key, trimmed(object.substr(members[i].begin, end - members[i].begin)));
  }
  return written;
}

std::optional<std::string_view> between(std::string_view text, std::string_view prefix, std::string_view suffix) {
  if (!text.starts_with(prefix) || !text.ends_with(suffix) || text.size() < prefix.size() + suffix.size())
    return std::nullopt;
  return text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
}

/// The parser's own copy of a text.
struct Text : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Text> {
  bool Default() { return false; }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    decoded.assign(text, length);
    return true;
  }
  std::string decoded;
};

bool decode_text(std::string_view inside, std::string* decoded) {
  const std::string quoted = '"' + std::string(inside) + '"';
  rapidjson::MemoryStream stream(quoted.data(), quoted.size());
  rapidjson::Reader reader;
  Text text;
  const bool valid = inside.find('\0') == std::string_view::npos && !reader.Parse<kStrict>(stream, text).IsError();
  if (decoded != nullptr) *decoded = std::move(text.decoded);
  return valid;
}

}  // namespace

std::string decoded_text(std::string_view content) {
  std::string decoded;
  decode_text(content, &decoded);
  return decoded;
}

// The workers are ours, and write each answer in one way.
Reply parse_reply(std::string_view line) {
  using Kind = Reply::Kind;
  if (line == R"({"action":"pass"})") return {Kind::kPass, {}};
  if (line == R"({"action":"drop"})") return {Kind::kDrop, {}};
  if (line == R"({"ready":true})") return {Kind::kReady, {}};
  if (const auto object = between(line, R"({"action":"annotate","annotations":)", "}"))
    return is_object(*object) ? Reply{Kind::kAnnotate, *object} : Reply{Kind::kFailure, "annotations is no object"};
  if (const auto object = between(line, R"({"action":"enrich","extra":)", "}"))
    return is_object(*object) ? Reply{Kind::kEnrich, *object} : Reply{Kind::kFailure, "extra is no object"};
  if (const auto text = between(line, R"({"error":")", "\"}"); text && decode_text(*text, nullptr))
    return {Kind::kFailure, *text};
  return {};
}

std::string merge_objects(std::string_view first, std::string_view second) {
  const auto later = written_members(second);
  std::string merged = "{";
  const auto add = [&merged](std::string_view member) {
    if (merged.size() > 1) merged += ',';
    merged += member;
  };
  for (const auto& [key, member] : written_members(first))
    if (std::ranges::find(later, key, [](const auto& entry) { return entry.first; }) == later.end()) add(member);
  for (const auto& [key, member] : later) add(member);
  return merged + '}';
}

void ChainEvent::append_to(std::string* out) const {
  if (annotations.empty() && extra.empty()) {
    out->append(line);
  } else {
    out->append(line.substr(0, line.size() - 1));
    if (!annotations.empty()) out->append(",\"annotations\":").append(annotations);
    if (!extra.empty()) out->append(",\"extra\":").append(extra);
    *out += '}';
  }
  *out += '\n';
}

}  // namespace watcher

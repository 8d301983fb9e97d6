#include "tools/recorded-events.h"

#include <fnmatch.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace watcher {
namespace {

constexpr std::size_t kLongestValue = 120;
constexpr std::size_t kLongestStatement = 80;

using Json = rapidjson::Value;

const Json* member(const Json& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto found = object.FindMember(key);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

std::string_view string_of(const Json* value) {
  return value && value->IsString() ? std::string_view(value->GetString(), value->GetStringLength()) : "";
}

std::string number_text(const Json& value) {
  char digits[40];
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  return std::string(digits, std::to_chars(digits, digits + sizeof digits, value.GetDouble()).ptr);
}

std::string enclosed(std::string_view before, std::string_view text, std::string_view behind) {
  return std::string(before).append(text).append(behind);
}

std::string scalar_text(const Json& value, bool quoted) {
  if (value.IsString()) return enclosed(quoted ? "'" : "", string_of(&value), quoted ? "'" : "");
  if (value.IsNull()) return "None";
  if (value.IsBool()) return value.GetBool() ? "True" : "False";
  return value.IsNumber() ? number_text(value) : "…";
}

/// {"type": …, "value": …} or {"type": …, "repr": …}; null is unbound.
std::string side_text(const Json* side, bool quoted) {
  if (!side || !side->IsObject()) return quoted ? "unbound" : "";
  if (const Json* repr = member(*side, "repr")) return std::string(string_of(repr));
  if (const Json* value = member(*side, "value")) return scalar_text(*value, quoted);
  if (member(*side, "redacted")) return "(redacted)";
  return std::string(string_of(member(*side, "type")));
}

std::optional<std::uint64_t> ago(const std::string& text) {
  double amount = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (fault != std::errc() || end + 1 != text.data() + text.size() || amount < 0) return std::nullopt;
  constexpr std::string_view kUnits = "smhd";
  constexpr double kSeconds[] = {1, 60, 3600, 86400};
  const std::size_t index = kUnits.find(*end);
  if (index == kUnits.npos) return std::nullopt;
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  const double then =
      static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9 - amount * kSeconds[index];
  return static_cast<std::uint64_t>(std::max(0.0, then) * 1e9);
}

std::optional<std::uint64_t> since_epoch(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  constexpr std::uint64_t kYear5138_s = 100'000'000'000;
  return number < kYear5138_s ? number * 1'000'000'000 : number;
}

/// ".5" behind the seconds, as nanoseconds.
std::optional<std::uint64_t> fraction(std::string_view text) {
  if (text.empty()) return 0;
  if (text.front() != '.' || text.size() < 2 || text.size() > 10) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  for (std::size_t digits = text.size() - 1; digits < 9; ++digits) value *= 10;
  return value;
}

std::optional<std::uint64_t> on_the_clock(std::string text) {
  const bool utc = text.ends_with('Z');
  if (utc) text.pop_back();
  const time_t now = time(nullptr);
  for (const char* format : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d",
                             "%H:%M:%S", "%H:%M"}) {
    struct tm moment {};
    utc ? gmtime_r(&now, &moment) : localtime_r(&now, &moment);
    moment.tm_hour = moment.tm_min = moment.tm_sec = 0;
    const char* rest = strptime(text.c_str(), format, &moment);
    if (!rest) continue;
    const auto part = fraction(rest);
    if (!part) continue;
    moment.tm_isdst = -1;
    const time_t seconds = utc ? timegm(&moment) : mktime(&moment);
    return static_cast<std::uint64_t>(seconds) * 1'000'000'000 + *part;
  }
  return std::nullopt;
}

}  // namespace

bool RecordedEvent::parse(std::string_view line) {
  line_ = line;
  json_.Parse<rapidjson::kParseIterativeFlag>(line.data(), line.size());
  return !json_.HasParseError() && json_.IsObject() && member(json_, "event_id");
}

std::string_view RecordedEvent::text(const char* key) const {
  return string_of(member(json_, key));
}

std::uint64_t RecordedEvent::number(const char* key) const {
  const Json* value = member(json_, key);
  return value && value->IsUint64() ? value->GetUint64() : 0;
}

std::string RecordedEvent::name_and_path() const {
  std::string name(text("variable_name"));
  const Json* path = member(json_, "path");
  if (!path || !path->IsArray()) return name;
  for (const Json& step : path->GetArray()) name += enclosed("[", scalar_text(step, true), "]");
  return name;
}

std::string RecordedEvent::value(const char* side) const {
  return side_text(member(json_, side), true);
}

std::string RecordedEvent::bare_value(const char* side) const {
  return side_text(member(json_, side), false);
}

std::string_view RecordedEvent::sql() const {
  const Json* context = member(json_, "sql_context");
  return context ? string_of(member(*context, "statement")) : "";
}

std::string RecordedEvent::where() const {
  const std::string_view file = text("file");
  if (file.empty()) {
    const std::string_view call = text("system_call");
    return std::string(call.empty() ? text("ip") : call);
  }
  const std::string_view function = text("function");
  return std::string(function) + (function.empty() ? "" : " ") + std::string(file) + ":" +
         std::to_string(number("line"));
}

std::string show_event(const RecordedEvent& event, const Painter& paint) {
  const auto part = [&](Colour colour, const std::string& text) {
    return paint(colour, shortened(safe_text(text), kLongestValue));
  };
  std::string line = paint(Colour::kFaint, time_text(event.number("timestamp_ns"))) + "  " +
                     part(Colour::kName, event.name_and_path());
  if (const std::string_view op = event.text("op"); op != "store") line += enclosed(" ", safe_text(op), "");
  line += "  " + part(Colour::kBefore, event.value("before")) + " → " + part(Colour::kAfter, event.value("after")) +
          "  " + part(Colour::kPlace, event.where());
  const std::string_view thread = event.text("thread_name");
  line += paint(Colour::kFaint, enclosed("  ", std::to_string(event.number("pid")), "/") +
                                    (thread.empty() ? std::to_string(event.number("thread_id")) : safe_text(thread)));
  if (!event.sql().empty())
    line += paint(Colour::kFaint, enclosed("  sql: ", shortened(safe_text(event.sql()), kLongestStatement), ""));
  return line;
}

Result<std::uint64_t> parse_moment(const std::string& text) {
  for (const auto& parse : {ago, since_epoch})
    if (const auto moment = parse(text)) return *moment;
  if (const auto moment = on_the_clock(text)) return *moment;
  return Error{0, enclosed("'", safe_text(text), "'") +
                      " is no time; write 10m (ago), 04:36:05, '2026-11-23 04:36' or seconds since 1970"};
}

bool fits(const std::string& pattern, std::string_view text) {
  return fnmatch(pattern.c_str(), std::string(text).c_str(), 0) == 0;
}

}  // namespace watcher

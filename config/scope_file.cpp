#include "config/scope_file.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "config/config_file.h"
#include "config/spelling.h"

namespace watcher {
namespace {

constexpr std::string_view kExample = "a line looks like app.py:(local:counter,global:db_conn)";
constexpr std::string_view kBlanks = " \t\r";

struct Location {
  std::string_view file;
  std::size_t line = 0;
  std::string_view text;  // of the whole line
};

/// `at` points into the line. Columns count characters, as editors do.
Error fault_at(const Location& location, const char* at, std::string_view sentence) {
  std::size_t column = 1;
  for (const char* c = location.text.data(); c < at; ++c) column += (*c & 0xc0) != 0x80;
  return Error{0, std::string(location.file) + ":" + std::to_string(location.line) + ":" + std::to_string(column) +
                      ": " + std::string(sentence)};
}

/// The result still points into `text`, also when nothing is left.
std::string_view trimmed(std::string_view text) {
  const std::size_t first = std::min(text.find_first_not_of(kBlanks), text.size());
  const std::size_t last = text.find_last_not_of(kBlanks);
  return text.substr(first, last == std::string_view::npos ? 0 : last - first + 1);
}

Result<WatchName> parse_name(const Location& location, std::string_view item) {
  WatchName parsed;
  std::string_view name = item;
  if (const std::size_t colon = item.find(':'); colon != std::string_view::npos) {
    constexpr std::string_view kScopes[] = {"local", "global", "both", "unknown"};
    const std::string_view scope = trimmed(item.substr(0, colon));
    const auto known = parse_scope(scope);
    if (!known)
      return fault_at(
          location, item.data(),
          "a scope is local, global, both or unknown, not " + in_quotes(scope) + did_you_mean(scope, kScopes));
    parsed.scope = *known;
    name = trimmed(item.substr(colon + 1));
  }
  if (const char* fault = watch_name_fault(name))
    return fault_at(location, name.data(), name.empty() ? fault : in_quotes(name) + ": " + fault);
  parsed.name = name;
  return parsed;
}

/// `list` is what stands between the parentheses.
Result<void> parse_list(Options& options, const Location& location, std::string_view file, std::string_view list) {
  for (;;) {
    const std::size_t comma = std::min(list.find(','), list.size());
    auto name = parse_name(location, trimmed(list.substr(0, comma)));
    if (!name) return name.error();
    options.add_rule(file, name.value());
    if (comma == list.size()) return {};
    list.remove_prefix(comma + 1);
  }
}

Result<void> parse_rule(Options& options, const Location& location, std::string_view line) {
  if (const std::size_t bad = find_invalid_utf8(line); bad != std::string_view::npos)
    return fault_at(location, line.data() + bad, "this is not UTF-8");
  const std::size_t start = line.rfind(":(");
  if (start == std::string_view::npos)
    return fault_at(location, line.data() + line.size(), "a list ':(…)' of names is missing; " + std::string(kExample));
  const std::size_t end = line.find(')', start);
  if (end == std::string_view::npos)
    return fault_at(location, line.data() + line.size(), "the list is not closed by ')'; " + std::string(kExample));
  const std::string_view behind = trimmed(line.substr(end + 1));
  if (!behind.empty() && behind.front() != '#')
    return fault_at(location, behind.data(), "nothing but a comment may follow the list; " + std::string(kExample));
  const std::string_view file = trimmed(line.substr(0, start));
  if (const char* fault = watch_file_fault(file)) return fault_at(location, file.data(), fault);
  return parse_list(options, location, file, line.substr(start + 2, end - start - 2));
}

}  // namespace

Result<void> parse_scope_text(Options& options, std::string_view text, std::string_view name) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  Options result = options;
  Location location{.file = name, .line = 0, .text = {}};
  bool says_anything = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    ++location.line;
    location.text = text.substr(0, end);
    const std::string_view line = trimmed(location.text);
    if (!line.empty() && line.front() != '#') {
      says_anything = true;
      if (auto parsed = parse_rule(result, location, line); !parsed) return parsed;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!says_anything)
    return Error{0, std::string(name) + ":1:1: no variable is named in this file; " + std::string(kExample)};
  options = std::move(result);
  return {};
}

Result<void> load_scope_file(Options& options, const std::string& path) {
  auto text = read_config_file(path);
  if (!text) return text.error();
  return parse_scope_text(options, text.value(), path);
}

std::string to_scope_file(const Options& options) {
  std::string text;
  for (const WatchRule& rule : options.rules()) {
    text += rule.file + ":(";
    for (std::size_t i = 0; i < rule.names.size(); ++i) {
      if (i > 0) text += ',';
      text += scope_name(rule.names[i].scope);
      text += ':';
      text += rule.names[i].name;
    }
    text += ")\n";
  }
  return text;
}

}  // namespace watcher

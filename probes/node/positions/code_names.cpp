#include "probes/node/positions/code_names.h"

#include <cstdlib>

namespace watcher::node {
namespace {

/// Cuts ":<number>" off the end.
bool take_number(std::string_view* text, int* number) {
  const std::size_t colon = text->rfind(':');
  if (colon == text->npos || colon + 1 == text->size()) return false;
  int value = 0;
  for (const char digit : text->substr(colon + 1)) {
    if (digit < '0' || digit > '9') return false;
    value = value * 10 + (digit - '0');
  }
  *number = value;
  *text = text->substr(0, colon);
  return true;
}

int hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  return letter >= 'A' && letter <= 'F' ? letter - 'A' + 10 : -1;
}

/// ES modules are known by their URL.
std::string path_of(std::string_view file) {
  constexpr std::string_view kScheme = "file://";
  if (!file.starts_with(kScheme)) return std::string(file);
  file.remove_prefix(kScheme.size());
  std::string path;
  for (std::size_t i = 0; i < file.size(); ++i) {
    if (file[i] == '?' || file[i] == '#') break;  // what a module is imported with is no part of its path
    const bool escaped =
        file[i] == '%' && i + 2 < file.size() && hex_digit(file[i + 1]) >= 0 && hex_digit(file[i + 2]) >= 0;
    path += escaped ? static_cast<char>(hex_digit(file[i + 1]) * 16 + hex_digit(file[i + 2])) : file[i];
    if (escaped) i += 2;
  }
  return path;
}

/// Where the file begins: names of functions may hold spaces, and those of files too.
std::size_t end_of_function(std::string_view name) {
  for (const std::string_view opening : {" file://", " node:", " /"})
    if (const std::size_t at = name.find(opening); at != name.npos) return at;
  return name.find(' ');
}

Tier tier_of(std::string_view marks) {
  if (marks.find('*') != marks.npos) return Tier::kOptimised;
  if (marks.find('+') != marks.npos) return Tier::kMaglev;
  return marks.find('^') != marks.npos ? Tier::kBaseline : Tier::kBytecode;
}

}  // namespace

CodeName parse_code_name(std::string_view name) {
  CodeName parsed;
  const std::size_t colon = name.find(':');
  const std::string_view tag = name.substr(0, colon);
  if (colon != name.npos) name.remove_prefix(colon + 1);
  std::size_t marks = 0;
  while (marks < name.size() && std::string_view("~^*+'").find(name[marks]) != std::string_view::npos) ++marks;
  parsed.tier = tier_of(name.substr(0, marks));
  name.remove_prefix(marks);
  int column = 0;
  const bool located = take_number(&name, &column) && take_number(&name, &parsed.line);
  const std::size_t end = end_of_function(name);
  const std::string_view function = name.substr(0, end);
  if (end != name.npos) parsed.file = path_of(name.substr(end + 1));
  const bool body = tag == "Script" || tag == "Eval" || (located && parsed.line == 1 && column == 1);
  parsed.function = !function.empty() ? std::string(function) : body ? "<module>" : "<anonymous>";
  return parsed;
}

}  // namespace watcher::node

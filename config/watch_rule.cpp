// Rules on their own: the words of a scope, which names and files can be written in both file formats, and whether a
// rule's file means a source path.
#include <fnmatch.h>

#include "config/options.h"
#include "config/spelling.h"

namespace watcher {
namespace {

constexpr std::string_view kScopeNames[] = {"unknown", "local", "global", "both"};

bool has_control_character(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  return false;
}

std::string_view without_dot_slash(std::string_view file) {
  while (file.starts_with("./")) file.remove_prefix(2);
  return file;
}

bool ends_in_components(std::string_view path, std::string_view tail) {
  return tail.front() != '/' && path.size() > tail.size() && path.ends_with(tail) &&
         path[path.size() - tail.size() - 1] == '/';
}

bool glob_fits(std::string_view glob, std::string_view path) {
  const std::string pattern(glob);
  const std::string text(path);
  const int flags = glob.find("**") == std::string_view::npos ? FNM_PATHNAME : 0;
  if (fnmatch(pattern.c_str(), text.c_str(), flags) == 0) return true;
  if (pattern.front() == '/') return false;
  for (std::size_t slash = text.find('/'); slash != std::string::npos; slash = text.find('/', slash + 1))
    if (fnmatch(pattern.c_str(), text.c_str() + slash + 1, flags) == 0) return true;
  return false;
}

}  // namespace

std::string_view scope_name(RuleScope scope) {
  return kScopeNames[static_cast<std::size_t>(scope)];
}

std::optional<RuleScope> parse_scope(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kScopeNames); ++i)
    if (kScopeNames[i] == text) return static_cast<RuleScope>(i);
  return std::nullopt;
}

const char* watch_name_fault(std::string_view name) {
  if (name.empty()) return "a name is missing here";
  if (find_invalid_utf8(name) != std::string_view::npos) return "a name is UTF-8";
  if (has_control_character(name) || name.find_first_of(" ,:()\"'#") != std::string_view::npos)
    return "a name is an identifier, may be qualified with dots and hold the wildcards * ? [ ]";
  return nullptr;
}

const char* watch_file_fault(std::string_view file) {
  if (file.empty()) return "a file is missing here";
  if (find_invalid_utf8(file) != std::string_view::npos) return "a file name is UTF-8";
  if (has_control_character(file))
    return "a file name holds no control characters; a glob such as '*' can stand for them";
  if (file.front() == '#') return "a line that starts with # is a comment; write ./# for a file of that name";
  if (file.front() == ' ' || file.back() == ' ')
    return "a file name has no blanks around it; a glob such as '?' can stand for one";
  return nullptr;
}

bool file_matches(std::string_view rule_file, std::string_view path) {
  rule_file = without_dot_slash(rule_file);
  if (rule_file.empty() || path.empty()) return false;
  if (rule_file == path || ends_in_components(path, rule_file)) return true;
  return rule_file.find_first_of("*?[") != std::string_view::npos && glob_fits(rule_file, path);
}

}  // namespace watcher

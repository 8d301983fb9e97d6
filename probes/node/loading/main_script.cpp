#include "probes/node/loading/main_script.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace watcher::node {
namespace {

bool is_word(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         letter == '_';
}

bool is_quote(char letter) {
  return letter == '"' || letter == '\'' || letter == '`';
}

std::string_view without_space(std::string_view text) {
  const std::size_t at = text.find_first_not_of(" \t\r\n");
  return at == text.npos ? std::string_view() : text.substr(at);
}

/// As text.find(), which is slow where the word's first letter is frequent: main scripts can be bundles of megabytes.
std::size_t find(std::string_view text, std::string_view word, std::size_t from) {
  const void* found = memmem(text.data() + from, text.size() - from, word.data(), word.size());
  return found == nullptr ? text.npos : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

/// Is `word` there, with fits(letter before it, text behind it)?
template <class Fits>
bool stands_in(std::string_view text, std::string_view word, Fits fits) {
  for (std::size_t at = find(text, word, 0); at != text.npos; at = find(text, word, at + 1))
    if (fits(at != 0 ? text[at - 1] : ' ', text.substr(at + word.size()))) return true;
  return false;
}

/// A word of JavaScript's, not of a comment's: a pattern, a text or a call follows, or a name and ` from`.
bool is_import(char before, std::string_view behind) {
  if (is_word(before) || behind.empty() || is_word(behind[0])) return false;
  behind = without_space(behind);
  if (behind.empty()) return false;
  if (is_quote(behind[0]) || std::string_view("({*/").find(behind[0]) != std::string_view::npos) return true;
  std::size_t name = 0;
  while (name < behind.size() && (is_word(behind[name]) || behind[name] == '$' || behind[name] < 0)) ++name;
  behind = without_space(behind.substr(name));
  return name != 0 && (behind.starts_with(',') || behind.starts_with("from") || behind.starts_with('/'));
}

}  // namespace

std::optional<std::string> regular_file(const char* path) {
  struct stat found {};
  if (stat(path, &found) != 0 || !S_ISREG(found.st_mode)) return std::nullopt;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  std::string text(static_cast<std::size_t>(found.st_size), '\0');
  const ssize_t got = read(descriptor, text.data(), text.size());
  close(descriptor);
  if (got < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(got));
  return text;
}

int mentions_in(std::string_view text) {
  const auto quoted = [](char before, std::string_view behind) {
    return is_quote(before) && !behind.empty() && is_quote(behind[0]);
  };
  return (stands_in(text, "watcher", quoted) ? kMentionsUs : 0) + (stands_in(text, "import", is_import) ? kImports : 0);
}

}  // namespace watcher::node

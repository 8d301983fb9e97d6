#include "probes/node/loading/main_script.h"

#include <fcntl.h>
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

/// Is `word` there, with `fits(letter)` for what stands on each side of it?
template <class Fits>
bool stands_in(std::string_view text, std::string_view word, Fits fits) {
  for (std::size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    const char before = at != 0 ? text[at - 1] : ' ';
    const char after = at + word.size() < text.size() ? text[at + word.size()] : ' ';
    if (fits(before) && fits(after)) return true;
  }
  return false;
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
  const bool us = stands_in(text, "watcher", is_quote);
  const bool import = stands_in(text, "import", [](char letter) { return !is_word(letter); });
  return (us ? 1 : 0) + (import ? 2 : 0);
}

}  // namespace watcher::node

#include "probes/node/loading/main_script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace watcher::node {
namespace {

using Text = std::string_view;

bool is_word(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         letter == '_' || letter == '$' || letter < 0;
}

bool is_quote(char letter) {
  return letter == '"' || letter == '\'' || letter == '`';
}

char first(Text text) {
  return text.empty() ? '\0' : text[0];
}

Text without_space(Text text) {
  const std::size_t at = text.find_first_not_of(" \t\r\n");
  return at == text.npos ? Text() : text.substr(at);
}

/// As text.find(), which is slow where the word's first letter is frequent: main scripts can be bundles of megabytes.
std::size_t position_of(Text word, Text text, std::size_t from = 0) {
  const void* found = memmem(text.data() + from, text.size() - from, word.data(), word.size());
  return found == nullptr ? text.npos : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

/// Calls use(letter before it, text behind it) wherever `word` stands, until that returns true.
template <class Use>
bool stands_in(Text text, Text word, Use use) {
  for (std::size_t at = position_of(word, text); at != text.npos; at = position_of(word, text, at + 1))
    if (use(at != 0 ? text[at - 1] : ' ', text.substr(at + word.size()))) return true;
  return false;
}

template <class Use>
void each_word(Text text, Text word, Use use) {
  stands_in(text, word, [&](char before, Text behind) {
    if (!is_word(before) && !is_word(first(behind))) use(behind);
    return false;
  });
}

bool mentions_us(Text text) {
  return stands_in(text, "watcher",
                   [](char before, Text behind) { return is_quote(before) && is_quote(first(behind)); });
}

/// A word of JavaScript's, not of a comment's: a pattern or a call follows, or a name and ` from`.
bool is_import(Text behind) {
  behind = without_space(behind);
  if (Text("({*/").find(first(behind)) != Text::npos) return !behind.empty();
  std::size_t name = 0;
  while (name < behind.size() && is_word(behind[name])) ++name;
  behind = without_space(behind.substr(name));
  return name != 0 && (behind.starts_with(',') || behind.starts_with("from") || behind.starts_with('/'));
}

/// The text that stands there and is known before the program runs, and what is behind it.
struct Literal {
  Text text;
  Text behind;
};
std::optional<Literal> literal(Text at) {
  if (!is_quote(first(at))) return std::nullopt;
  const std::size_t end = at.find(at[0], 1);
  if (end == at.npos) return std::nullopt;
  const Text text = at.substr(1, end - 1);
  if (text.find_first_of("\\\n\t $%#") != text.npos) return std::nullopt;
  return Literal{text, at.substr(end + 1)};
}

/// Built into node, and no way to run code that was not looked at.
bool is_closed_builtin(Text name) {
  static constexpr Text kNames[] = {
      "assert",      "async_hooks", "buffer", "child_process",  "cluster", "console",    "constants",
      "crypto",      "dgram",       "dns",    "events",         "fs",      "http",       "http2",
      "https",       "net",         "os",     "path",           "process", "perf_hooks", "punycode",
      "querystring", "readline",    "stream", "string_decoder", "timers",  "tls",        "tty",
      "url",         "util",        "v8",     "worker_threads", "zlib"};
  if (name.starts_with("node:")) name.remove_prefix(5);
  name = name.substr(0, name.find('/'));
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool is_path(Text name) {
  return name.starts_with("./") || name.starts_with("../") || name.starts_with('/');
}

bool is_regular(const char* path, std::size_t* bytes) {
  struct stat found {};
  if (stat(path, &found) != 0 || !S_ISREG(found.st_mode)) return false;
  *bytes = static_cast<std::size_t>(found.st_size);
  return true;
}

std::optional<std::string> text_of(const char* path, std::size_t bytes) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  std::string text(bytes, '\0');
  const ssize_t got = read(descriptor, text.data(), text.size());
  close(descriptor);
  if (got < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(got));
  return text;
}

/// A program as far as it can be read: the time is start-up of programs that have nothing to do with us.
class Program {
 public:
  explicit Program(Text flags) {
    for (const Text leads : {"-r", "--test", "specifier", "symlinks"}) open_ |= has(flags, leads);
    if (has(flags, "--import") || has(flags, "loader")) imports_ = open_ = true;
    files_.reserve(kFiles);  // a file that is looked at stays where it is while more are added
  }

  /// The file's folder is what the paths in `text` are relative to.
  int read(Text text, const std::string& name) {
    look_at(text, {name, text.size(), true});
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const std::optional<std::string> next = text_of(files_[i].name.c_str(), files_[i].bytes);
      if (next)
        look_at(*next, files_[i]);
      else
        open_ = true;
    }
    return (us_ ? kMentionsUs : 0) + (imports_ && open_ ? kImports : 0) + (imports_ && workers_ ? kImportsWorkers : 0);
  }

 private:
  static constexpr std::size_t kFiles = 16, kBytes = 128 << 10;  // besides the main script

  struct File {
    std::string name;
    std::size_t bytes;
    bool linked;  // before anything runs: by `import` from the main script on
  };
  enum class How { kImport, kImportCall, kRequire };
  enum class Found { kRead, kUnread, kNone };

  static bool has(Text text, Text word) { return position_of(word, text) != text.npos; }

  void look_at(Text text, const File& file) {
    if (mentions_us(text)) us_ = true;
    if (has(text, "worker_threads")) follow_workers(text, file);
    each_word(text, "import", [&](Text behind) { import(behind, file); });
    each_word(text, "from", [&](Text behind) { from(behind, file); });
    each_word(text, "require", [&](Text behind) { require(behind, file); });
  }

  /// A worker's file is named in a text of its own, below the folder or by a path relative to it.
  void follow_workers(Text text, const File& file) {
    workers_ = true;
    for (std::size_t end = position_of("js", text); end != text.npos; end = position_of("js", text, end + 1)) {
      const char quote = first(text.substr(end + 2));
      const std::size_t before = is_quote(quote) ? text.rfind(quote, end) : text.npos;
      if (before == text.npos) continue;
      const Text name = text.substr(before + 1, end + 1 - before);
      if (name.find_first_of(" \n(") == name.npos) follow(std::string(name), file, How::kImportCall);
    }
  }

  void import(Text behind, const File& file) {
    const Text next = without_space(behind);
    if (is_quote(first(next)))
      named(literal(next), file, How::kImport);
    else if (first(next) == '(')
      named(argument(next), file, How::kImportCall);
    else if (is_import(behind))
      imports_ = true;  // `from` has the name
  }

  void from(Text behind, const File& file) {
    const Text next = without_space(behind);
    if (is_quote(first(next))) named(literal(next), file, How::kImport);
    if (next.starts_with("/*") || next.starts_with("//")) open_ = true;
  }

  void require(Text behind, const File& file) {
    const Text next = without_space(behind);
    if (first(next) == '(') named(argument(next), file, How::kRequire);
  }

  /// The text that is all of a call's first argument.
  static std::optional<Literal> argument(Text call) {
    const std::optional<Literal> found = literal(without_space(call.substr(1)));
    if (!found) return std::nullopt;
    const char end = first(without_space(found->behind));
    return end == ')' || end == ',' ? found : std::nullopt;
  }

  void named(const std::optional<Literal>& name, const File& file, How how) {
    if (how != How::kRequire) imports_ = true;
    if (name && is_closed_builtin(name->text)) return;
    const Found found = name && is_path(name->text)
                            ? follow(std::string(name->text.substr(0, name->text.find('?'))), file, how)
                            : Found::kUnread;
    // without what is linked nothing runs
    if (found == Found::kUnread || (found == Found::kNone && !(how == How::kImport && file.linked))) open_ = true;
  }

  Found follow(const std::string& path, const File& from, How how) {
    const std::string base = path.starts_with('/') ? path : from.name.substr(0, from.name.rfind('/') + 1) + path;
    for (const char* end : {"", ".js", ".json", "/index.js"}) {
      const std::unique_ptr<char, decltype(&free)> real(realpath((base + end).c_str(), nullptr), &free);
      std::size_t bytes = 0;
      if (real != nullptr && is_regular(real.get(), &bytes))
        return add({real.get(), bytes, how == How::kImport && from.linked});
      if (how != How::kRequire) return real == nullptr && errno == ENOENT ? Found::kNone : Found::kUnread;
    }
    return Found::kUnread;
  }

  Found add(const File& file) {
    const auto same = [&](const File& other) { return other.name == file.name; };
    if (std::any_of(files_.begin(), files_.end(), same)) return Found::kRead;
    if (files_.size() == kFiles || file.bytes > left_) return Found::kUnread;
    left_ -= file.bytes;
    files_.push_back(file);
    return Found::kRead;
  }

  bool us_ = false, workers_ = false, imports_ = false, open_ = false;
  std::size_t left_ = kBytes;
  std::vector<File> files_;
};

}  // namespace

std::optional<std::string> regular_file(const char* path) {
  std::size_t bytes = 0;
  return is_regular(path, &bytes) ? text_of(path, bytes) : std::nullopt;
}

std::optional<int> mentions(const std::string& file, Text flags) {
  const std::unique_ptr<char, decltype(&free)> real(realpath(file.c_str(), nullptr), &free);
  const std::optional<std::string> text = real != nullptr ? regular_file(real.get()) : std::nullopt;
  if (!text) return std::nullopt;
  return Program(flags).read(*text, real.get());
}

int mentions_in(Text text, Text flags) {
  const std::unique_ptr<char, decltype(&free)> directory(getcwd(nullptr, 0), &free);
  return Program(flags).read(text, directory != nullptr ? std::string(directory.get()) + "/" : "");
}

}  // namespace watcher::node

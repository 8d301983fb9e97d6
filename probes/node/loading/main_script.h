#pragma once

// What the program says of us, looked at before it runs: the main script, and the files that it names by their path.
// Any thread of JavaScript.

#include <optional>
#include <string>
#include <string_view>

namespace watcher::node {

/// A regular file's bytes: a pipe could not be read twice.
std::optional<std::string> regular_file(const char* path);

constexpr int kMentionsUs = 1;      // a string that is our name
constexpr int kImports = 2;         // an `import`, and something that was not looked at
constexpr int kImportsWorkers = 4;  // an `import`, and the name of worker_threads

/// What of these is in a script and behind it; none where it is no regular file: a pipe could not be read twice.
/// `flags` are node's own: some lead it to other files first.
std::optional<int> mentions(const std::string& file, std::string_view flags);

/// The same of a program that is no file.
int mentions_in(std::string_view text, std::string_view flags);

}  // namespace watcher::node

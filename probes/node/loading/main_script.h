#pragma once

// What the main script says of us, looked at before it runs. Any thread of JavaScript.

#include <optional>
#include <string>
#include <string_view>

namespace watcher::node {

/// A regular file's bytes: a pipe could not be read twice.
std::optional<std::string> regular_file(const char* path);

/// 1: a string that is our name; 2: the word `import`.
int mentions_in(std::string_view text);

}  // namespace watcher::node

#pragma once

// What the main script says of us, looked at before it runs. Any thread of JavaScript.

#include <optional>
#include <string>
#include <string_view>

namespace watcher::node {

/// A regular file's bytes: a pipe could not be read twice.
std::optional<std::string> regular_file(const char* path);

constexpr int kMentionsUs = 1;  // a string that is our name
constexpr int kImports = 2;     // an `import`

/// What of these is in a script.
int mentions_in(std::string_view text);

}  // namespace watcher::node

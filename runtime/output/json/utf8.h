// Text from the host made fit for JSON: what is not valid UTF-8, encoded surrogates included, becomes U+FFFD.
//
// Any thread.
#pragma once

#include <string>
#include <string_view>

namespace watcher {

/// `text` itself when it is valid, else a repaired copy in `scratch`.
std::string_view valid_utf8(std::string_view text, std::string* scratch);

/// Without the character that a cut at a byte bound left incomplete at the end.
std::string_view without_partial_tail(std::string_view text);

}  // namespace watcher

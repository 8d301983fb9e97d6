// Help for those who mistyped: the nearest right word. Any thread; ordinary zone.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace watcher {

/// The candidate with the fewest edits from `word`; empty when none is near enough to be meant.
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates);

/// "; did you mean 'engine'?" or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

/// In quotes, bounded, and with control characters escaped: safe to show on a terminal.
std::string in_quotes(std::string_view text);

/// Byte offset of the first byte that is not part of valid UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text);

/// "line:column" of a byte offset, both from 1; columns count characters, as editors do.
std::string location_of(std::string_view text, std::size_t offset);

}  // namespace watcher

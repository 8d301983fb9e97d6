// The words of a condition's text. Part of condition.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/condition.h"

namespace watcher {

enum class Comparison : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kIs,
  kIsNot
};

inline constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
    {"==", Comparison::kEqual},     {"!=", Comparison::kNotEqual},
    {"<=", Comparison::kLessEqual}, {">=", Comparison::kGreaterEqual},
    {"<", Comparison::kLess},       {">", Comparison::kGreater},
    {"in", Comparison::kIn}};

/// Looks at one word at a time: a name, a number, a text in quotes, or an operator.
class ConditionTokens {
 public:
  explicit ConditionTokens(std::string_view source) : source_(source) { advance(); }

  bool at_end() const { return word_.empty(); }
  std::string_view word() const { return word_; }
  bool is(std::string_view word) const { return word_ == word; }
  bool is_text() const { return !word_.empty() && (word_[0] == '"' || word_[0] == '\''); }
  void skip() { advance(); }
  bool take(std::string_view word);
  std::optional<ConditionValue> take_number();
  /// Appends the text without its quotes, escapes resolved. False for one that does not end, or an unknown escape.
  bool take_text(std::string* to);

  std::size_t column() const { return at_ + 1; }
  /// For an error message.
  std::string describe() const;

 private:
  void advance();

  std::string_view source_;
  std::size_t at_ = 0;
  std::string_view word_;
};

}  // namespace watcher

#include "config/condition_tokens.h"

#include <charconv>
#include <initializer_list>

namespace watcher {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Digits with a point and an exponent; 0x and underscores as Python has them.
std::size_t number_length(std::string_view text) {
  std::size_t length = 0;
  for (; length < text.size(); ++length) {
    const char c = text[length];
    const bool sign = (c == '+' || c == '-') && length > 0 && (text[length - 1] == 'e' || text[length - 1] == 'E') &&
                      text.substr(0, 2) != "0x" && text.substr(0, 2) != "0X";
    if (!is_digit(c) && !is_letter(c) && c != '.' && !sign) break;
  }
  return length;
}

/// With its closing quote; to the end when there is none.
std::size_t text_length(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == text[0])
      return i + 1;
  }
  return text.size();
}

std::size_t word_length(std::string_view text) {
  const char c = text[0];
  if (is_digit(c) || (c == '.' && text.size() > 1 && is_digit(text[1]))) return number_length(text);
  if (c == '"' || c == '\'') return text_length(text);
  std::size_t length = 0;
  while (length < text.size() && (is_letter(text[length]) || is_digit(text[length]))) ++length;
  if (length > 0) return length;
  for (const std::string_view two : {"==", "!=", "<=", ">=", "//", "**"})
    if (text.substr(0, 2) == two) return 2;
  return 1;
}

}  // namespace

void ConditionTokens::advance() {
  at_ += word_.size();
  while (at_ < source_.size() && is_space(source_[at_])) ++at_;
  word_ = at_ < source_.size() ? source_.substr(at_, word_length(source_.substr(at_))) : std::string_view{};
}

std::string ConditionTokens::describe() const {
  if (at_end()) return "the end";
  std::string text(1, '\'');
  text.append(word_);
  text.push_back('\'');
  return text;
}

bool ConditionTokens::take(std::string_view word) {
  if (word_ != word) return false;
  advance();
  return true;
}

std::optional<ConditionValue> ConditionTokens::take_number() {
  if (word_.empty() || (!is_digit(word_[0]) && word_[0] != '.')) return std::nullopt;
  std::string digits;
  for (const char c : word_)
    if (c != '_') digits += c;
  const bool hexadecimal = digits.size() > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
  const char* first = digits.data() + (hexadecimal ? 2 : 0);
  const char* last = digits.data() + digits.size();
  ConditionValue value;
  std::int64_t integer = 0;
  if (const auto [end, error] = std::from_chars(first, last, integer, hexadecimal ? 16 : 10);
      error == std::errc{} && end == last) {
    value = ConditionValue::of(integer);
  } else {
    double real = 0;
    const auto [stop, fault] = std::from_chars(first, last, real);
    if (hexadecimal || fault != std::errc{} || stop != last) return std::nullopt;
    value = ConditionValue::of(real);
  }
  advance();
  return value;
}

bool ConditionTokens::take_text(std::string* to) {
  if (word_.size() < 2 || word_.back() != word_[0]) return false;
  for (std::size_t i = 1; i + 1 < word_.size(); ++i) {
    if (word_[i] != '\\') {
      *to += word_[i];
      continue;
    }
    switch (word_[++i]) {
      case 'n':
        *to += '\n';
        break;
      case 't':
        *to += '\t';
        break;
      case '\\':
      case '\'':
      case '"':
        *to += word_[i];
        break;
      default:
        return false;
    }
  }
  advance();
  return true;
}

}  // namespace watcher

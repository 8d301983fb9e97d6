#include "runtime/process/redaction.h"

#include <algorithm>

namespace watcher {
namespace {

constexpr std::string_view kHidden = "[redacted]";
constexpr std::string_view kHiddenParameter = "***";  // as the probe writes it

bool is_quote(char character) {
  return character == '\'' || character == '"' || character == '`';
}
bool is_word(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '_' || character == '$' || character == '.' ||
         static_cast<unsigned char>(character) >= 0x80;
}
bool opens(char character) {
  return character == '{' || character == '[' || character == '(' || character == '<';
}
bool closes(char character) {
  return character == '}' || character == ']' || character == ')' || character == '>';
}

/// Behind the string literal at `at`; the end where the text was cut.
std::size_t skip_quoted(std::string_view text, std::size_t at) {
  const char quote = text[at++];
  while (at < text.size() && text[at] != quote) at += text[at] == '\\' ? 2 : 1;
  return std::min(at + 1, text.size());
}

/// Behind the value at `at`: up to the comma or bracket that ends it.
std::size_t skip_value(std::string_view text, std::size_t at) {
  for (int depth = 0; at < text.size();) {
    const char character = text[at];
    if (is_quote(character)) {
      at = skip_quoted(text, at);
      continue;
    }
    if (depth == 0 && (character == ',' || closes(character))) break;
    depth += opens(character) ? 1 : closes(character) ? -1 : 0;
    ++at;
  }
  return at;
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  while (at < text.size() && text[at] == ' ') ++at;
  return at;
}

/// Where the value of the name that ends at `at` begins: behind `:`, `=` or `=>`; 0 when no value follows.
std::size_t value_behind(std::string_view text, std::size_t at) {
  at = skip_blanks(text, at);
  if (at >= text.size() || (text[at] != ':' && text[at] != '=')) return 0;
  ++at;
  if (at < text.size() && (text[at] == '=' || text[at] == ':')) return 0;
  if (at < text.size() && text[at] == '>') ++at;
  return skip_blanks(text, at);
}

/// A list of values without the values.
std::string masked(std::string_view text) {
  constexpr std::string_view kBetween = "()[], ";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (kBetween.find(text[at]) != kBetween.npos) {
      out += text[at++];
      continue;
    }
    while (at < text.size() && kBetween.substr(0, 5).find(text[at]) == kBetween.npos)
      at = is_quote(text[at]) ? skip_quoted(text, at) : at + 1;
    out += kHiddenParameter;
  }
  return out;
}

void hide(ValueView* value) {
  if (value->kind == ValueKind::kUnbound) return;
  value->redacted = true;
}

/// The last step of a path in a set is the element itself.
bool holds_element(const EventView& event, const PathPart& last) {
  if (last.kind != PathKind::kText) return false;
  for (const Op op : {Op::kAdd, Op::kDiscard, Op::kRemove, Op::kPop, Op::kIntersectionUpdate, Op::kDifferenceUpdate,
                      Op::kSymmetricDifferenceUpdate})
    if (event.op == op) return true;
  const auto holds = [&](const ValueView& value) {
    return !value.bytes.empty() && last.text.find(value.bytes) != std::string_view::npos;
  };
  return holds(event.before) || holds(event.after);
}

bool hide_text(std::string_view text, const std::string& shown, ValueView* value) {
  const bool was_cut = value->truncated();
  value->bytes = shown;
  value->total =
      was_cut ? value->total - std::min<std::uint64_t>(text.size(), value->total) + shown.size() + 1 : shown.size();
  return true;
}

}  // namespace

Redaction::Redaction(const Options& options)
    : enabled_(options.flag("redact_enabled")), names_(options.get("redact_names"), options.get("redact_allow")) {}

bool Redaction::is_secret(const EventView& event) {
  if (names_.matches(event.variable_name)) return true;
  return std::any_of(event.path.begin(), event.path.end(),
                     [&](const PathPart& part) { return part.kind == PathKind::kText && names_.matches(part.text); });
}

bool Redaction::hide_named(std::string_view text, std::string_view hidden, std::string* out) {
  if (text.find(':') == text.npos && text.find('=') == text.npos) return false;
  out->clear();
  std::size_t copied = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_quote(text[at]))
      at = skip_quoted(text, at);
    else if (is_word(text[at]))
      while (at < text.size() && is_word(text[at])) ++at;
    else {
      ++at;
      continue;
    }
    const std::size_t value = value_behind(text, at);
    if (value == 0 || !names_.matches(text.substr(begin, at - begin))) continue;
    out->append(text.substr(copied, value - copied)).append(hidden);
    at = copied = skip_value(text, value);
  }
  if (copied == 0) return false;
  out->append(text.substr(copied));
  return true;
}

bool Redaction::hide_parts(EventView* event, Delta* delta) {
  bool hidden = false;
  for (const auto& [value, room] : {std::pair(&event->before, &before_), std::pair(&event->after, &after_)})
    if (value->kind == ValueKind::kObject && hide_named(value->bytes, kHidden, room))
      hidden = hide_text(value->bytes, *room, value);
  if (hidden) compare(*event, delta);
  return hidden;
}

bool Redaction::mentions_secret(std::string_view statement) {
  for (std::size_t at = 0; at < statement.size();) {
    const std::size_t begin = at;
    while (at < statement.size() && is_word(statement[at])) ++at;
    if (at > begin && names_.matches(statement.substr(begin, at - begin))) return true;
    if (at == begin) ++at;
  }
  return false;
}

// Parameters without keys, or whose keys say nothing, belong to names somewhere in the statement.
bool Redaction::hide_params(EventView* event) {
  const std::string_view params = event->sql_params;
  if (params.empty()) return false;
  if (!hide_named(params, kHiddenParameter, &params_)) {
    if (!mentions_secret(event->sql_statement)) return false;
    params_ = masked(params);
  }
  if (params == params_) return false;
  event->sql_params = params_;
  return true;
}

bool Redaction::apply(EventView* event, Delta* delta) {
  if (!enabled_) return false;
  const bool hid_params = hide_params(event);
  if (!is_secret(*event)) return hide_parts(event, delta) || hid_params;
  if (!event->path.empty() && holds_element(*event, event->path.back())) event->path.back().text = kHidden;
  hide(&event->before);
  hide(&event->after);
  delta->runs.clear();
  delta->ranges.clear();
  delta->changed_bytes = delta->size_before = delta->size_after = 0;
  return true;
}

}  // namespace watcher

// The writing half of toml_file.h.
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "config/toml_file.h"

namespace watcher {
namespace {

/// A basic string: whatever the text holds, on one line.
std::string toml_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (byte >= 0x20 && byte != 0x7f)
      out += c;
    else
      out += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out + '"';
}

bool needs_quotes(const OptionRow& row, const std::string& value) {
  if (row.type == OptionType::kDepth) return value == "FULL";
  return row.type != OptionType::kFlag && row.type != OptionType::kCount;
}

/// One table holds each scope's list once, so a scope that comes back after another one opens a new table: the order of
/// the names is kept.
std::size_t end_of_table(const std::vector<WatchName>& names, std::size_t first) {
  std::uint32_t seen = 0;
  std::size_t end = first;
  for (; end < names.size(); ++end) {
    const std::uint32_t scope = 1u << static_cast<unsigned>(names[end].scope);
    const bool continues = end > first && names[end].scope == names[end - 1].scope;
    if (((seen & scope) && !continues) || names[end].terms != names[first].terms) break;
    seen |= scope;
  }
  return end;
}

void append_lists(std::string& out, std::span<const WatchName> names) {
  for (std::size_t i = 0; i < names.size();) {
    const RuleScope scope = names[i].scope;
    out += std::string(scope_name(scope)) + " = [" + toml_string(names[i].name);
    while (++i < names.size() && names[i].scope == scope) out += ", " + toml_string(names[i].name);
    out += "]\n";
  }
}

void append_terms(std::string& out, const WatchTerms& terms) {
  if (!terms.when.empty()) out += "when = " + toml_string(terms.when) + "\n";
  if (terms.sample != 1) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, terms.sample).ptr;
    out.append("sample = ").append(digits, end).append("\n");
  }
  if (terms.max_per_second != 0) out += "max_per_second = " + std::to_string(terms.max_per_second) + "\n";
  if (terms.breaks) out += "on_change = \"break\"\n";
}

void append_rule(std::string& out, const WatchRule& rule) {
  for (std::size_t first = 0; first < rule.names.size();) {
    const std::size_t end = end_of_table(rule.names, first);
    out += (out.empty() ? "[[watch]]\nfile = " : "\n[[watch]]\nfile = ") + toml_string(rule.file) + "\n";
    append_lists(out, std::span(rule.names).subspan(first, end - first));
    append_terms(out, rule.names[first].terms);
    first = end;
  }
}

void append_texts(std::string& out, const char* key, const std::vector<std::string>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i)
    out += (i == 0 ? std::string(key) + " = [" : ", ") + toml_string(texts[i]);
  if (!texts.empty()) out += "]\n";
}

template <class Number>
void append_number(std::string& out, const char* key, Number number, Number fallback) {
  if (number != fallback) out += std::string(key) + " = " + std::to_string(number) + "\n";
}

void append_filter(std::string& out, const FilterSpec& filter) {
  const FilterSpec none;
  append_texts(out, "name", filter.names);
  append_texts(out, "file", filter.files);
  append_texts(out, "function", filter.functions);
  append_texts(out, "scope", filter.scopes);
  append_texts(out, "thread", filter.threads);
  append_number(out, "min_deltas", filter.min_deltas, none.min_deltas);
  append_number(out, "max_deltas", filter.max_deltas, none.max_deltas);
  if (!filter.when.empty()) out += "when = " + toml_string(filter.when) + "\n";
  if (filter.drop_fitting) out += "action = \"drop\"\n";
  append_number(out, "max_per_second", filter.max_per_second, none.max_per_second);
  append_number(out, "fold_ms", filter.fold_ms, none.fold_ms);
}

void append_processor(std::string& out, const ProcessorSpec& spec) {
  const ProcessorSpec standard;
  out += std::string(out.empty() ? "" : "\n") + "[[processor]]\ntype = \"" +
         std::string(processor_type_name(spec.type)) + "\"\n";
  if (!spec.path.empty()) out += "path = " + toml_string(spec.path) + "\n";
  append_texts(out, "args", spec.args);
  append_number(out, "timeout_ms", spec.timeout_ms, standard.timeout_ms);
  append_number(out, "memory_mb", spec.memory_mb, standard.memory_mb);
  if (spec.subprocesses) out += "subprocesses = true\n";
  append_filter(out, spec.filter);
}

}  // namespace

std::string to_toml(const Options& options) {
  std::string out;
  for (const OptionRow& row : option_table()) {
    const std::string_view key = row.key;
    if (!options.is_set(key) || key == "config" || key == "files_scope") continue;
    const std::string& value = options.get(key);
    out += std::string(key) + " = " + (needs_quotes(row, value) ? toml_string(value) : value) + "\n";
  }
  for (const WatchRule& rule : options.rules()) append_rule(out, rule);
  for (const ProcessorSpec& spec : options.processors()) append_processor(out, spec);
  return out;
}

}  // namespace watcher

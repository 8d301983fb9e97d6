#include "config/toml_file.h"

// The host decides about exceptions and streams; numbers go through <charconv>, never through a locale.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_FLOAT_CHARCONV 1
#include <toml++/toml.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "config/config_file.h"
#include "config/spelling.h"

namespace watcher {
namespace {

constexpr std::string_view kRuleKeys[] = {"file", "local", "global", "both", "unknown"};
/// Tables that belong to stages which do not exist yet in this version.
constexpr std::string_view kTablesWithoutEffect[] = {"processor", "redact", "otlp"};

std::string at(const std::string& name, const toml::source_region& source) {
  return name + ":" + std::to_string(source.begin.line) + ":" + std::to_string(source.begin.column);
}

Error fault(const std::string& name, const toml::source_region& source, const std::string& sentence) {
  return Error{0, at(name, source) + ": " + sentence};
}

struct Entry {
  std::string_view key;
  toml::source_region key_source;
  const toml::node* value;
};

/// In the order of the text; the table itself is sorted by key.
std::vector<Entry> entries_in_order(const toml::table& table) {
  std::vector<Entry> entries;
  for (const auto& [key, value] : table) entries.push_back({key.str(), key.source(), &value});
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    const auto &p = a.key_source.begin, &q = b.key_source.begin;
    return std::pair(p.line, p.column) < std::pair(q.line, q.column);
  });
  return entries;
}

/// The text of a value of the type that the row wants; nothing when it has another type.
std::optional<std::string> text_of(const OptionRow& row, const toml::node& value) {
  const bool takes_number = row.type == OptionType::kCount || row.type == OptionType::kDepth;
  const bool takes_text = row.type != OptionType::kCount && row.type != OptionType::kFlag;
  if (const auto* flag = value.as_boolean(); flag && row.type == OptionType::kFlag)
    return flag->get() ? "true" : "false";
  if (const auto* number = value.as_integer(); number && takes_number) return std::to_string(number->get());
  if (const auto* text = value.as_string(); text && takes_text) return text->get();
  return std::nullopt;
}

Result<void> read_option(Options& options, const OptionRow& row, const Entry& entry, const std::string& name) {
  if (entry.key == "config")
    return fault(name, entry.key_source,
                 "a configuration file cannot name another one; use --config or WATCHER_CONFIG");
  auto text = text_of(row, *entry.value);
  if (!text) {
    const bool unquoted = row.type == OptionType::kCount || row.type == OptionType::kFlag;
    return fault(
        name, entry.value->source(),
        std::string(row.key) + " is " + describe_values(row) + (unquoted ? ", without quotes" : ", in quotes"));
  }
  if (row.type == OptionType::kPath && !text->empty()) text = relative_to_file(name, *text);
  return options.set(entry.key, *text, at(name, entry.value->source()));
}

Result<void> add_name(Options& options, const std::string& file, RuleScope scope, const toml::node& value,
                      const std::string& name) {
  const auto* text = value.as_string();
  if (!text) return fault(name, value.source(), "a variable's name stands here, in quotes");
  if (const char* wrong = watch_name_fault(text->get()))
    return fault(name, value.source(), in_quotes(text->get()) + ": " + wrong);
  options.add_rule(file, WatchName{scope, text->get()});
  return {};
}

Result<void> read_names(Options& options, const std::string& file, const Entry& entry, const std::string& name) {
  const RuleScope scope = *parse_scope(entry.key);
  const auto* names = entry.value->as_array();
  if (!names) return add_name(options, file, scope, *entry.value, name);
  for (const toml::node& element : *names)
    if (auto added = add_name(options, file, scope, element, name); !added) return added;
  return {};
}

Result<std::string> read_rule_file(const toml::table& rule, const std::string& name) {
  const toml::node* file = rule.get("file");
  if (!file) return fault(name, rule.source(), "a [[watch]] table needs a file, such as file = \"app.py\"");
  const auto* text = file->as_string();
  if (!text) return fault(name, file->source(), "file is a path or a glob, in quotes");
  if (const char* wrong = watch_file_fault(text->get()))
    return fault(name, file->source(), in_quotes(text->get()) + ": " + wrong);
  return text->get();
}

Result<void> read_rule(Options& options, const toml::node& node, const std::string& name) {
  const auto* rule = node.as_table();
  if (!rule) return fault(name, node.source(), "watch is a list of tables, each below a line [[watch]]");
  const auto file = read_rule_file(*rule, name);
  if (!file) return file.error();
  bool says_anything = false;
  for (const Entry& entry : entries_in_order(*rule)) {
    if (entry.key == "file") continue;
    if (!parse_scope(entry.key))
      return fault(name, entry.key_source,
                   "a [[watch]] table has no key " + in_quotes(entry.key) + "; it has file, local, global, both, unknown" +
                       did_you_mean(entry.key, kRuleKeys));
    says_anything = true;
    if (auto read = read_names(options, file.value(), entry, name); !read) return read;
  }
  if (says_anything) return {};
  return fault(name, rule->source(), "this [[watch]] table names no variable; add for example unknown = [\"counter\"]");
}

Result<void> read_rules(Options& options, const Entry& entry, const std::string& name) {
  const auto* rules = entry.value->as_array();
  if (!rules)
    return fault(name, entry.key_source, "watch is a list of tables: write [[watch]] with two brackets on each side");
  for (const toml::node& rule : *rules)
    if (auto read = read_rule(options, rule, name); !read) return read;
  return {};
}

Error unknown_key(const Entry& entry, const std::string& name) {
  std::vector<std::string_view> keys(std::begin(kTablesWithoutEffect), std::end(kTablesWithoutEffect));
  keys.push_back("watch");
  for (const OptionRow& row : option_table()) keys.push_back(row.key);
  return fault(name, entry.key_source, "there is no option " + in_quotes(entry.key) + did_you_mean(entry.key, keys));
}

Result<void> read_entry(Options& options, const Entry& entry, const std::string& name) {
  if (entry.key == "watch") return read_rules(options, entry, name);
  if (std::ranges::find(kTablesWithoutEffect, entry.key) != std::end(kTablesWithoutEffect)) {
    options.warn(at(name, entry.key_source) + ": [" + std::string(entry.key) + "] has no effect in this version");
    return {};
  }
  const OptionRow* row = find_option(entry.key);
  if (!row) return unknown_key(entry, name);
  return read_option(options, *row, entry, name);
}

}  // namespace

Result<void> parse_toml_text(Options& options, std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text, std::string_view(name));
  if (!parsed) return fault(name, parsed.error().source(), std::string(parsed.error().description()));
  Options result = options;
  for (const Entry& entry : entries_in_order(parsed.table()))
    if (auto read = read_entry(result, entry, name); !read) return read;
  options = std::move(result);
  return {};
}

Result<void> load_toml_file(Options& options, const std::string& path) {
  auto text = read_config_file(path);
  if (!text) return text.error();
  return parse_toml_text(options, text.value(), path);
}

}  // namespace watcher

// Every option of Watcher, once: the table from which the TOML keys, the WATCHER_* environment, the command line and
// --help derive; and the model that all configuration sources load into.
//
// No threads: loaded once, read-only afterwards. Ordinary zone (allocates), never entered from a signal handler. Lives
// in hosts too: no exceptions, no streams, no static constructors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/processor_spec.h"
#include "runtime/base/result.h"

namespace watcher {

enum class OptionType {
  kText,
  kPath,
  kFlag,    // true or false; the environment and the command line also take 1/0, yes/no, on/off
  kCount,   // a whole number within OptionRow::choices
  kChoice,  // one word of OptionRow::choices
  kDepth    // FULL or a number of bytes
};

/// One row of the table. `max_queue_size` is --max-queue-size and WATCHER_MAX_QUEUE_SIZE.
struct OptionRow {
  const char* key;
  OptionType type;
  const char* fallback;  // default, as text
  const char* choices;   // "a|b|c" for kChoice, "lowest..highest" for kCount, else ""
  const char* placeholder;
  const char* help;
};

std::span<const OptionRow> option_table();
/// Null when there is no such key.
const OptionRow* find_option(std::string_view key);
/// What a value of this row looks like, for error messages and --help: "one of auto, inline, …".
std::string describe_values(const OptionRow& row);

enum class RuleScope { kUnknown, kLocal, kGlobal, kBoth };

std::string_view scope_name(RuleScope scope);
std::optional<RuleScope> parse_scope(std::string_view text);

/// Which changes of a variable count.
struct WatchTerms {
  std::string when;                  // a Condition; empty: every change
  double sample = 1;                 // share of the changes, 0 to 1
  std::uint32_t max_per_second = 0;  // 0: no limit
  bool breaks = false;               // on_change = "break": the debugger is entered
  bool operator==(const WatchTerms&) const = default;
};

struct WatchName {
  RuleScope scope = RuleScope::kUnknown;
  std::string name;
  WatchTerms terms = {};
  bool operator==(const WatchName&) const = default;
};

/// All names watched in one source file, in the order of their first mention.
struct WatchRule {
  std::string file;
  std::vector<WatchName> names;
  bool operator==(const WatchRule&) const = default;
};

/// What is wrong with a variable name or a file of a rule, as the end of a sentence; null when it is right. Both file
/// formats refuse the same ones, so that each can be converted into the other.
const char* watch_name_fault(std::string_view name);
const char* watch_file_fault(std::string_view file);

class Options {
 public:
  Options();

  /// Current value as text; the default when nothing set it. Unknown keys give an empty string.
  const std::string& get(std::string_view key) const;
  bool flag(std::string_view key) const { return get(key) == "true"; }
  std::uint64_t number(std::string_view key) const;

  /// Checks the value against the table. `origin` opens the error message ("watcher.toml:3:1", "WATCHER_ENGINE", …).
  Result<void> set(std::string_view key, std::string_view value, std::string_view origin);
  bool is_set(std::string_view key) const;

  std::vector<WatchRule>& rules() { return rules_; }
  const std::vector<WatchRule>& rules() const { return rules_; }
  /// Adds to the rule of the same file; a name given twice with the same scope counts once.
  void add_rule(std::string_view file, const WatchName& name);

  std::vector<ProcessorSpec>& processors() { return processors_; }
  const std::vector<ProcessorSpec>& processors() const { return processors_; }

  /// What was accepted but has no effect, one sentence each; whoever has a terminal shows them.
  const std::vector<std::string>& warnings() const { return warnings_; }
  void warn(std::string sentence) { warnings_.push_back(std::move(sentence)); }

 private:
  std::size_t index_of(std::string_view key) const;

  std::vector<std::string> values_;  // parallel to option_table(), and one empty string behind: the unknown key's
  std::vector<bool> set_;
  std::vector<WatchRule> rules_;
  std::vector<ProcessorSpec> processors_;
  std::vector<std::string> warnings_;
};

/// Does a rule's `file` mean this source path? Equal, or a suffix by whole components, or a glob that fits the path or
/// its last components (`*` stays within a component, `**` crosses them).
bool file_matches(std::string_view rule_file, std::string_view path);

/// Where the configuration comes from in a running host: WATCHER_CONFIG or ./watcher.toml, WATCHER_FILES_SCOPE, then
/// WATCHER_* over it. `asked` becomes true when any of them exists or watcher-exec started us.
Result<Options> load_from_environment(bool* asked);

}  // namespace watcher

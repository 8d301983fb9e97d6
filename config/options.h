// Every option of Watcher, once: the table from which the TOML keys, the WATCHER_* environment, the command line and
// --help derive. No threads: loaded once, read-only afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

enum class OptionType { kText, kPath, kFlag, kCount, kChoice, kDepth };

/// One row of the table. `max_queue_size` is --max-queue-size and WATCHER_MAX_QUEUE_SIZE.
struct OptionRow {
  const char* key;
  OptionType type;
  const char* fallback;  // default, as text
  const char* choices;   // "a|b|c" for kChoice, else ""
  const char* placeholder;
  const char* help;
};

const std::vector<OptionRow>& option_table();

enum class RuleScope { kUnknown, kLocal, kGlobal, kBoth };

struct WatchName {
  RuleScope scope = RuleScope::kUnknown;
  std::string name;
  bool operator==(const WatchName&) const = default;
};

/// All names watched in one source file, in the order of their first mention.
struct WatchRule {
  std::string file;
  std::vector<WatchName> names;
  bool operator==(const WatchRule&) const = default;
};

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

 private:
  std::vector<std::string> values_;  // parallel to option_table()
  std::vector<bool> set_;
  std::vector<WatchRule> rules_;
};

/// Does a rule's `file` mean this source path? Equal, or a suffix by whole components, or a glob that fits.
bool file_matches(std::string_view rule_file, std::string_view path);

/// Where the configuration comes from in a running host: WATCHER_CONFIG or ./watcher.toml, WATCHER_FILES_SCOPE, then
/// WATCHER_* over it. `asked` becomes true when any of them exists or watcher-exec started us.
Result<Options> load_from_environment(bool* asked);

}  // namespace watcher

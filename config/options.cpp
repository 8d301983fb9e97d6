#include "config/options.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "config/spelling.h"

namespace watcher {
namespace {

using enum OptionType;

constexpr OptionRow kTable[] = {
    {"config", kPath, "", "", "FILE", "Configuration file; without it ./watcher.toml, if there is one"},
    {"output", kPath, "./watcher_output", "", "DIR", "Directory for events.jsonl and summary.json"},
    {"files_scope", kPath, "", "", "FILE",
     "Scope file: a line 'app.py:(local:counter,global:db)' for each source file"},
    {"custom_processor", kPath, "", "", "FILE", "Python or JavaScript file whose main(event) sees each event"},
    {"processor_timeout_ms", kCount, "100", "1..60000", "MS", "How long the custom processor may take for an event"},
    {"python", kText, "", "", "PROGRAM",
     "Python for scripts and processors; without it the program's own, then python3 of PATH"},
    {"node", kText, "", "", "PROGRAM",
     "Node for scripts and processors; without it the program's own, then node of PATH"},
    {"user_script", kPath, "", "", "FILE", "Python or JavaScript file whose main() is run"},
    {"track_threads", kFlag, "false", "", "", "Record the names of threads and tasks"},
    {"track_locals", kFlag, "false", "", "", "Watch all local variables of the files that have rules"},
    {"track_sql", kFlag, "false", "", "", "Record the SQL statement under which a variable changed"},
    {"sql_params", kChoice, "skip", "record|skip", "MODE",
     "Are a statement's parameters recorded; those of passwords and the like never are"},
    {"mutation_depth", kDepth, "FULL", "", "FULL|BYTES", "Changed bytes that an event lists"},
    {"delta_format", kChoice, "bytes", "bytes|ranges", "FORMAT",
     "One delta for each byte, or one for each run of bytes"},
    {"log_level", kChoice, "INFO", "DEBUG|INFO|WARNING|ERROR", "LEVEL", "What is said on stderr"},
    {"max_queue_size", kCount, "65536", "1..16777216", "EVENTS", "Events that the queue of a process holds"},
    {"engine", kChoice, "auto", "auto|inline|uffd|hwbp|sampled", "ENGINE", "How writes to memory are captured"},
    {"sample_interval_ms", kCount, "10", "1..60000", "MS", "How often the engine 'sampled' looks for changes"},
    {"burst", kChoice, "auto", "auto|off", "MODE", "Merge the stores of one bulk statement into one event"},
    {"burst_threshold", kCount, "8", "1..1000000", "STORES",
     "Stores of one call that are told one by one, before the rest of them become one event"},
    {"on_full", kChoice, "block", "block|drop-newest|drop-oldest", "POLICY",
     "What a writer does when the queue is full"},
    {"fsync", kChoice, "batch", "never|batch|every", "WHEN", "When events are forced to the disk"},
    {"enrich_workers", kCount, "0", "0..3", "THREADS",
     "Threads that turn recorded events into lines while there are many; 0: one a processor, at most three"},
    {"rotate_size", kCount, "0", "0..1152921504606846976", "BYTES",
     "Size from which events.jsonl is put aside as events-000001.jsonl and so on; 0: never"},
    {"rotate_keep", kCount, "0", "0..1000000", "FILES", "Files put aside that are kept, the newest ones; 0: all"},
    {"rotate_compress", kChoice, "none", "none|gzip|zstd", "FORMAT", "How files put aside are compressed"},
    {"trace_file", kPath, "", "", "FILE", "Trace for Perfetto or Chrome, with a track for each variable"},
    {"otlp_endpoint", kText, "", "", "URL",
     "OpenTelemetry collector that gets the events as log records, such as http://localhost:4318"},
    {"otlp_headers", kText, "", "", "PAIRS", "Headers of its requests: key=value,key=value"},
    {"otlp_resource", kText, "", "", "PAIRS", "Resource attributes of its records, such as service.name=shop"},
    {"otlp_batch_size", kCount, "512", "1..100000", "EVENTS", "Events of one request"},
    {"otlp_timeout_ms", kCount, "10000", "1..600000", "MS",
     "Longest wait for an answer, and for deliveries at the end of a run"},
    {"record_init", kFlag, "false", "", "", "Record the initial state of a variable too, as an event 'init'"},
    {"first_bindings", kChoice, "record", "record|skip", "MODE",
     "Is the first binding of a name from a rule a store, or its initial state"},
    {"depth", kCount, "0", "0..16", "STEPS",
     "How deep inside a watched object a change still counts: steps of its path; 0: 4 for watch(), 1 for names of a "
     "rule"},
    {"silent_stores", kChoice, "record", "record|skip", "MODE", "What happens with a store of an equal value"},
    {"stack", kCount, "0", "0..64", "FRAMES", "Callers recorded with each event"},
    {"symbol_cache_size", kCount, "1000", "0..10000000", "SYMBOLS", "Native code addresses whose names are remembered"},
    {"symbol_cache_ttl_s", kCount, "3600", "0..31536000", "SECONDS",
     "How long the name of a native code address is remembered"},
    {"debug_path", kText, "-:.debug:/usr/lib/debug", "", "DIRS",
     "Where separate debug files of native code are looked for, as gdb's and elfutils' debug paths"},
    {"redact_enabled", kFlag, "true", "", "", "Leave out the values of what is named like a secret"},
    {"redact_names", kText, "", "", "NAMES", "More names that are secret, with commas between; * stands for anything"},
    {"redact_allow", kText, "", "", "NAMES", "Names that are not, though they look so"},
    {"position", kChoice, "exact", "exact|fast", "MODE", "Exact source lines in node, or inlining left on"},
};
constexpr std::size_t kRows = std::size(kTable);

template <class Visit>
void for_each_choice(const OptionRow& row, Visit visit) {
  std::string_view rest = row.choices;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('|'), rest.size());
    visit(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct CountRange {
  std::uint64_t lowest = 0;
  std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
};

CountRange count_range(const OptionRow& row) {
  if (row.type == kDepth) return {.lowest = 1, .highest = std::numeric_limits<std::uint32_t>::max()};
  const std::string_view text = row.choices;
  const std::size_t dots = text.find("..");
  return {.lowest = *parse_count(text.substr(0, dots)), .highest = *parse_count(text.substr(dots + 2))};
}

std::optional<std::string> canonical_flag(std::string_view text) {
  for (const char* yes : {"true", "1", "yes", "on"})
    if (equal_ignoring_case(text, yes)) return "true";
  for (const char* no : {"false", "0", "no", "off"})
    if (equal_ignoring_case(text, no)) return "false";
  return std::nullopt;
}

std::optional<std::string> canonical_choice(const OptionRow& row, std::string_view text) {
  std::optional<std::string> found;
  for_each_choice(row, [&](std::string_view choice) {
    if (equal_ignoring_case(choice, text)) found = choice;
  });
  return found;
}

std::optional<std::string> canonical_count(const OptionRow& row, std::string_view text) {
  const CountRange range = count_range(row);
  const auto count = parse_count(text);
  if (!count || *count < range.lowest || *count > range.highest) return std::nullopt;
  return std::to_string(*count);
}

/// The one spelling of a value that the rest of the program compares with; nothing when the row does not allow it.
std::optional<std::string> canonical(const OptionRow& row, std::string_view text) {
  switch (row.type) {
    case kFlag:
      return canonical_flag(text);
    case kChoice:
      return canonical_choice(row, text);
    case kDepth:
      if (equal_ignoring_case(text, "FULL")) return "FULL";
      return canonical_count(row, text);
    case kCount:
      return canonical_count(row, text);
    case kText:
    case kPath:
      break;
  }
  if (text.empty() || text.find('\0') != std::string_view::npos) return std::nullopt;
  return std::string(text);
}

std::string nearest_choice(const OptionRow& row, std::string_view text) {
  std::vector<std::string_view> choices;
  for_each_choice(row, [&](std::string_view choice) { choices.push_back(choice); });
  return did_you_mean(text, choices);
}

}  // namespace

std::span<const OptionRow> option_table() {
  return kTable;
}

const OptionRow* find_option(std::string_view key) {
  const auto* row =
      std::find_if(std::begin(kTable), std::end(kTable), [&](const OptionRow& r) { return r.key == key; });
  return row == std::end(kTable) ? nullptr : row;
}

std::string describe_values(const OptionRow& row) {
  switch (row.type) {
    case kFlag:
      return "true or false";
    case kDepth:
      return "FULL or a number of bytes from 1";
    case kCount: {
      const CountRange range = count_range(row);
      return "a whole number from " + std::to_string(range.lowest) + " to " + std::to_string(range.highest);
    }
    case kChoice: {
      std::string text;
      for_each_choice(row, [&](std::string_view choice) {
        text += text.empty() ? "one of " : ", ";
        text += choice;
      });
      return text;
    }
    case kPath:
      return "a path";
    case kText:
      break;
  }
  return "a text";
}

Options::Options() : values_(kRows + 1), set_(kRows + 1) {
  for (std::size_t i = 0; i < kRows; ++i) values_[i] = kTable[i].fallback;
}

std::size_t Options::index_of(std::string_view key) const {
  const OptionRow* row = find_option(key);
  return row ? static_cast<std::size_t>(row - kTable) : kRows;
}

const std::string& Options::get(std::string_view key) const {
  return values_[index_of(key)];
}

bool Options::is_set(std::string_view key) const {
  return set_[index_of(key)];
}

std::uint64_t Options::number(std::string_view key) const {
  return parse_count(get(key)).value_or(0);
}

Result<void> Options::set(std::string_view key, std::string_view value, std::string_view origin) {
  const std::size_t index = index_of(key);
  if (index == kRows) {
    std::vector<std::string_view> keys;
    for (const OptionRow& row : kTable) keys.push_back(row.key);
    return Error{0, std::string(origin) + ": there is no option " + in_quotes(key) + did_you_mean(key, keys)};
  }
  const OptionRow& row = kTable[index];
  auto accepted = canonical(row, value);
  if (!accepted)
    return Error{0, std::string(origin) + ": " + row.key + " is " + describe_values(row) + ", not " + in_quotes(value) +
                        nearest_choice(row, value)};
  values_[index] = std::move(*accepted);
  set_[index] = true;
  return {};
}

void Options::add_rule(std::string_view file, const WatchName& name) {
  auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const WatchRule& r) { return r.file == file; });
  if (rule == rules_.end()) rule = rules_.insert(rules_.end(), WatchRule{std::string(file), {}});
  if (std::find(rule->names.begin(), rule->names.end(), name) == rule->names.end()) rule->names.push_back(name);
}

}  // namespace watcher

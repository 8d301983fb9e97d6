#include "runtime/process/builtin_processors.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <charconv>

#include "config/options.h"
#include "config/spelling.h"
#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::size_t kLogBytes = 64 * 1024;

class NoopProcessor final : public BuiltinProcessor {
 public:
  NoopProcessor() : BuiltinProcessor("noop") {}

 private:
  bool decide(const EventFacts&) override { return true; }
};

/// Is the list empty, or does one of its globs fit?
bool any_fits(const std::vector<std::string>& globs, std::string_view text) {
  if (globs.empty()) return true;
  const std::string subject(text);
  return std::ranges::any_of(globs,
                             [&](const std::string& glob) { return fnmatch(glob.c_str(), subject.c_str(), 0) == 0; });
}

bool any_file_fits(const std::vector<std::string>& files, std::string_view path) {
  return files.empty() || std::ranges::any_of(files, [&](const std::string& file) { return file_matches(file, path); });
}

bool any_thread_fits(const std::vector<std::string>& threads, const EventFacts& facts) {
  if (threads.empty() || std::ranges::find(threads, std::to_string(facts.thread_id)) != threads.end()) return true;
  return !facts.thread_name.empty() && any_fits(threads, facts.thread_name);
}

std::string value_text(const ConditionValue& value) {
  using Kind = ConditionValue::Kind;
  char digits[32];
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.integer);
    case Kind::kFloat:
      return {digits, std::to_chars(digits, digits + sizeof digits, value.real).ptr};
    case Kind::kText:
      return in_quotes(value.text);
    case Kind::kOther:
      break;
  }
  return std::string(1, '<').append(value.type.empty() ? "object" : value.type).append(1, '>');
}

std::string time_text(std::uint64_t timestamp_ns) {
  const auto seconds = static_cast<time_t>(timestamp_ns / kSecondNs);
  tm parts{};
  char text[48];
  gmtime_r(&seconds, &parts);
  const std::size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text + length, sizeof text - length, ".%06uZ", static_cast<unsigned>(timestamp_ns % kSecondNs / 1000));
  return text;
}

Result<UniqueFd> open_log(const std::string& path, int directory_fd) {
  if (path.empty()) return open_own_file(directory_fd, "changes.log", O_WRONLY | O_APPEND | O_CREAT);
  return open_own_file(AT_FDCWD, path.c_str(), O_WRONLY | O_APPEND | O_CREAT);
}

}  // namespace

Result<std::unique_ptr<BuiltinProcessor>> BuiltinProcessor::make(const ProcessorSpec& spec, int directory_fd) {
  if (spec.type == ProcessorSpec::Type::kFilter)
    return std::unique_ptr<BuiltinProcessor>(std::make_unique<FilterProcessor>(spec.filter));
  if (spec.type == ProcessorSpec::Type::kNoop)
    return std::unique_ptr<BuiltinProcessor>(std::make_unique<NoopProcessor>());
  Result<UniqueFd> file = open_log(spec.path, directory_fd);
  if (!file) return Error{file.error().code, "logging processor: " + file.error().message};
  return std::unique_ptr<BuiltinProcessor>(std::make_unique<LoggingProcessor>(std::move(file.value())));
}

bool BuiltinProcessor::keeps(const EventFacts& facts) {
  const bool kept = decide(facts);
  (kept ? counts().passed : counts().dropped).fetch_add(1, std::memory_order_relaxed);
  return kept;
}

bool BuiltinProcessor::process(std::span<ChainEvent> events, const std::atomic<bool>&) {
  for (ChainEvent& event : events)
    if (!event.dropped) event.dropped = !keeps(LineFacts(event.line));
  return true;
}

FilterProcessor::FilterProcessor(const FilterSpec& spec) : BuiltinProcessor("filter"), spec_(spec) {
  if (spec.when.empty()) return;
  if (auto condition = Condition::compile(spec.when)) when_ = std::move(condition.value());
}

// A condition that cannot be decided for an event never takes it away.
bool FilterProcessor::fits(const EventFacts& facts) const {
  if (facts.deltas < spec_.min_deltas || facts.deltas > spec_.max_deltas) return false;
  if (!any_fits(spec_.names, facts.name) || !any_file_fits(spec_.files, facts.file)) return false;
  if (!any_fits(spec_.functions, facts.function) || !any_thread_fits(spec_.threads, facts)) return false;
  if (!spec_.scopes.empty() && std::ranges::find(spec_.scopes, facts.scope) == spec_.scopes.end()) return false;
  if (!when_) return true;
  const Condition::Verdict verdict = when_->test(fact_value, &facts);
  if (verdict == Condition::Verdict::kUnknown) return !spec_.drop_fitting;
  return verdict == Condition::Verdict::kTrue;
}

bool FilterProcessor::is_repetition(const EventFacts& facts) {
  Variable& variable = variables_[facts.variable_id];
  const std::uint64_t hash = facts.content_hash();
  const bool recent = facts.timestamp_ns < variable.last_ns + spec_.fold_ms * kMillisecondNs;
  const bool same = variable.last_ns != 0 && variable.last_hash == hash && recent;
  if (!same) variable.last_ns = facts.timestamp_ns;
  variable.last_hash = hash;
  return same;
}

bool FilterProcessor::within_rate(const EventFacts& facts) {
  Variable& variable = variables_[facts.variable_id];
  const std::uint64_t second = facts.timestamp_ns / kSecondNs;
  if (variable.second != second) variable.events = 0;
  variable.second = second;
  return variable.events++ < spec_.max_per_second;
}

bool FilterProcessor::decide(const EventFacts& facts) {
  if (fits(facts) == spec_.drop_fitting) return false;
  if (spec_.fold_ms != 0 && is_repetition(facts)) return false;
  return spec_.max_per_second == 0 || within_rate(facts);
}

bool LoggingProcessor::decide(const EventFacts& facts) {
  text_ += time_text(facts.timestamp_ns) + ' ' + std::string(facts.name) + ' ' + std::string(facts.op) + ": " +
           value_text(facts.value(ConditionName::kOld)) + " -> " + value_text(facts.value(ConditionName::kNew));
  if (!facts.file.empty())
    text_ += " in " + std::string(facts.function) + " (" + in_quotes(facts.file) + ", line " +
             std::to_string(facts.line) + ")";
  text_ += " thread " + std::to_string(facts.thread_id) + '\n';
  if (text_.size() >= kLogBytes) write_out();
  return true;
}

/// What a full disk does not take is left out: the events themselves have their own file.
void LoggingProcessor::write_out() {
  const off_t end = ::lseek(file_.get(), 0, SEEK_END);
  if (end >= 0 && text_.size() <= room_below_limit(static_cast<std::uint64_t>(end)))
    (void)!::write(file_.get(), text_.data(), text_.size());
  text_.clear();
}

}  // namespace watcher

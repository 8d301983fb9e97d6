#include "runtime/output/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/output/journal/own_file.h"
#include "runtime/output/summary_json.h"

namespace watcher {
namespace {

constexpr const char* kFileName = "summary.json";
constexpr const char* kTemporaryName = ".summary.json.new";
constexpr std::size_t kMaxFileBytes = 64u << 20;
constexpr int kLockAttempts = 200;
constexpr unsigned kLockPauseUs = 1000;

/// The directory's lock keeps the collectors of a run from overwriting each other's sums. A holder that does not move
/// (stopped, on a dead disk) must not stop us: then the summary may miss some of its sums, the events do not.
class DirectoryLock {
 public:
  explicit DirectoryLock(int directory_fd) : own_(::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
      if (::flock(own_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
      ::usleep(kLockPauseUs);
    }
  }

 private:
  UniqueFd own_;  // a description of its own: closing it lets the lock go
};

std::string read_file(int directory_fd) {
  Result<UniqueFd> file = open_own_file(directory_fd, kFileName, O_RDONLY);
  std::string text;
  if (!file) return text;
  char block[16 * 1024];
  while (text.size() < kMaxFileBytes) {
    const ssize_t got = ::read(file.value().get(), block, sizeof block);
    if (got <= 0) break;
    text.append(block, static_cast<std::size_t>(got));
  }
  return text;
}

Error failed(const char* step) {
  return {errno, std::string(kFileName) + ": " + step + ": " + strerror(errno)};
}

// Exchanged where that is possible: for a file that is renamed over another one ext4 begins to write the data at once,
// some milliseconds for which a host that ends is kept waiting.
bool take_its_place(int directory_fd) {
  if (::renameat2(directory_fd, kTemporaryName, directory_fd, kFileName, RENAME_EXCHANGE) != 0)
    return ::renameat(directory_fd, kTemporaryName, directory_fd, kFileName) == 0;
  if (::unlinkat(directory_fd, kTemporaryName, 0) == 0) return true;
  const int error = errno;  // a directory of that name
  ::renameat2(directory_fd, kTemporaryName, directory_fd, kFileName, RENAME_EXCHANGE);
  ::unlinkat(directory_fd, kTemporaryName, 0);
  errno = error;
  return false;
}

Result<void> replace_file(int directory_fd, const std::string& text) {
  if (room_below_limit(0) < text.size()) return Error{EFBIG, std::string(kFileName) + ": beyond RLIMIT_FSIZE"};
  ::unlinkat(directory_fd, kTemporaryName, 0);  // of a collector killed half-way
  Result<UniqueFd> file = open_own_file(directory_fd, kTemporaryName, O_WRONLY | O_CREAT | O_EXCL);
  if (!file) return file.error();
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(file.value().get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const Error error = failed("write");
      ::unlinkat(directory_fd, kTemporaryName, 0);
      return error;
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (!take_its_place(directory_fd)) return failed("rename");
  return {};
}

void merge_process(const ProcessSummary& news, RunTotals* totals) {
  const auto same = [&news](const ProcessSummary& entry) {
    return entry.pid == news.pid && entry.started_ns == news.started_ns;
  };
  const auto found = std::find_if(totals->processes.rbegin(), totals->processes.rend(), same);
  if (found != totals->processes.rend()) {
    *found = news;
    return;
  }
  ++totals->process_count;
  if (totals->processes.size() < Summary::kMaxProcesses) totals->processes.push_back(news);
}

void merge_processors(const std::vector<ProcessorCount>& news, std::vector<ProcessorCount>* totals) {
  totals->resize(std::max(totals->size(), news.size()));
  for (std::size_t i = 0; i < news.size(); ++i) {
    ProcessorCount& sum = (*totals)[i];
    sum.name = news[i].name;
    sum.passed += news[i].passed;
    sum.dropped += news[i].dropped;
    sum.failed += news[i].failed;
    sum.timeouts += news[i].timeouts;
    sum.restarts += news[i].restarts;
    sum.output_bytes += news[i].output_bytes;
    if (!news[i].last_error.empty()) sum.last_error = news[i].last_error;
  }
}

void merge(const RunTotals& news, const std::vector<ProcessSummary>& processes, RunTotals* totals) {
  totals->written += news.written;
  totals->recovered += news.recovered;
  totals->dropped += news.dropped;
  totals->coalesced += news.coalesced;
  totals->filtered += news.filtered;
  totals->redacted += news.redacted;
  totals->symbol_hits += news.symbol_hits;
  totals->symbol_misses += news.symbol_misses;
  totals->waiting += news.waiting;
  merge_processors(news.processors, &totals->processors);
  totals->started_ns = std::min(totals->started_ns, news.started_ns);
  totals->ended_ns = std::max(totals->ended_ns, news.ended_ns);
  if (news.exit_code) totals->exit_code = news.exit_code;
  if (news.signal) totals->signal = news.signal;
  for (const auto& [id, count] : news.variables) {
    VariableCount& sum = totals->variables[id];
    if (!count.name.empty()) sum.name = count.name;  // events that were recovered came without
    sum.events += count.events;
  }
  for (const auto& [name, count] : news.sinks) {
    SinkCount& sum = totals->sinks[name];
    sum.delivered += count.delivered;
    sum.rejected += count.rejected;
    sum.fault = count.fault;
  }
  for (const ProcessSummary& process : processes) merge_process(process, totals);
}

}  // namespace

std::uint64_t RunTotals::buffered() const {
  std::uint64_t sum = 0;
  for (const ProcessSummary& process : processes) sum += process.buffered;
  return sum;
}

Summary::Summary(std::uint64_t run_id) : run_id_(run_id) {}

VariableCount* Summary::variable(std::uint64_t id, std::string_view name) {
  VariableCount& count = variables_[id];
  if (count.name.empty()) count.name = name;
  return &count;
}

void Summary::fill_variables() {
  news_.variables.clear();
  for (const auto& [id, count] : variables_) {
    if (count.events == 0) continue;
    char text[24];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
    news_.variables.emplace(text, count);
  }
}

// The addresses of the variables' counts were given away, so they are emptied, not erased.
void Summary::forget_news() {
  const std::uint64_t started_ns = news_.started_ns;
  news_ = RunTotals{};
  news_.started_ns = started_ns;
  process_news_.clear();
  for (auto& [id, count] : variables_) count.events = 0;
}

Result<void> Summary::write(int directory_fd) {
  fill_variables();
  const DirectoryLock lock(directory_fd);
  RunTotals totals;
  parse_summary(read_file(directory_fd), run_id_, &totals);
  merge(news_, process_news_, &totals);
  Result<void> written = replace_file(directory_fd, summary_text(run_id_, totals));
  if (written) forget_news();
  return written;
}

}  // namespace watcher

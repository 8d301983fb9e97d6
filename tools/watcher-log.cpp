// watcher log: the events of a run, one line a change.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "tools/recorded-events.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

/// A path's end by whole components, as rules have it, or a glob.
bool file_fits(const std::string& wanted, std::string_view file) {
  return fits(wanted, file) || fits("*/" + wanted, file);
}

bool thread_fits(const std::string& wanted, const RecordedEvent& event) {
  return std::to_string(event.number("thread_id")) == wanted || fits(wanted, event.text("thread_name"));
}

bool is_wanted(const LogRequest& request, std::uint64_t since, const RecordedEvent& event) {
  const auto names = [&](const std::string& pattern) { return fits(pattern, event.text("variable_name")); };
  if (event.number("timestamp_ns") < since) return false;
  if (!request.variables.empty() && std::ranges::none_of(request.variables, names)) return false;
  if (!request.file.empty() && !file_fits(request.file, event.text("file"))) return false;
  if (!request.thread.empty() && !thread_fits(request.thread, event)) return false;
  if (!request.op.empty() && !fits(request.op, event.text("op"))) return false;
  if (request.sql.empty()) return true;
  return !event.sql().empty() && (request.sql == "*" || event.sql().find(request.sql) != std::string_view::npos);
}

}  // namespace

int show_log(const LogRequest& request) {
  std::uint64_t since = 0;
  if (!request.since.empty()) {
    const auto moment = parse_moment(request.since);
    if (!moment) return complain_and_return(kMistake, "--since: " + moment.error().message);
    since = moment.value();
  }
  const Painter paint = Painter::choose(request.colour, STDOUT_FILENO);
  const auto see = [&](const RecordedEvent& event) {
    if (!is_wanted(request, since, event)) return true;
    const std::string line = (request.json ? std::string(event.line()) : show_event(event, paint)) + "\n";
    const bool taken = fwrite(line.data(), 1, line.size(), stdout) == line.size();
    return taken && (!request.follow || fflush(stdout) == 0);
  };
  const auto read = read_events(request.directory, request.follow, see);
  if (!read) return complain_and_return(kMistake, read.error().message);
  return fflush(stdout) == 0 ? kFine : kMistake;
}

}  // namespace watcher

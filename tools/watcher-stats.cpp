// watcher stats: what a run wrote, lost and watched.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include "runtime/base/unique_fd.h"
#include "runtime/output/journal/rotated_names.h"
#include "runtime/output/summary_json.h"
#include "tools/recorded-events.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

std::size_t count_rings(const std::string& directory) {
  std::size_t count = 0;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  while (const dirent* entry = stream ? readdir(stream.get()) : nullptr)
    count += std::string_view(entry->d_name).starts_with("ring.");
  return count;
}

void show_count(const char* name, std::uint64_t count) {
  std::printf("%-12s%llu\n", name, static_cast<unsigned long long>(count));
}

void show_totals(const RunTotals& totals) {
  std::printf("%-12s%s\n", "started", time_text(totals.started_ns).c_str());
  if (totals.ended_ns) std::printf("%-12s%s\n", "ended", time_text(totals.ended_ns).c_str());
  show_count("written", totals.written);
  show_count("lost", totals.dropped);
  if (totals.coalesced) show_count("coalesced", totals.coalesced);
  if (totals.filtered) show_count("filtered", totals.filtered);
  if (totals.recovered) show_count("recovered", totals.recovered);
  if (totals.exit_code) std::printf("%-12s%d\n", "exit code", *totals.exit_code);
  if (totals.signal && *totals.signal) std::printf("%-12s%d\n", "signal", *totals.signal);
  show_count("processes", totals.process_count);
}

void show_process(const ProcessSummary& process) {
  std::printf("  %-9u%s", process.pid, safe_text(process.host).c_str());
  if (!process.engine.empty())
    std::printf(", engine %s (%s)", safe_text(process.engine).c_str(), safe_text(process.engine_reason).c_str());
  if (process.dropped) std::printf(", %llu lost", static_cast<unsigned long long>(process.dropped));
  if (process.blocked) std::printf(", waited %llu times", static_cast<unsigned long long>(process.blocked));
  std::printf("\n");
}

void show_variables(const RunTotals& totals) {
  std::vector<std::pair<std::string, VariableCount>> variables(totals.variables.begin(), totals.variables.end());
  std::ranges::stable_sort(variables, [](const auto& a, const auto& b) { return a.second.events > b.second.events; });
  std::printf("\n%12s  %-16s  %s\n", "events", "variable_id", "name");
  for (const auto& [id, variable] : variables)
    std::printf("%12llu  %-16s  %s\n", static_cast<unsigned long long>(variable.events), safe_text(id).c_str(),
                safe_text(variable.name).c_str());
}

void show_files(const std::string& directory) {
  const UniqueFd opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::vector<RotatedFile> files = rotated_files(opened.get());
  if (files.empty()) return;
  const auto compressed = std::ranges::count(files, true, &RotatedFile::compressed);
  std::printf("%-12s%zu put aside, %zu of them compressed\n", "files", files.size(),
              static_cast<std::size_t>(compressed));
}

/// Where nobody has written a summary, what the files themselves tell.
RunTotals count_events(const std::string& directory) {
  RunTotals totals;
  (void)read_events(directory, false, [&](const RecordedEvent& event) {
    VariableCount& variable = totals.variables[std::string(event.text("variable_id"))];
    variable.name = event.text("variable_name");
    ++variable.events;
    ++totals.written;
    return true;
  });
  return totals;
}

int show_without_summary(const std::string& directory, std::size_t rings) {
  const RunTotals totals = count_events(directory);
  if (rings == 0 && totals.written == 0)
    return complain_and_return(kMistake, "there is no readable summary.json in " + directory);
  std::printf("no summary%s; counted in the files:\n", rings ? " yet" : "");
  show_count("written", totals.written);
  if (rings) show_count("queues", rings);
  show_files(directory);
  if (!totals.variables.empty()) show_variables(totals);
  return kFine;
}

}  // namespace

int show_stats(const std::string& directory) {
  std::ifstream file(directory + "/summary.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t rings = count_rings(directory);
  RunTotals totals;
  if (!parse_summary(text, 0, &totals)) return show_without_summary(directory, rings);
  show_totals(totals);
  for (const ProcessSummary& process : totals.processes) show_process(process);
  if (rings) std::printf("%-12s%zu (running, or to be taken in by watcher recover)\n", "queues", rings);
  show_files(directory);
  if (!totals.variables.empty()) show_variables(totals);
  return kFine;
}

}  // namespace watcher

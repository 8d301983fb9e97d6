// watcher-exec: starts a program under Watcher, collects what its processes record, and ends as the program ended.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string_view>

#include "config/environment.h"
#include "runtime/collect/collector.h"
#include "tools/watcher-exec-command-line.h"
#include "tools/watcher-exec-environment.h"
#include "tools/watcher-exec-message.h"
#include "tools/watcher-exec-program.h"
#include "tools/watcher-exec-supervisor.h"

namespace watcher {
namespace {

constexpr int kUsageError = 2;

/// Closed standard descriptors stay unusable, here and (closed again) in the program, but no file of ours gets their
/// numbers.
void reserve_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) == -1) (void)!open("/", O_PATH | O_CLOEXEC);
}

/// Whoever reads the program's output waits for its end of the pipe, not for ours.
void release_standard_input_and_output() {
  close(STDIN_FILENO);
  close(STDOUT_FILENO);
}

std::uint64_t realtime_ns() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

bool is_disabled() {
  const char* value = getenv(kDisableVariable);
  return value && value == std::string_view("1");
}

int refuse(int exit_code, const std::string& sentence) {
  complain(sentence);
  return exit_code;
}

int become(char** program) {
  const StartFault fault = start_fault(program[0], replace_with(program));
  return refuse(fault.exit_code, fault.sentence);
}

/// What these options ask for cannot be left out silently.
const char* unavailable_option(const Options& options) {
  for (const char* key : {"user_script", "custom_processor"})
    if (options.is_set(key)) return key;
  return nullptr;
}

void show_warnings(const Options& options) {
  if (options.get("log_level") == "ERROR") return;
  for (const std::string& warning : options.warnings()) complain(warning);
}

/// Everything that can be wrong is found here, before anything is started.
Result<Options> prepare(const CommandLine& command) {
  auto options = establish_options(command.settings);
  if (!options) return options;
  if (const char* key = unavailable_option(options.value()))
    return Error{0, std::string(key) + " is not available in this version"};
  if (auto preloaded = preload_shim(); !preloaded) return preloaded.error();
  return options;
}

int end_as(int status) {
  if (WIFSIGNALED(status)) die_by(WTERMSIG(status));
  return WEXITSTATUS(status);
}

void conclude(Collector& collector, int status) {
  if (WIFSIGNALED(status))
    collector.set_outcome(128 + WTERMSIG(status), WTERMSIG(status));
  else
    collector.set_outcome(WEXITSTATUS(status), 0);
  if (auto finished = collector.finish(); !finished) complain(finished.error().message);
}

int run(char** arguments, const Options& options) {
  const std::uint64_t run_id = realtime_ns();
  auto collector = Collector::open(options, run_id);
  if (!collector) return refuse(kUsageError, collector.error().message);
  announce_run(run_id, true);
  // after the last change of the environment, which their threads read
  if (auto added = collector.value()->add_sinks(options); !added) return refuse(kUsageError, added.error().message);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const SignalState signals = block_signals();
  const Program program = Program::start(arguments, signals);
  if (program.error()) return refuse(126, std::string("cannot start a process: ") + strerror(program.error()));
  release_standard_input_and_output();
  Supervisor supervisor(program.pid(), *collector.value());
  const int status = supervisor.run();
  supervisor.drain();
  if (program.exec_error()) complain(start_fault(arguments[0], program.exec_error()).sentence);
  conclude(*collector.value(), status);
  collector.value().reset();  // lets go of the rings of those who live on; a signal would not
  return end_as(status);
}

int main_function(int argc, char** argv) {
  reserve_standard_descriptors();
  const CommandLine command = parse_command_line(argc, argv);
  if (command.exit_code) return *command.exit_code;
  if (is_disabled()) return become(command.program);
  const auto options = prepare(command);
  if (!options) return refuse(kUsageError, options.error().message);
  show_warnings(options.value());
  if (const StartFault fault = check_program(command.program[0]); fault.exit_code)
    return refuse(fault.exit_code, fault.sentence);
  if (!command.replace) return run(command.program, options.value());
  announce_run(realtime_ns(), false);
  return become(command.program);
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  return watcher::main_function(argc, argv);
}

// watcher-exec: starts a program under Watcher, collects what its processes record, and ends as the program ended.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>

#include "config/environment.h"
#include "runtime/collect/collector.h"
#include "runtime/output/summary_json.h"
#include "tools/watcher-exec-command-line.h"
#include "tools/watcher-exec-environment.h"
#include "tools/watcher-exec-message.h"
#include "tools/watcher-exec-program.h"
#include "tools/watcher-exec-supervisor.h"
#include "tools/watcher-exec-user-script.h"

namespace watcher {
namespace {

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

void show_warnings(const Options& options) {
  if (options.get("log_level") == "ERROR") return;
  for (const std::string& warning : options.warnings()) complain(warning);
}

/// Everything that can be wrong is found here, before anything is started.
Result<Options> prepare(const CommandLine& command) {
  auto options = establish_options(command.settings);
  if (!options) return options;
  if (auto preloaded = preload_shim(); !preloaded) return preloaded.error();
  return options;
}

/// What is to be run, and how its end is told.
struct Job {
  char** program = nullptr;          // of a user script: its arguments
  std::optional<UserScript> script;  // the guide's exit codes are used
  char** command() { return script ? script->command() : program; }
};

bool is_typed(const CommandLine& command, std::string_view key) {
  return std::ranges::any_of(command.settings, [&](const Setting& setting) { return setting.key == key; });
}

/// A script that only the file or the environment names gives way to a program that was typed.
Result<Job> choose_job(const CommandLine& command, const Options& options) {
  Job job{command.program, std::nullopt};
  const bool by_script = options.is_set("user_script") && (is_typed(command, "user_script") || !command.program[0]);
  unsetenv(environment_name("user_script").c_str());  // a watcher-exec inside the run has a program of its own
  if (!by_script && !command.program[0])
    return Error{0, "which program? Usage: watcher-exec [options] [--] PROGRAM [ARGUMENTS...], or --user-script FILE"};
  if (!by_script) return job;
  auto script = UserScript::prepare(options, command.program, !command.replace);
  if (!script) return script.error();
  job.script = std::move(script.value());
  return job;
}

int end_as(int status) {
  if (WIFSIGNALED(status)) die_by(WTERMSIG(status));
  return WEXITSTATUS(status);
}

/// A processor runs in the interpreter that the program runs in, unless another was chosen.
Result<void> share_interpreter(Options& options, const std::string& program) {
  const std::string name = program.substr(program.rfind('/') + 1);
  const std::string bare = name.substr(0, name.find_last_not_of("0123456789.") + 1);
  const char* key = bare == "python" && !name.starts_with("python2") ? "python" : name == "node" ? "node" : nullptr;
  if (key == nullptr || options.is_set(key)) return {};
  return options.set(key, program, "program");
}

/// The full exit code; the process's status is its lower 8 bits.
int conclude(Collector& collector, const Options& options, const Job& job, int status) {
  const bool processors_failed = collector.settle_processors() != 0;
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  int code = signal ? 128 + signal : WEXITSTATUS(status);
  if (job.script) code = job.script->exit_code(code);
  if (job.script && code == 0 && processors_failed) code = kProcessorFailed;
  collector.set_outcome(code, signal);
  if (auto finished = collector.finish(); !finished) {
    complain(finished.error().message);
    if (job.script && code == 0) collector.set_outcome(code = kShutdownTroubled, 0), (void)collector.finish();
  }
  if (options.get("log_level") != "ERROR")
    for (const std::string& sentence : collector.complaints()) complain(sentence);
  return code;
}

void report_interruption(const std::string& output, int signal) {
  RunTotals totals;
  std::ifstream file(output + "/summary.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!parse_summary(text, 0, &totals)) return;
  complain(std::string("interrupted by SIG") + sigabbrev_np(signal) + ": " + std::to_string(totals.written) +
           " events are written to " + output + "/events.jsonl, " + std::to_string(totals.dropped) + " are lost");
}

int run(Job& job, Options options) {
  const std::uint64_t run_id = realtime_ns();
  if (auto shared = share_interpreter(options, job.command()[0]); !shared)
    return refuse(kInvalid, shared.error().message);
  auto collector = Collector::open(options, run_id);
  if (!collector) return refuse(kInvalid, collector.error().message);
  if (auto started = collector.value()->start_processors(); !started) return refuse(kInvalid, started.error().message);
  announce_run(run_id, true);
  // after the last change of the environment, which their threads read
  if (auto added = collector.value()->add_sinks(options); !added) return refuse(kInvalid, added.error().message);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const SignalState signals = block_signals();
  const Program program = Program::start(job.command(), signals);
  if (program.error()) return refuse(126, std::string("cannot start a process: ") + strerror(program.error()));
  release_standard_input_and_output();
  std::optional<ControlSocket> control(std::in_place, options.get("output"));
  Supervisor supervisor(program.pid(), *collector.value(), *control, job.script.has_value());
  const int status = supervisor.run();
  supervisor.drain();
  if (program.exec_error()) complain(start_fault(job.command()[0], program.exec_error()).sentence);
  const int code = conclude(*collector.value(), options, job, status);
  control.reset();
  collector.value().reset();  // lets go of the rings of those who live on; a signal would not
  if (supervisor.interrupted()) report_interruption(options.get("output"), supervisor.interrupted());
  return job.script && !WIFSIGNALED(status) ? code & 0xff : end_as(status);
}

int start(const CommandLine& command) {
  const auto options = prepare(command);
  if (!options) return refuse(kInvalid, options.error().message);
  show_warnings(options.value());
  auto job = choose_job(command, options.value());
  if (!job) return refuse(kInvalid, job.error().message);
  if (const StartFault fault = check_program(job.value().command()[0]); fault.exit_code)
    return refuse(fault.exit_code, fault.sentence);
  if (!command.replace) return run(job.value(), options.value());
  announce_run(realtime_ns(), false);
  return become(job.value().command());
}

int main_function(int argc, char** argv) {
  reserve_standard_descriptors();
  const CommandLine command = parse_command_line(argc, argv);
  if (command.exit_code) return *command.exit_code;
  // a script needs its runner, Watcher or not: the shim then keeps out of it by itself
  if (is_disabled() && command.program[0] && !is_typed(command, "user_script")) return become(command.program);
  return start(command);
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  return watcher::main_function(argc, argv);
}

#include "runtime/process/worker_programs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "config/config_file.h"
#include "config/spelling.h"
#include "runtime/base/unique_fd.h"

namespace watcher {
namespace {

constexpr const char kPythonWorker[] =
#include "worker.py.inc"
    ;
constexpr const char kNodeWorker[] =
#include "worker.cjs.inc"
    ;
constexpr const char* kPluginHost = "watcher-plugin-host";
constexpr int kLongestAnswer_ms = 10'000;

bool is_executable(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string on_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_executable(name) ? name : "";
  const char* path = ::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + '/' + name;
    if (end > 0 && is_executable(candidate)) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

bool is_script(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char start[2] = {};
  return file && ::read(file.get(), start, sizeof start) == sizeof start && start[0] == '#' && start[1] == '!';
}

/// What the program prints, one line.
std::string answer_of(std::vector<std::string> command) {
  auto worker = WorkerProcess::start({std::move(command), 1024, true});
  if (!worker) return "";
  pollfd end{worker.value().handle(), POLLIN, 0};
  ::poll(&end, 1, kLongestAnswer_ms);
  char text[PATH_MAX];
  const ssize_t got = ::read(worker.value().output(), text, sizeof text);
  const std::string_view answer(text, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return std::string(answer.substr(0, answer.find('\n')));
}

struct Language {
  const char* option;
  const char* standard;
  const char* code_flag;
  const char* own_path;  // code that prints where the interpreter itself is
};
constexpr Language kPython = {"python", "python3", "-c", "import sys; print(sys.executable)"};
constexpr Language kNode = {"node", "node", "-e", "console.log(process.execPath)"};

/// A version manager's wrapper starts processes, which a worker may not; so what it leads to is asked for.
Result<std::string> interpreter(const Language& language, const Options& options) {
  const std::string& chosen = options.get(language.option);
  const std::string name = chosen.empty() ? language.standard : chosen;
  const std::string found = on_path(name);
  if (found.empty())
    return Error{ENOENT, "a processor needs " + std::string(language.standard) + ", and there is no " +
                             in_quotes(name) + "; the option '" + language.option + "' can name it"};
  if (!is_script(found)) return found;
  const std::string real = answer_of({found, language.code_flag, language.own_path});
  return is_executable(real) ? real : found;
}

Result<std::string> checked_file(const std::string& path) {
  if (const auto checked = check_code_file(path); !checked)
    return Error{checked.error().code, "processor " + checked.error().message};
  char real[PATH_MAX];
  if (::realpath(path.c_str(), real) == nullptr) return Error{errno, "processor " + path + ": " + strerror(errno)};
  return std::string(real);
}

Result<std::string> plugin_host() {
  char path[PATH_MAX];
  if (::realpath("/proc/self/exe", path) == nullptr) return Error{errno, "cannot find out where Watcher is installed"};
  *strrchr(path, '/') = '\0';
  for (const char* place : {"/", "/" INSTALLED_LIBRARIES "/", "/../tools/"})
    if (const std::string found = std::string(path) + place + kPluginHost; is_executable(found)) return found;
  return Error{ENOENT, std::string(kPluginHost) + " is not beside this program"};
}

}  // namespace

Result<WorkerCommand> worker_command(const ProcessorSpec& spec, const Options& options) {
  Result<std::string> file = checked_file(spec.path);
  if (!file) return file.error();
  WorkerCommand command{{}, spec.memory_mb, spec.subprocesses};
  const bool is_plugin = spec.type == ProcessorSpec::Type::kPlugin;
  const bool is_python = spec.path.ends_with(".py");
  const Result<std::string> program = is_plugin ? plugin_host() : interpreter(is_python ? kPython : kNode, options);
  if (!program) return program.error();
  command.arguments.push_back(program.value());
  if (is_python && !is_plugin) command.arguments.insert(command.arguments.end(), {"-c", kPythonWorker});
  if (!is_python && !is_plugin) command.arguments.insert(command.arguments.end(), {"-e", kNodeWorker, "--"});
  command.arguments.push_back(std::move(file.value()));
  command.arguments.insert(command.arguments.end(), spec.args.begin(), spec.args.end());
  return command;
}

}  // namespace watcher

#include "tools/doctor-trials.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "runtime/base/unique_fd.h"
#include "runtime/watcher.h"

namespace watcher {
namespace {

constexpr unsigned kLongestTrial_s = 20;

/// What a child says on its standard output until it ends; everything else it says is lost.
template <class Work>
std::string output_of_child(Work work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "";
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(writing.get(), STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    alarm(kLongestTrial_s);
    work();
    _exit(1);
  }
  writing = UniqueFd();
  std::string said;
  char block[4096];
  for (ssize_t got; (got = read(reading.get(), block, sizeof block)) > 0;)
    said.append(block, static_cast<std::size_t>(got));
  if (child > 0) waitpid(child, nullptr, 0);
  return said;
}

void start_afresh(const std::string& directory) {
  for (char** entry = environ; *entry;) {
    const std::string name(*entry, strcspn(*entry, "="));
    if (name.starts_with("WATCHER_") || name == "LD_PRELOAD")
      unsetenv(name.c_str());  // moves the rest up
    else
      ++entry;
  }
  setenv("WATCHER_LOG_LEVEL", "ERROR", 1);
  if (chdir(directory.c_str()) != 0) _exit(1);  // a watcher.toml here has no say
}

template <class Function>
Function* symbol(void* library, const char* name) {
  auto* found = reinterpret_cast<Function*>(dlsym(library, name));
  if (!found) _exit(1);
  return found;
}

alignas(8) constinit volatile std::uint64_t watched = 0;

void watch_and_tell(const std::string& runtime) {
  void* library = dlopen(runtime.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) _exit(1);
  char id[WATCHER_ID_BYTES];
  watcher_stats stats{};
  if (symbol<decltype(watcher_initialize)>(library, "watcher_initialize")("out", 0) != WATCHER_OK) _exit(1);
  const int code = symbol<decltype(watcher_register)>(library, "watcher_register")(
      const_cast<std::uint64_t*>(&watched), sizeof watched, "doctor", WATCHER_UINT64 | WATCHER_GLOBAL, 0, id);
  if (code != WATCHER_OK) _exit(1);
  symbol<decltype(watcher_start)>(library, "watcher_start")();
  watched = 1;
  symbol<decltype(watcher_get_stats)>(library, "watcher_get_stats")(&stats, sizeof stats);
  symbol<decltype(watcher_stop)>(library, "watcher_stop")();
  dprintf(STDOUT_FILENO, "%s\n%s\n", stats.engine, stats.engine_reason);
  _exit(0);
}

bool has_event(const std::string& directory) {
  std::ifstream file(directory + "/out/events.jsonl");
  for (std::string line; std::getline(file, line);)
    if (line.find("\"variable_name\":\"doctor\"") != line.npos) return true;
  return false;
}

constexpr const char* kPythonScript =
    "def main():\n    from watcher import watch\n    doctor = watch(0, name='doctor')\n    doctor = 1\n";
constexpr const char* kNodeScript =
    "exports.main = () => {\n  const { watch } = require('watcher');\n"
    "  const doctor = watch(new Uint32Array(2), { name: 'doctor' });\n  doctor[0] = 1;\n};\n";

}  // namespace

ScratchDirectory::ScratchDirectory() {
  const char* parent = getenv("TMPDIR");
  std::string name = std::string(parent && *parent ? parent : "/tmp") + "/watcher-doctor-XXXXXX";
  if (mkdtemp(name.data())) path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

EngineTrial try_engine(const std::string& runtime, const std::string& engine, const std::string& scratch) {
  const std::string directory = scratch + "/" + engine;
  std::filesystem::create_directory(directory);
  const std::string said = output_of_child([&] {
    start_afresh(directory);
    setenv("WATCHER_ENGINE", engine.c_str(), 1);
    watch_and_tell(runtime);
  });
  const std::size_t end = said.find('\n');
  if (end == said.npos) return {};
  return {said.substr(0, end), said.substr(end + 1, said.size() - end - 2), has_event(directory)};
}

InterpreterTrial try_interpreter(const std::string& watcher_exec, const std::string& program, bool is_node,
                                 const std::string& scratch) {
  std::string directory = scratch + "/interpreter-XXXXXX";
  if (!mkdtemp(directory.data())) return {};
  const std::string script = is_node ? "app.js" : "app.py";
  std::ofstream(directory + "/" + script) << (is_node ? kNodeScript : kPythonScript);
  std::string version = output_of_child([&] {
    start_afresh(directory);
    if (is_node) execl(program.c_str(), "node", "--version", nullptr);
    execl(program.c_str(), program.c_str(), "-Ic",
          "import sys; print(sys.implementation.name, '%d.%d.%d' % sys.version_info[:3])", nullptr);
  });
  version.resize(std::min(version.size(), version.find('\n')));
  if (version.empty()) return {};
  output_of_child([&] {
    start_afresh(directory);
    execl(watcher_exec.c_str(), "watcher-exec", "--output", "out", is_node ? "--node" : "--python", program.c_str(),
          "--user-script", script.c_str(), nullptr);
  });
  return {version, has_event(directory)};
}

std::vector<std::string> find_programs(const std::vector<std::string>& names) {
  const char* path = getenv("PATH");
  std::vector<std::string> found, files;
  for (const std::string& name : names) {
    for (std::string_view rest = path ? path : ""; !rest.empty();) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      const std::string file = std::string(rest.substr(0, end)) + "/" + name;
      rest.remove_prefix(std::min(end + 1, rest.size()));
      char real[PATH_MAX];
      if (access(file.c_str(), X_OK) != 0 || !realpath(file.c_str(), real)) continue;
      if (std::ranges::find(files, real) == files.end()) {
        files.emplace_back(real);
        found.push_back(file);
      }
      break;  // what stands behind it on PATH is not what is meant by the name
    }
  }
  return found;
}

}  // namespace watcher

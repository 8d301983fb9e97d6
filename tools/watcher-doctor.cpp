// watcher doctor: can Watcher work here, and what would make it better. One page.
#include <gnu/libc-version.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "config/environment.h"
#include "tools/doctor-trials.h"
#include "tools/terminal-text.h"
#include "tools/watcher-commands.h"
#include "tools/watcher-exec-environment.h"

namespace watcher {
namespace {

enum class Verdict { kGood, kNote, kProblem };

class Page {
 public:
  void head(const char* title) const { std::printf("%s%s\n", heads_++ ? "\n" : "", title); }
  void line(Verdict verdict, const std::string& finding, const std::string& fix = "") {
    static constexpr const char* kMarks[] = {"ok     ", "note   ", "PROBLEM"};
    problems_ += verdict == Verdict::kProblem;
    std::printf("  %s  %s\n", kMarks[static_cast<int>(verdict)], safe_text(finding).c_str());
    if (!fix.empty()) std::printf("           → %s\n", fix.c_str());
  }
  int problems() const { return problems_; }

 private:
  mutable int heads_ = 0;
  int problems_ = 0;
};

std::string word_of(const std::string& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

std::string status_value(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string name, value; status >> name && std::getline(status, value);)
    if (name == key + ":") return value.substr(value.find_first_not_of(" \t"));
  return "";
}

bool at_least(const std::string& version, int major, int minor) {
  int own_major = 0, own_minor = 0;
  std::sscanf(version.c_str(), "%d.%d", &own_major, &own_minor);
  return own_major > major || (own_major == major && own_minor >= minor);
}

void examine_kernel(Page& page) {
  page.head("System");
  struct utsname system {};
  uname(&system);
  const std::string kernel = std::string(system.sysname) + " " + system.release + ", " + system.machine;
  const bool old = !at_least(system.release, 5, 2);
  page.line(old ? Verdict::kNote : Verdict::kGood, kernel, old ? "the engine uffd needs Linux 5.7; inline works" : "");
  const std::string libc = gnu_get_libc_version();
  const bool known = at_least(libc, 2, 34);
  page.line(known ? Verdict::kGood : Verdict::kProblem, "glibc " + libc,
            known ? "" : "Watcher needs glibc 2.34 or later");
  if (access("/proc/self/maps", R_OK) != 0)
    page.line(Verdict::kProblem, "/proc is not mounted", "mount -t proc proc /proc");
  const std::string seccomp = status_value("Seccomp");
  if (seccomp == "2")
    page.line(Verdict::kNote, "a seccomp filter is in force (containers have one): it may refuse uffd and hwbp",
              "docker run --security-opt seccomp=unconfined, if those are wanted");
}

void examine_privileges(Page& page) {
  page.head("Privileges");
  page.line(Verdict::kGood, "user " + std::to_string(geteuid()) + ", effective capabilities " + status_value("CapEff"));
  const std::string userfault = word_of("/proc/sys/vm/unprivileged_userfaultfd");
  const bool device = access("/dev/userfaultfd", R_OK | W_OK) == 0;
  const bool may = device || userfault == "1" || geteuid() == 0;
  page.line(
      may ? Verdict::kGood : Verdict::kNote,
      "userfaultfd: vm.unprivileged_userfaultfd = " + (userfault.empty() ? "?" : userfault) + ", /dev/userfaultfd " +
          (device ? "usable" : "not usable"),
      may ? "" : "for the engine uffd: sysctl vm.unprivileged_userfaultfd=1, or setfacl -m u:USER:rw /dev/userfaultfd");
  const std::string paranoid = word_of("/proc/sys/kernel/perf_event_paranoid");
  const bool perf = geteuid() == 0 || (!paranoid.empty() && std::atoi(paranoid.c_str()) <= 2);
  page.line(perf ? Verdict::kGood : Verdict::kNote, "kernel.perf_event_paranoid = " + paranoid,
            perf ? "" : "for the engine hwbp: sysctl kernel.perf_event_paranoid=2");
}

void examine_engines(Page& page, const std::string& scratch) {
  page.head("Engines (how stores to memory are noticed)");
  const auto runtime = find_part("libwatcher_runtime.so", "runtime");
  if (!runtime) return page.line(Verdict::kProblem, runtime.error().message, "install Watcher anew: meson install");
  for (const char* engine : {"auto", "inline", "uffd", "hwbp", "sampled"}) {
    const EngineTrial trial = try_engine(runtime.value(), engine, scratch);
    const std::string name = engine;
    const bool as_asked = name == "auto" || trial.used == name;
    const bool needed = name == "auto" || name == "inline";
    const std::string finding = name + ": " +
                                (trial.used.empty() ? "nothing can be watched"
                                 : as_asked         ? "works"
                                                    : "not here");
    const std::string detail = trial.used.empty() ? "" : " (" + trial.used + ": " + trial.reason + ")";
    if (trial.recorded && as_asked)
      page.line(Verdict::kGood, finding + detail);
    else
      page.line(needed ? Verdict::kProblem : Verdict::kNote, finding + detail,
                needed ? "WATCHER_LOG_LEVEL=DEBUG says why" : "");
  }
}

void examine_interpreter(Page& page, const std::string& program, bool is_node, const std::string& exec,
                         const std::string& scratch) {
  const InterpreterTrial trial = try_interpreter(exec, program, is_node, scratch);
  if (trial.recorded) return page.line(Verdict::kGood, program + ": " + trial.version);
  if (trial.version.empty()) return;  // a version manager's stand-in for what is not installed
  page.line(
      Verdict::kNote, program + ": " + trial.version + ", a watched variable gave no event",
      is_node ? "" : "CPython 3.8 to 3.13 is served; WATCHER_LOG_LEVEL=DEBUG watcher-exec " + program + " … says why");
}

void examine_interpreters(Page& page, const std::string& scratch) {
  page.head("Interpreters (a watched variable tried in each)");
  const auto shim = find_part("libwatcher_preload.so", "preload");
  if (!shim) return page.line(Verdict::kProblem, shim.error().message, "install Watcher anew: meson install");
  const auto exec = find_sibling("watcher-exec");
  if (!exec) return page.line(Verdict::kProblem, exec.error().message, "install Watcher anew: meson install");
  const std::vector<std::string> pythons = find_programs(
      {"python3", "python", "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13"});
  const std::vector<std::string> nodes = find_programs({"node", "nodejs"});
  for (const std::string& program : pythons) examine_interpreter(page, program, false, exec.value(), scratch);
  for (const std::string& program : nodes) examine_interpreter(page, program, true, exec.value(), scratch);
  if (pythons.empty() && nodes.empty())
    page.line(Verdict::kNote, "neither python3 nor node is on PATH", "name one by --python or --node");
}

void examine_configuration(Page& page) {
  page.head("Configuration here");
  const char* disabled = getenv(kDisableVariable);
  if (disabled && disabled == std::string_view("1"))
    page.line(Verdict::kProblem, "WATCHER_DISABLE=1 keeps every process out", "unset WATCHER_DISABLE");
  bool asked = false;
  const auto options = load_from_environment(&asked);
  if (!options) return page.line(Verdict::kProblem, options.error().message, "watcher config check FILE");
  const std::string& file = options.value().get("config");
  page.line(Verdict::kGood, file.empty()
                                ? "no watcher.toml; variables are named by watch()"
                                : file + ", rules for " + std::to_string(options.value().rules().size()) + " files");
  for (const std::string& warning : options.value().warnings()) page.line(Verdict::kNote, warning);
}

}  // namespace

int examine_system() {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // children are forked meanwhile
  Page page;
  examine_kernel(page);
  examine_privileges(page);
  const ScratchDirectory scratch;
  if (scratch.path().empty()) {
    page.line(Verdict::kProblem, "no scratch directory can be made", "set TMPDIR to a writable directory");
  } else {
    examine_engines(page, scratch.path());
    examine_interpreters(page, scratch.path());
  }
  examine_configuration(page);
  std::printf("\n%s\n",
              page.problems() ? "Watcher cannot do all of its work here; see PROBLEM above." : "Watcher works here.");
  return page.problems() ? kNothing : kFine;
}

}  // namespace watcher

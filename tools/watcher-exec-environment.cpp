#include "tools/watcher-exec-environment.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "config/environment.h"

namespace watcher {
namespace {

Result<std::string> absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  char directory[PATH_MAX];
  if (!getcwd(directory, sizeof directory))
    return Error{errno, "the working directory is not to be had (" + std::string(strerror(errno)) +
                            "); give an absolute path instead of " + path};
  const std::string inside = path.starts_with("./") ? path.substr(2) : path;
  return std::string(directory == std::string_view("/") ? "" : directory) + "/" + inside;
}

/// The path of this program's directory.
Result<std::string> own_directory() {
  char path[PATH_MAX];
  // without /proc there is still the name that the kernel was given
  const auto* name = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  if (!realpath("/proc/self/exe", path) && !(name && realpath(name, path)))
    return Error{errno, "cannot find out where it is installed: " + std::string(strerror(errno))};
  *strrchr(path, '/') = '\0';
  return std::string(path);
}

/// Is `path` one of the words of an LD_PRELOAD?
bool contains_word(std::string_view list, std::string_view path) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find_first_of(" :"), list.size());
    if (list.substr(0, end) == path) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

Result<void> make_paths_absolute(Options& options) {
  for (const OptionRow& row : option_table()) {
    if (row.type != OptionType::kPath || options.get(row.key).empty()) continue;
    const auto path = absolute(options.get(row.key));
    if (!path) return path.error();
    setenv(environment_name(row.key).c_str(), path.value().c_str(), 1);
    if (auto set = options.set(row.key, path.value(), row.key); !set) return set;
  }
  return {};
}

}  // namespace

Result<Options> establish_options(const std::vector<Setting>& settings) {
  Options typed;
  for (const Setting& setting : settings) {
    if (auto set = typed.set(setting.key, setting.value, setting.origin); !set) return set.error();
    setenv(environment_name(setting.key).c_str(), setting.value.c_str(), 1);
  }
  bool asked = false;
  auto options = load_from_environment(&asked);
  if (!options) return options;
  if (auto made = make_paths_absolute(options.value()); !made) return made.error();
  return options;
}

Result<std::string> find_part(const std::string& name, const std::string& in_tree) {
  const auto directory = own_directory();
  if (!directory) return directory;
  for (const std::string& place : {"/../" + in_tree + "/", std::string("/" INSTALLED_LIBRARIES "/")}) {
    char path[PATH_MAX];
    if (realpath((directory.value() + place + name).c_str(), path)) return std::string(path);
  }
  return Error{ENOENT, name + " is neither in " + directory.value() + "/../" + in_tree + " nor in " +
                           directory.value() + "/" INSTALLED_LIBRARIES};
}

Result<std::string> find_sibling(const std::string& name) {
  auto directory = own_directory();
  if (!directory) return directory;
  const std::string path = directory.value() + "/" + name;
  if (access(path.c_str(), X_OK) != 0) return Error{errno, path + " is not there"};
  return path;
}

Result<void> preload_shim() {
  const auto shim = find_part("libwatcher_preload.so", "preload");
  if (!shim) return shim.error();
  if (shim.value().find_first_of(" :") != std::string::npos)
    return Error{EINVAL, "the loader's list LD_PRELOAD has no way to spell the blank or colon in " + shim.value() +
                             "; install it elsewhere"};
  const char* present = getenv("LD_PRELOAD");
  const std::string before = present ? present : "";
  if (contains_word(before, shim.value())) return {};
  setenv("LD_PRELOAD", (before.empty() ? shim.value() : before + ":" + shim.value()).c_str(), 1);
  return {};
}

void announce_run(std::uint64_t run_id, bool collects) {
  char text[24];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(run_id));
  setenv(kRunIdVariable, text, 1);
  if (collects)
    setenv(kCollectorPidVariable, std::to_string(getpid()).c_str(), 1);
  else
    unsetenv(kCollectorPidVariable);
}

}  // namespace watcher

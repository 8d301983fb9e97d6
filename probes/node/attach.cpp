// The probe's entry: called by the runtime from the shim's constructor, before node starts. It offers node a built-in
// addon and has node load boot.cjs first, by an option in NODE_OPTIONS that boot.cjs takes out again.

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>

#include "probes/node/addon.h"
#include "probes/node/events/emit.h"
#include "probes/node/host/host_calls.h"
#include "probes/node/loading/main_script.h"
#include "probes/node/positions/code_map.h"
#include "probes/node/positions/positions.h"

namespace watcher::node {
namespace {

constexpr char kOptions[] = "NODE_OPTIONS";

/// The words of the command line, a line each.
std::string command_line() {
  std::string words = "\n";
  const int descriptor = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  char part[4096];
  for (ssize_t got = 0; descriptor >= 0 && (got = read(descriptor, part, sizeof part)) > 0;)
    words.append(part, static_cast<std::size_t>(got));
  if (descriptor >= 0) close(descriptor);
  for (char& letter : words)
    if (letter == '\0') letter = '\n';
  return words;
}

/// A mode of node's in which a file loaded first would end the program: the option that asks for it, else null.
const char* closed_mode(const std::string& words) {
  static constexpr const char* kModes[] = {
      "--permission", "--experimental-permission", "--build-snapshot",    "--snapshot-blob",
      "--build-sea",  "--experimental-sea-config", "--node-snapshot-main"};
  for (const char* mode : kModes) {
    const std::size_t at = words.find(std::string("\n") + mode);
    if (at == words.npos) continue;
    const char after = words[at + 1 + strlen(mode)];
    if (after == '\n' || after == '=' || after == '-') return mode;
  }
  return nullptr;
}

/// Does a file of --env-file bring NODE_OPTIONS, which node takes where the environment has none?
bool has_options_in_file(const std::string& words) {
  static constexpr std::string_view kOption = "\n--env-file";
  for (std::size_t at = words.find(kOption); at != words.npos; at = words.find(kOption, at + 1)) {
    const std::size_t start = words.find_first_of("=\n", at + kOption.size());
    if (start == words.npos) break;
    const std::string path = words.substr(start + 1, words.find('\n', start + 1) - start - 1);
    const std::optional<std::string> text = regular_file(path.c_str());
    if (text && text->find(kOptions) != text->npos) return true;
  }
  return false;
}

std::string own_directory() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(closed_mode), &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string path(info.dli_fname);
  return path.substr(0, path.rfind('/'));
}

/// In a folder beside the probe, as node will spell it.
std::string find_boot_file() {
  char path[PATH_MAX];
  return realpath((own_directory() + "/node_modules/watcher/boot.cjs").c_str(), path) != nullptr ? path : std::string();
}

std::string quoted(const std::string& path) {
  std::string text = "\"";
  for (const char letter : path) {
    if (letter == '"' || letter == '\\') text += '\\';
    text += letter;
  }
  return text + '"';
}

/// A node that loads no file first, such as that of --watch or --run, gives what it has from us to the program's.
void take_out_ours(const std::string& ours) {
  const char* given = getenv(kOptions);
  if (given == nullptr || strncmp(given, ours.c_str(), ours.size()) != 0) return;
  const std::string behind = given + ours.size();
  if (behind.empty())
    unsetenv(kOptions);
  else if (behind[0] == ' ')
    setenv(kOptions, behind.c_str() + 1, 1);
}

/// Words of an option text as node takes them apart, near enough to find the modes above.
std::string words_of(const char* options) {
  std::string words = std::string("\n") + (options != nullptr ? options : "") + "\n";
  for (char& letter : words)
    if (letter == ' ') letter = '\n';
  return words;
}

constinit char host_name[64] = "node";
constinit watcher_probe probe{.abi = WATCHER_PROBE_ABI,
                              .bytes = sizeof(watcher_probe),
                              .host = host_name,
                              .place = place_of_writer,
                              .after_fork_child = after_fork_child,
                              .witness = nullptr,
                              .stack = nullptr};

}  // namespace
}  // namespace watcher::node

namespace watcher::node {

extern "C" __attribute__((visibility("default"))) const watcher_probe* watcher_probe_attach(
    const watcher_runtime* table) {
  if (table->abi != WATCHER_PROBE_ABI) return nullptr;
  runtime = table;
  const std::string boot = find_boot_file();
  const std::string ours = "--require " + quoted(boot);
  take_out_ours(ours);
  const char* given = getenv(kOptions);
  const std::string words = command_line() + words_of(given);
  if (const char* mode = closed_mode(words)) {
    runtime->log(runtime->asked() != 0 ? WATCHER_WARNING : WATCHER_DEBUG,
                 "node is not watched: under %s it would not start with us", mode);
    return nullptr;
  }
  if (given == nullptr && has_options_in_file(words)) {
    runtime->log(
        runtime->asked() != 0 ? WATCHER_WARNING : WATCHER_DEBUG,
        "node is not watched: NODE_OPTIONS of the file of --env-file would not be read with us; set them in the "
        "environment");
    return nullptr;
  }
  if (boot.empty()) {
    runtime->log(runtime->asked() != 0 ? WATCHER_ERROR : WATCHER_DEBUG,
                 "node is not watched: boot.cjs is missing beside watcher_node.so");
    return nullptr;
  }
  set_own_directory(boot.substr(0, boot.rfind('/')));
  offer_addon(ours);
  lead_host_rings();
  // node's test runner hands its options to the processes of the tests
  if (words.find("\n--require=" + boot + "\n") != words.npos) return &probe;
  setenv(kOptions, given == nullptr ? ours.c_str() : (ours + " " + given).c_str(), 1);
  return &probe;
}

}  // namespace watcher::node

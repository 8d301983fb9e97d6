#include "config/environment.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "config/scope_file.h"
#include "config/spelling.h"
#include "config/toml_file.h"

namespace watcher {
namespace {

constexpr std::string_view kPrefix = "WATCHER_";
constexpr std::string_view kPrivateKeys[] = {"disable", "run_id", "collector_pid", "exec"};

struct Variable {
  const OptionRow* row;
  const char* value;
};

/// What one pass over the environment found.
struct Scan {
  std::vector<Variable> variables;
  std::vector<std::string> unknown;  // keys in the table's spelling
  bool started_by_exec = false;

  const char* value_of(std::string_view key) const {
    for (const Variable& variable : variables)
      if (variable.row->key == key) return variable.value;
    return nullptr;
  }
};

std::string key_of(std::string_view name) {
  std::string key(name);
  for (char& c : key)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return key;
}

void note(Scan& scan, std::string_view name, const char* value) {
  const std::string key = key_of(name);
  if (key == "run_id" || key == "collector_pid") scan.started_by_exec = true;
  for (std::string_view known : kPrivateKeys)
    if (key == known) return;
  const OptionRow* row = find_option(key);
  if (!row)
    scan.unknown.push_back(key);
  else if (!scan.value_of(key))  // as with getenv, the first one counts
    scan.variables.push_back({row, value});
}

Scan scan_environment(const char* const* environment) {
  Scan scan;
  for (; environment && *environment; ++environment) {
    if (std::strncmp(*environment, kPrefix.data(), kPrefix.size()) != 0) continue;
    const char* name = *environment + kPrefix.size();
    const char* equals = std::strchr(name, '=');
    if (equals && equals[1] != '\0') note(scan, {name, static_cast<std::size_t>(equals - name)}, equals + 1);
  }
  return scan;
}

bool is_file(const char* path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/// The variable may be somebody else's, so it is never an error; one that looks mistyped is worth a word.
void warn_of_typos(Options& options, const std::vector<std::string>& unknown) {
  std::vector<std::string_view> keys(std::begin(kPrivateKeys), std::end(kPrivateKeys));
  for (const OptionRow& row : option_table()) keys.push_back(row.key);
  for (const std::string& key : unknown)
    if (const std::string_view nearest = nearest_word(key, keys); !nearest.empty())
      options.warn(environment_name(key) + " is no option of Watcher; did you mean " + environment_name(nearest) + "?");
}

Result<void> load_config(Options& options, const char* named, bool* asked) {
  if (!named && !is_file(kDefaultConfigFile)) return {};
  *asked = true;
  const std::string path = named ? named : kDefaultConfigFile;
  if (auto loaded = load_toml_file(options, path); !loaded) return loaded;
  return options.set("config", path, environment_name("config"));
}

Result<void> apply(Options& options, const Scan& scan, bool* asked) {
  if (auto loaded = load_config(options, scan.value_of("config"), asked); !loaded) return loaded;
  for (const Variable& variable : scan.variables)
    if (auto set = options.set(variable.row->key, variable.value, environment_name(variable.row->key)); !set)
      return set;
  const std::string scope_file = options.get("files_scope");
  if (scope_file.empty()) return {};
  return load_scope_file(options, scope_file);
}

}  // namespace

std::string environment_name(std::string_view key) {
  std::string name(kPrefix);
  for (char c : key) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return name;
}

Result<Options> load_from_environment(const char* const* environment, bool* asked) {
  const Scan scan = scan_environment(environment);
  *asked = scan.started_by_exec || !scan.variables.empty();
  Options options;
  if (auto applied = apply(options, scan, asked); !applied) return applied.error();
  warn_of_typos(options, scan.unknown);
  return options;
}

Result<Options> load_from_environment(bool* asked) {
  return load_from_environment(environ, asked);
}

}  // namespace watcher

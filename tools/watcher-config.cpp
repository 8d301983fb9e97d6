// watcher config: is a configuration right, the same in the other format, and what is in force here.
#include <cstdio>
#include <string_view>

#include "config/environment.h"
#include "config/scope_file.h"
#include "config/spelling.h"
#include "config/toml_file.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

bool is_toml(const std::string& file) {
  return file.ends_with(".toml");
}

Result<Options> load(const std::string& file) {
  Options options;
  const auto loaded = is_toml(file) ? load_toml_file(options, file) : load_scope_file(options, file);
  if (!loaded) return loaded.error();
  return options;
}

std::size_t count_names(const Options& options) {
  std::size_t count = 0;
  for (const WatchRule& rule : options.rules()) count += rule.names.size();
  return count;
}

void show_warnings(const Options& options) {
  for (const std::string& warning : options.warnings()) complain_and_return(kFine, warning);
}

int check(const Options& options, const std::string& what) {
  std::size_t set = 0;
  for (const OptionRow& row : option_table()) set += options.is_set(row.key);
  std::printf("%s is right: options %zu, files with rules %zu, names %zu\n", what.c_str(), set, options.rules().size(),
              count_names(options));
  return kFine;
}

/// A scope file has room for names alone.
void warn_of_losses(const Options& options) {
  std::string lost;
  for (const OptionRow& row : option_table())
    if (options.is_set(row.key)) lost += (lost.empty() ? "" : ", ") + std::string(row.key);
  if (!lost.empty()) complain_and_return(kFine, "a scope file holds names only; left out: " + lost);
  for (const WatchRule& rule : options.rules())
    for (const WatchName& name : rule.names)
      if (name.terms != WatchTerms{})
        complain_and_return(kFine,
                            "left out: the conditions of " + in_quotes(name.name) + " in " + in_quotes(rule.file));
}

int convert(const Options& options, const std::string& file) {
  if (is_toml(file)) warn_of_losses(options);
  const std::string text = is_toml(file) ? to_scope_file(options) : to_toml(options);
  std::fputs(text.c_str(), stdout);
  return std::fflush(stdout) == 0 ? kFine : kMistake;
}

std::string origin_of(const Options& options, const char* key) {
  const std::string variable = environment_name(key);
  const char* value = getenv(variable.c_str());
  if (value && *value) return variable;
  if (!options.is_set(key)) return "default";
  return options.get("config").empty() ? kDefaultConfigFile : options.get("config");
}

/// One line of TOML, and where it comes from.
void show_option(const Options& options, const OptionRow& row) {
  Options alone;
  if (options.get(row.key).empty() || !alone.set(row.key, options.get(row.key), row.key)) {
    std::printf("# %s is not set\n", row.key);
    return;
  }
  std::string line = to_toml(alone);
  if (line.empty()) line = "# " + std::string(row.key) + " = " + in_quotes(options.get(row.key)) + "\n";
  std::printf("%-40s  # %s\n", line.substr(0, line.find('\n')).c_str(), origin_of(options, row.key).c_str());
}

int show(const Options& options) {
  for (const OptionRow& row : option_table()) show_option(options, row);
  Options rules;
  rules.rules() = options.rules();
  std::printf("\n%s", to_toml(rules).c_str());
  return std::fflush(stdout) == 0 ? kFine : kMistake;
}

}  // namespace

int handle_config(const ConfigRequest& request) {
  bool asked = false;
  const auto options = request.file.empty() ? load_from_environment(&asked) : load(request.file);
  if (!options) return complain_and_return(kMistake, options.error().message);
  show_warnings(options.value());
  if (request.verb == "convert") return convert(options.value(), request.file);
  if (request.verb == "show") return show(options.value());
  return check(options.value(), request.file.empty() ? "the configuration here" : request.file);
}

}  // namespace watcher

// watcher-exec's arguments: options first, derived from the option table, then the program and its own arguments, which
// are passed on untouched.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace watcher {

struct Setting {
  std::string key;
  std::string value;
  std::string origin;  // as typed, for error messages: "--engine"
};

struct CommandLine {
  std::vector<Setting> settings;
  bool replace = false;
  char** program = nullptr;  // null-terminated tail of argv; with --user-script the script's arguments
  /// Nothing is to be run: --help and --version have printed, or a mistake was reported.
  std::optional<int> exit_code;
};

CommandLine parse_command_line(int argc, char** argv);

}  // namespace watcher

// The subcommands of `watcher`, one file each: what was asked for, and the exit status. Single-threaded.
#pragma once

#include <string>
#include <vector>

namespace watcher {

struct LogRequest {
  std::string directory;
  bool follow = false;
  std::vector<std::string> variables;  // globs over names
  std::string since;
  std::string sql;  // "*": any statement
  std::string file;
  std::string thread;
  std::string op;
  std::string colour = "auto";
  bool json = false;
};

struct WhyRequest {
  std::string directory;
  std::string name;
  std::string at;
  std::string value;
  bool has_value = false;
  std::size_t lines = 20;
  std::string colour = "auto";
};

struct ConfigRequest {
  std::string verb;  // check, convert, show
  std::string file;
};

struct ControlRequest {
  std::string verb;  // pause, resume, status
  int pid = 0;
};

constexpr int kFine = 0;
constexpr int kNothing = 1;  // nothing found, something is wrong
constexpr int kMistake = 2;  // wrong usage, an unreadable file

int show_log(const LogRequest& request);
int show_why(const WhyRequest& request);
int show_stats(const std::string& directory);
int recover(const std::string& directory);
int handle_config(const ConfigRequest& request);
int examine_system();
int control(const ControlRequest& request);

/// A sentence on stderr; returns `status`.
int complain_and_return(int status, const std::string& sentence);

}  // namespace watcher

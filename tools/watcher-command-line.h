// The arguments of `watcher`: what can be typed, for the parser, the manual and the completions alike.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "tools/watcher-commands.h"

namespace watcher {

/// What was typed. The subcommand's work is in `run`.
struct WatcherCommand {
  LogRequest log;
  WhyRequest why;
  ConfigRequest config;
  ControlRequest control;
  std::string directory;
  std::function<int()> run;
};

/// Describes all subcommands to the library; both arguments are to live until it has parsed.
void describe_watcher(CLI::App& app, WatcherCommand& command);

}  // namespace watcher

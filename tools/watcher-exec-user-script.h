// --user-script: the program is an interpreter with a runner that calls the script's main(), and how that ended becomes
// one of the guide's exit codes. Single-threaded.
#pragma once

#include <string>
#include <vector>

#include "config/options.h"
#include "runtime/base/result.h"

namespace watcher {

/// The guide's exit codes. A process's status has 8 bits: the lower ones of these.
inline constexpr int kInvalid = 2;
inline constexpr int kScriptFailed = 402;
inline constexpr int kProcessorFailed = 502;
inline constexpr int kShutdownTroubled = 400;

class UserScript {
 public:
  /// Everything that can be seen of a script without running it. `arguments` is a null-terminated list; with `watched`
  /// its end will be asked for.
  static Result<UserScript> prepare(const Options& options, char** arguments, bool watched);

  /// Null-terminated; valid until the next call, as long as this object stays where it is.
  char** command();
  /// The full exit code of the run, from that of the program: what the runner has noted stands above it.
  int exit_code(int status) const;

 private:
  std::string outcome_;  // the runner's word on how the script ended, a file
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

}  // namespace watcher

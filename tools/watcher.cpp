// watcher: what became of a run, one subcommand a question.
#include <unistd.h>

#include "tools/watcher-command-line.h"

namespace watcher {

int complain_and_return(int status, const std::string& sentence) {
  const std::string line = "watcher: " + sentence + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  return status;
}

namespace {

int main_function(int argc, char** argv) {
  CLI::App app("Who changed this variable? Looks at what watcher-exec has recorded.", "watcher");
  WatcherCommand command;
  describe_watcher(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& mistake) {
    return complain_and_return(kMistake, std::string(mistake.what()) + "; see watcher --help");
  }
  return command.run();
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  return watcher::main_function(argc, argv);
}

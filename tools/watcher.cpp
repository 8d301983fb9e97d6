// watcher: what became of a run, one subcommand a question.
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/spelling.h"
#include "tools/watcher-command-line.h"

namespace watcher {

int complain_and_return(int status, const std::string& sentence) {
  const std::string line = "watcher: " + sentence + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  return status;
}

namespace {

std::string what_is_wrong(const CLI::App& app, const std::string& first, const CLI::ParseError& mistake) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  if (first.empty() || first.front() == '-' || std::ranges::find(names, first) != names.end()) return mistake.what();
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  return "there is no subcommand " + in_quotes(first) + did_you_mean(first, candidates);
}

int main_function(int argc, char** argv) {
  CLI::App app("Who changed this variable? Looks at what watcher-exec has recorded.", "watcher");
  WatcherCommand command;
  describe_watcher(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& mistake) {
    return complain_and_return(kMistake, what_is_wrong(app, argc > 1 ? argv[1] : "", mistake) + "; see watcher --help");
  }
  return command.run();
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  return watcher::main_function(argc, argv);
}

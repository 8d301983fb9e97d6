#include "tools/watcher-exec-user-script.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "config/spelling.h"
#include "tools/watcher-exec-environment.h"
#include "tools/watcher-exec-program.h"

namespace watcher {
namespace {

struct Language {
  const char* option;  // names the interpreter
  const char* interpreter;
  const char* runner;
};

const Language* language_of(std::string_view script) {
  static constexpr Language kPython = {"python", "python3", "run_user_script.py"};
  static constexpr Language kNode = {"node", "node", "run_user_script.cjs"};
  if (script.ends_with(".py")) return &kPython;
  for (const std::string_view ending : {".js", ".cjs", ".mjs"})
    if (script.ends_with(ending)) return &kNode;
  return nullptr;
}

Result<void> check_script(const std::string& script) {
  struct stat status;
  if (stat(script.c_str(), &status) != 0)
    return Error{errno, "the user script " + in_quotes(script) + " cannot be read: " + strerror(errno)};
  if (!S_ISREG(status.st_mode)) return Error{EINVAL, "the user script " + in_quotes(script) + " is no file"};
  if (access(script.c_str(), R_OK) == 0) return {};
  return Error{errno, "the user script " + in_quotes(script) + " cannot be read: " + strerror(errno)};
}

}  // namespace

Result<UserScript> UserScript::prepare(const Options& options, char** arguments, bool watched) {
  const std::string& path = options.get("user_script");
  if (auto checked = check_script(path); !checked) return checked.error();
  const Language* language = language_of(path);
  if (!language)
    return Error{EINVAL, "the user script " + in_quotes(path) + " is neither Python (.py) nor JavaScript (.js)"};
  const std::string& named = options.get(language->option);
  const std::string interpreter = named.empty() ? language->interpreter : named;
  if (const StartFault fault = check_program(interpreter); fault.exit_code)
    return Error{ENOENT, fault.sentence + "; the option " + language->option + " names another one"};
  const auto runner = find_part(language->runner, "tools");
  if (!runner) return runner.error();
  UserScript script;
  if (watched) script.outcome_ = options.get("output") + "/outcome." + std::to_string(getpid());
  script.words_ = {interpreter, runner.value(), script.outcome_, path};
  for (; *arguments; ++arguments) script.words_.push_back(*arguments);
  unlink(script.outcome_.c_str());
  return script;
}

char** UserScript::command() {
  pointers_.clear();
  for (std::string& word : words_) pointers_.push_back(word.data());
  pointers_.push_back(nullptr);
  return pointers_.data();
}

int UserScript::exit_code(int status) const {
  const bool failed = unlink(outcome_.c_str()) == 0;
  return failed ? kScriptFailed : status;
}

}  // namespace watcher

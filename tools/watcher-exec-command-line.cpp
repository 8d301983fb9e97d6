#include "tools/watcher-exec-command-line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>

#include "config/options.h"
#include "config/spelling.h"
#include "tools/watcher-exec-message.h"

namespace watcher {
namespace {

std::string dashed(std::string_view key) {
  std::string name = "--" + std::string(key);
  for (char& c : name)
    if (c == '_') c = '-';
  return name;
}

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: watcher-exec [options] [--] PROGRAM [ARGUMENTS...]\n"
           "       watcher-exec [options] --user-script FILE [ARGUMENTS...]\n";
  }
  std::string make_option_name(const CLI::Option* option, bool) const override {
    const std::string name = option->get_name(false, true);
    return name.substr(0, name.find('{'));
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type = option->get_type_name();
    const std::string fallback = option->get_default_str();
    return (type.empty() ? "" : " " + type) + (fallback.empty() ? "" : " [" + fallback + "]");
  }
};

bool takes_value(std::string_view option) {
  if (option == "--set") return true;
  for (const OptionRow& row : option_table())
    if (option == dashed(row.key)) return row.type != OptionType::kFlag;
  return false;
}

/// Index of PROGRAM. Decided here and not by the library, so that nothing behind it is ever looked at.
int find_program_index(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") return i + 1;
    if (argument.size() < 2 || argument.front() != '-') return i;
    if (takes_value(argument)) ++i;
  }
  return argc;
}

int end_of_options(int program_index, char** argv) {
  return program_index > 1 && argv[program_index - 1] == std::string_view("--") ? program_index - 1 : program_index;
}

/// The library's parser, and where it puts what it found.
struct Parser {
  CLI::App app{
      "Runs a program unmodified and records every change of the watched variables as lines of JSON in "
      "DIR/events.jsonl."};
  std::vector<std::string> values = std::vector<std::string>(option_table().size());
  std::vector<CLI::Option*> options;
  std::vector<std::string> pairs;
  bool replace = false;

  Parser();
  void add(const OptionRow& row, std::string& value);
};

void Parser::add(const OptionRow& row, std::string& value) {
  if (row.type == OptionType::kFlag) {
    options.push_back(app.add_flag(dashed(row.key) + "{true}", value, row.help));
    return;
  }
  const bool lists_choices = row.type == OptionType::kChoice;
  options.push_back(app.add_option(dashed(row.key), value, row.help)
                        ->type_name(lists_choices ? row.choices : row.placeholder)
                        ->take_last()
                        ->default_str(row.fallback));
}

Parser::Parser() {
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(52);
  app.set_version_flag("--version", "watcher-exec " WATCHER_VERSION);
  for (std::size_t i = 0; i < values.size(); ++i) add(option_table()[i], values[i]);
  app.add_option("--set", pairs, "Any option by its name in the configuration file")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_flag("--replace", replace, "Become the program, instead of starting it and collecting for it");
  app.footer(
      "Every option is also a key of watcher.toml and a variable of the environment: max_queue_size and "
      "WATCHER_MAX_QUEUE_SIZE\nfor --max-queue-size. The command line goes over the environment, the environment over "
      "the file.\nThe exit status is the program's own; 2: wrong usage or configuration, 126: the program cannot be "
      "run, "
      "127: it is not there.\nWith --user-script: 0, 2, 146: main() raised an exception (402 in summary.json), 246: a "
      "processor failed (502),\n144: not everything was written (400).");
}

CommandLine refuse(const std::string& sentence) {
  complain(sentence);
  CommandLine command;
  command.exit_code = 2;
  return command;
}

CommandLine say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  CommandLine command;
  command.exit_code = std::fflush(stdout) == 0 ? 0 : 2;
  return command;
}

std::string suggestion(const std::vector<std::string>& unexpected) {
  if (unexpected.empty()) return "";
  std::vector<std::string> names = {"--set", "--replace", "--help", "--version"};
  for (const OptionRow& row : option_table()) names.push_back(dashed(row.key));
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const std::string& typed = unexpected.front();
  return did_you_mean(std::string_view(typed).substr(0, typed.find('=')), candidates);
}

/// Splits the pairs of --set; returns what is wrong with one of them.
std::optional<std::string> collect_settings(const Parser& parser, std::vector<Setting>& settings) {
  for (const std::string& pair : parser.pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos) return "--set: write KEY=VALUE, not " + in_quotes(pair);
    settings.push_back({pair.substr(0, equals), pair.substr(equals + 1), "--set"});
  }
  for (std::size_t i = 0; i < parser.values.size(); ++i) {
    const char* key = option_table()[i].key;
    if (parser.options[i]->count() > 0) settings.push_back({key, parser.values[i], dashed(key)});
  }
  return std::nullopt;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  const int program = find_program_index(argc, argv);
  // the library takes its arguments in reverse order
  std::vector<std::string> arguments;
  for (int i = end_of_options(program, argv) - 1; i > 0; --i) arguments.emplace_back(argv[i]);
  Parser parser;
  try {
    parser.app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return say(parser.app.help());
  } catch (const CLI::CallForVersion& version) {
    return say(version.what() + std::string("\n"));
  } catch (const CLI::ExtrasError&) {
    return refuse("there is no option " + in_quotes(parser.app.remaining().front()) +
                  suggestion(parser.app.remaining()));
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string_view text = mismatch.what();
    return refuse(std::string(text.substr(0, text.find(':'))) + " needs a value");
  } catch (const CLI::ParseError& error) {
    return refuse(error.what());
  }
  CommandLine command;
  if (auto fault = collect_settings(parser, command.settings)) return refuse(*fault);
  command.replace = parser.replace;
  command.program = argv + program;
  return command;
}

}  // namespace watcher

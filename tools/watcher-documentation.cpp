// At build time: watcher-documentation DIRECTORY writes the manual pages of watcher-exec and watcher, and their
// completions for bash, zsh and fish, from what the two programs parse: the option table and the subcommands.
#include <fstream>
#include <string>
#include <vector>

#include "config/options.h"
#include "tools/watcher-command-line.h"

namespace watcher {

int complain_and_return(int status, const std::string& sentence) {
  fprintf(stderr, "watcher-documentation: %s\n", sentence.c_str());
  return status;
}

namespace {

/// An option or argument of one of the programs.
struct Word {
  std::vector<std::string> names;  // "-f", "--follow"; none: an argument
  std::string placeholder;         // none: a flag
  std::string help;
  std::string fallback;
  std::vector<std::string> choices;
  bool is_path() const { return placeholder == "FILE" || placeholder == "DIR" || placeholder == "PROGRAM"; }
};

struct Command {
  std::string name;  // "config check"; of watcher-exec: none
  std::string help;
  std::vector<Word> words;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(separator, start), text.size());
    parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

Word word_of(const OptionRow& row) {
  Word word{{"--" + replaced(row.key, "_", "-")}, row.placeholder, row.help, row.fallback, {}};
  if (row.type == OptionType::kChoice) {
    word.choices = split(row.choices, '|');
    word.placeholder = row.choices;
  }
  return word;
}

Command watcher_exec() {
  Command command;
  for (const OptionRow& row : option_table()) command.words.push_back(word_of(row));
  command.words.push_back({{"--set"}, "KEY=VALUE", "Any option by its name in the configuration file", "", {}});
  command.words.push_back(
      {{"--replace"}, "", "Become the program, instead of starting it and collecting for it", "", {}});
  command.words.push_back({{"-h", "--help"}, "", "Show the options", "", {}});
  command.words.push_back({{"--version"}, "", "Show the version", "", {}});
  return command;
}

Word word_of(const CLI::Option& option) {
  Word word{{}, option.get_type_name(), option.get_description(), option.get_default_str(), {}};
  for (const std::string& name : option.get_snames()) word.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) word.names.push_back("--" + name);
  const std::string choices = word.placeholder.substr(std::min(word.placeholder.find('{'), word.placeholder.size()));
  word.placeholder.resize(std::min(word.placeholder.find_first_of(":{"), word.placeholder.size()));
  if (!choices.empty()) word.choices = split(choices.substr(1, choices.find('}') - 1), ',');
  return word;
}

void collect_commands(const CLI::App& app, const std::string& prefix, std::vector<Command>& commands) {
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name = prefix + sub->get_name();
    if (!sub->get_subcommands([](const CLI::App*) { return true; }).empty()) {
      collect_commands(*sub, name + " ", commands);
      continue;
    }
    Command command{name, sub->get_description(), {}};
    for (const CLI::Option* option : sub->get_options()) command.words.push_back(word_of(*option));
    commands.push_back(command);
  }
}

std::string roff(std::string text) {
  text = replaced(replaced(replaced(text, "\\", "\\e"), "-", "\\-"), "'", "\\(aq");
  return text.starts_with('.') ? "\\&" + text : text;
}

std::string roff_word(const Word& word) {
  std::string text = ".TP\n";
  text += word.names.empty() ? ".I " + roff(word.placeholder) : ".B " + roff(joined(word.names, ", "));
  if (!word.names.empty() && !word.placeholder.empty()) text += " " + roff(word.placeholder);
  text += "\n" + roff(word.help) + ".";
  return text + (word.fallback.empty() ? "" : " Default: " + roff(word.fallback) + ".") + "\n";
}

std::string roff_head(const std::string& name, const std::string& help, const std::string& synopsis) {
  return ".TH " + roff(name) + " 1 \"\" \"watcher " WATCHER_VERSION "\"\n.SH NAME\n" + roff(name) + " \\- " +
         roff(help) + "\n.SH SYNOPSIS\n" + synopsis;
}

std::string exec_manual(const Command& exec) {
  std::string text = roff_head("watcher-exec", "record who changes the variables of a program",
                               ".B watcher\\-exec\n[options] [\\-\\-] PROGRAM [ARGUMENTS...]\n.br\n.B watcher\\-exec\n"
                               "[options] \\-\\-user\\-script FILE [ARGUMENTS...]\n");
  text +=
      ".SH DESCRIPTION\nRuns a program unmodified and records every change of the watched variables as lines of "
      "JSON in DIR/events.jsonl. With a user script, its main() is run.\n.PP\nEvery option is also a key of "
      "watcher.toml and a variable of the environment: max_queue_size and WATCHER_MAX_QUEUE_SIZE for "
      "\\-\\-max\\-queue\\-size. The command line goes over the environment, the environment over the file.\n"
      ".SH OPTIONS\n";
  for (const Word& word : exec.words) text += roff_word(word);
  return text +
         ".SH EXIT STATUS\nThe program's own, or its signal. 2: wrong usage or configuration, 126: the program "
         "cannot be run, 127: it is not there. With a user script: 0; 2, also when main is missing or needs more "
         "than one argument; 146 when it raised an exception; 246 when a processor failed; 144 when not everything "
         "could be written. summary.json has the full codes 402, 502 and 400. What main() gives to sys.exit or "
         "process.exit is the status.\n.SH ENVIRONMENT\nWATCHER_DISABLE=1 keeps a process out.\n.SH SEE ALSO\n"
         ".BR watcher (1)\n";
}

std::string watcher_manual(const std::vector<Command>& commands) {
  std::string text =
      roff_head("watcher", "look at what watcher-exec has recorded", ".B watcher\nSUBCOMMAND [options]\n");
  text += ".SH SUBCOMMANDS\n";
  for (const Command& command : commands) {
    text += ".SS " + roff(command.name) + "\n" + roff(command.help) + ".\n";
    for (const Word& word : command.words) text += roff_word(word);
  }
  return text +
         ".SH EXIT STATUS\n0; 1: nothing was found, or something is wrong; 2: wrong usage, an unreadable file.\n"
         ".SH SEE ALSO\n.BR watcher\\-exec (1)\n";
}

std::string all_names(const Command& command) {
  std::string text;
  for (const Word& word : command.words)
    for (const std::string& name : word.names) text += (text.empty() ? "" : " ") + name;
  return text;
}

/// `case` arms on the word before: what may stand here.
std::string bash_values(const Command& command, const std::string& indent) {
  std::string text;
  for (const Word& word : command.words) {
    if (word.names.empty() || word.placeholder.empty()) continue;
    const std::string reply = !word.choices.empty() ? "compgen -W '" + joined(word.choices, " ") + "' -- \"$here\""
                              : word.is_path()      ? "compgen -f -- \"$here\""
                                                    : "true";
    text += indent + joined(word.names, "|") + ") COMPREPLY=($(" + reply + ")); return ;;\n";
  }
  return text;
}

std::string bash_exec(const Command& exec) {
  return "_watcher_exec() {\n  local here=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
         "  case $before in\n" +
         bash_values(exec, "    ") + "  esac\n  case $here in\n    -*) COMPREPLY=($(compgen -W '" + all_names(exec) +
         "' -- \"$here\")) ;;\n    *) COMPREPLY=($(compgen -c -- \"$here\") $(compgen -f -- \"$here\")) ;;\n"
         "  esac\n}\ncomplete -o filenames -F _watcher_exec watcher-exec\n";
}

std::string first_words(const std::vector<Command>& commands, const std::string& prefix) {
  std::vector<std::string> words;
  for (const Command& command : commands) {
    if (!command.name.starts_with(prefix)) continue;
    const std::string rest = command.name.substr(prefix.size());
    const std::string word = rest.substr(0, rest.find(' '));
    if (words.empty() || words.back() != word) words.push_back(word);
  }
  return joined(words, " ");
}

std::string bash_watcher(const std::vector<Command>& commands) {
  std::string text =
      "_watcher() {\n  local here=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local command=${COMP_WORDS[1]}\n  if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W '" +
      first_words(commands, "") +
      " --help --version' -- \"$here\")); return; fi\n"
      "  if [[ $command == config ]]; then\n    if ((COMP_CWORD == 2)); then COMPREPLY=($(compgen -W '" +
      first_words(commands, "config ") +
      "' -- \"$here\")); return; fi\n"
      "    command=\"config ${COMP_WORDS[2]}\"\n  fi\n  case $command in\n";
  for (const Command& command : commands)
    text += "    '" + command.name + "')\n      case $before in\n" + bash_values(command, "        ") +
            "      esac\n      [[ $here != -* ]] || { COMPREPLY=($(compgen -W '" + all_names(command) +
            "' -- \"$here\")); return; } ;;\n";
  return text + "  esac\n  COMPREPLY=($(compgen -f -- \"$here\"))\n}\ncomplete -o filenames -F _watcher watcher\n";
}

std::string zsh_text(const std::string& text) {
  return replaced(replaced(replaced(replaced(text, "'", "'\\''"), "[", "\\["), "]", "\\]"), ":", "\\:");
}

std::string zsh_values(const Word& word) {
  if (!word.choices.empty()) return "(" + joined(word.choices, " ") + ")";
  return word.is_path() ? "_files" : "";
}

std::string zsh_word(const Word& word) {
  if (word.names.empty()) return "'" + zsh_text(":" + word.help).replace(0, 2, ":") + ":" + zsh_values(word) + "'";
  std::string text;
  for (const std::string& name : word.names) {
    text += (text.empty() ? "'" : " '") + name + "[" + zsh_text(word.help) + "]";
    if (!word.placeholder.empty()) text += ":" + zsh_text(word.placeholder) + ":" + zsh_values(word);
    text += "'";
  }
  return text;
}

std::string zsh_exec(const Command& exec) {
  std::string text = "#compdef watcher-exec\n_arguments -S \\\n";
  for (const Word& word : exec.words) text += "  " + zsh_word(word) + " \\\n";
  return text + "  '(-)1:program:_command_names -e' \\\n  '*::arguments:_normal'\n";
}

std::string zsh_watcher(const std::vector<Command>& commands) {
  std::string text = "#compdef watcher\n_watcher() {\n  if ((CURRENT == 2)); then compadd " +
                     first_words(commands, "") +
                     "; return; fi\n  local command=$words[2]\n  if [[ $command == config ]]; then\n"
                     "    if ((CURRENT == 3)); then compadd " +
                     first_words(commands, "config ") +
                     "; return; fi\n    command=\"config $words[3]\"\n    shift words; ((CURRENT--))\n  fi\n"
                     "  shift words; ((CURRENT--))\n  case $command in\n";
  for (const Command& command : commands) {
    text += "    '" + command.name + "') _arguments";
    for (const Word& word : command.words) text += " \\\n      " + zsh_word(word);
    text += " ;;\n";
  }
  return text + "  esac\n}\n_watcher \"$@\"\n";
}

std::string fish_text(const std::string& text) {
  return replaced(replaced(text, "\\", "\\\\"), "'", "\\'");
}

std::string fish_word(const std::string& program, const std::string& when, const Word& word) {
  if (word.names.empty()) return "";
  std::string text = "complete -c " + program + when;
  for (const std::string& name : word.names)
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (!word.choices.empty())
    text += " -x -a '" + joined(word.choices, " ") + "'";
  else if (!word.placeholder.empty())
    text += word.is_path() ? " -r -F" : " -x";
  return text + " -d '" + fish_text(word.help) + "'\n";
}

std::string fish_exec(const Command& exec) {
  std::string text;
  for (const Word& word : exec.words) text += fish_word("watcher-exec", "", word);
  return text +
         "complete -c watcher-exec -n 'test (count (commandline -opc)) -gt 0' -a '(__fish_complete_subcommand)'\n";
}

std::string fish_watcher(const std::vector<Command>& commands) {
  std::string text;
  for (const Command& command : commands) {
    const std::vector<std::string> parts = split(command.name, ' ');
    const std::string start = "complete -c watcher -f -n ";
    if (parts.size() == 1)
      text += start + "__fish_use_subcommand -a " + parts[0] + " -d '" + fish_text(command.help) + "'\n";
    else
      text += start + "'__fish_seen_subcommand_from " + parts[0] + "' -a " + parts[1] + " -d '" +
              fish_text(command.help) + "'\n";
    for (const Word& word : command.words)
      text += fish_word("watcher", " -n '__fish_seen_subcommand_from " + parts.back() + "'", word);
  }
  return text +
         "complete -c watcher -f -n __fish_use_subcommand -a config -d 'Check, convert or show a configuration'\n"
         "complete -c watcher -n 'not __fish_use_subcommand' -F\n";
}

bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return static_cast<bool>(file.flush());
}

int write_all(const std::string& directory) {
  CLI::App app("", "watcher");
  WatcherCommand parsed;
  describe_watcher(app, parsed);
  std::vector<Command> commands;
  collect_commands(app, "", commands);
  const Command exec = watcher_exec();
  const std::pair<const char*, std::string> files[] = {
      {"watcher-exec.1", exec_manual(exec)},  {"watcher.1", watcher_manual(commands)},
      {"watcher-exec.bash", bash_exec(exec)}, {"watcher.bash", bash_watcher(commands)},
      {"_watcher-exec", zsh_exec(exec)},      {"_watcher", zsh_watcher(commands)},
      {"watcher-exec.fish", fish_exec(exec)}, {"watcher.fish", fish_watcher(commands)},
  };
  for (const auto& [name, text] : files)
    if (!write(directory + "/" + name, text)) return complain_and_return(1, "cannot write " + directory + "/" + name);
  return 0;
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  return argc == 2 ? watcher::write_all(argv[1])
                   : watcher::complain_and_return(2, "usage: watcher-documentation DIRECTORY");
}

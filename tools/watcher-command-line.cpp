#include "tools/watcher-command-line.h"

namespace watcher {
namespace {

constexpr const char* kDirectory = "Output directory of a run";
constexpr const char* kTimeHelp = "10m (ago), 04:36:05, '2026-11-23 04:36' or seconds since 1970";

CLI::App* add_command(CLI::App& app, const char* name, const char* help) {
  return app.add_subcommand(name, help)->fallthrough(false);
}

void add_directory(CLI::App* sub, std::string& directory) {
  sub->add_option("directory", directory, kDirectory)->required()->type_name("DIR");
}

void add_colour(CLI::App* sub, std::string& colour) {
  sub->add_option("--color,--colour", colour, "auto (on a terminal, without NO_COLOR), always or never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "always", "never"}));
}

void describe_log(CLI::App& app, WatcherCommand& command) {
  CLI::App* sub = add_command(app, "log", "Show the events of a run, one line a change");
  LogRequest& log = command.log;
  add_directory(sub, log.directory);
  sub->add_flag("-f,--follow", log.follow, "Wait for more");
  sub->add_option("--var", log.variables, "Only variables of this name or glob; may be repeated")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  sub->add_option("--since", log.since, std::string("Only what happened since then: ") + kTimeHelp)->type_name("TIME");
  sub->add_option("--sql", log.sql, "Only what happened under a SQL statement; with TEXT, one that contains it")
      ->type_name("TEXT")
      ->expected(0, 1)
      ->default_str("*");
  sub->add_option("--file", log.file, "Only stores in this source file: the end of its path, or a glob")
      ->type_name("FILE");
  sub->add_option("--thread", log.thread, "Only this thread, by id or name")->type_name("THREAD");
  sub->add_option("--op", log.op, "Only this kind of change: store, append, setitem, …")->type_name("OP");
  sub->add_flag("--json", log.json, "The events as they are in the file");
  add_colour(sub, log.colour);
  sub->callback([&command] { command.run = [&command] { return show_log(command.log); }; });
}

void describe_why(CLI::App& app, WatcherCommand& command) {
  CLI::App* sub = add_command(app, "why", "Show the history of a variable, and who set its value");
  WhyRequest& why = command.why;
  add_directory(sub, why.directory);
  sub->add_option("name", why.name, "Variable: its name, a glob, or its variable_id")->required()->type_name("NAME");
  CLI::Option* at =
      sub->add_option("--at", why.at, std::string("What it held at that time: ") + kTimeHelp)->type_name("TIME");
  CLI::Option* value = sub->add_option("--value", why.value, "Who set this value")->type_name("V")->excludes(at);
  sub->add_option("--lines", why.lines, "Changes that are shown, the last ones")->type_name("N")->default_str("20");
  add_colour(sub, why.colour);
  sub->callback([&command, value] {
    command.why.has_value = value->count() > 0;
    command.run = [&command] { return show_why(command.why); };
  });
}

void describe_directory_commands(CLI::App& app, WatcherCommand& command) {
  CLI::App* stats = add_command(app, "stats", "Show what a run wrote, lost and watched");
  add_directory(stats, command.directory);
  stats->callback([&command] { command.run = [&command] { return show_stats(command.directory); }; });
  CLI::App* recovery = add_command(app, "recover", "Write down what killed processes have left in their queues");
  add_directory(recovery, command.directory);
  recovery->callback([&command] { command.run = [&command] { return recover(command.directory); }; });
}

void describe_config(CLI::App& app, WatcherCommand& command) {
  CLI::App* sub = add_command(app, "config", "Check, convert or show a configuration")->require_subcommand(1);
  const auto add = [&](const char* verb, const char* help, bool required) {
    CLI::App* action = add_command(*sub, verb, help);
    action->add_option("file", command.config.file, "watcher.toml or a scope file")
        ->type_name("FILE")
        ->required(required);
    action->callback([&command, verb] {
      command.config.verb = verb;
      command.run = [&command] { return handle_config(command.config); };
    });
  };
  add("check", "Say what is wrong, with line and column; without FILE of what is in force here", false);
  add("convert", "Print a scope file as TOML, or the rules of a TOML file as a scope file", true);
  add("show", "Print every option, its value and where that comes from", false);
}

void describe_control(CLI::App& app, WatcherCommand& command) {
  const auto add = [&](const char* verb, const char* help) {
    CLI::App* sub = add_command(app, verb, help);
    sub->add_option("pid", command.control.pid, "A running process that is recorded")
        ->required()
        ->type_name("PID")
        ->check(CLI::PositiveNumber);
    sub->callback([&command, verb] {
      command.control.verb = verb;
      command.run = [&command] { return control(command.control); };
    });
  };
  add("pause", "Record nothing of a running process until it is resumed");
  add("resume", "Record a paused process again");
  add("status", "Show whether a process is recorded, and its queue");
}

}  // namespace

void describe_watcher(CLI::App& app, WatcherCommand& command) {
  app.require_subcommand(1);
  app.set_version_flag("--version", "watcher " WATCHER_VERSION);
  describe_log(app, command);
  describe_why(app, command);
  describe_directory_commands(app, command);
  describe_config(app, command);
  add_command(app, "doctor", "Find out whether Watcher can work here, with a fix for each problem")
      ->callback([&command] { command.run = examine_system; });
  describe_control(app, command);
}

}  // namespace watcher

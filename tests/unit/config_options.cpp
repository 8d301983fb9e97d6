// The option table and the rules by themselves.
#include <doctest/doctest.h>

#include "config/environment.h"
#include "config/options.h"
#include "config/spelling.h"

namespace watcher {
namespace {

std::string error_of(const Result<void>& result) {
  return result ? "" : result.error().message;
}

TEST_CASE("every default is a value that its own row accepts, in its canonical spelling") {
  for (const OptionRow& row : option_table()) {
    CAPTURE(row.key);
    Options options;
    CHECK(options.get(row.key) == row.fallback);
    CHECK_FALSE(options.is_set(row.key));
    if (*row.fallback == '\0') continue;
    REQUIRE(options.set(row.key, row.fallback, "test"));
    CHECK(options.get(row.key) == row.fallback);
    CHECK(options.is_set(row.key));
  }
}

TEST_CASE("the guide's defaults hold") {
  const Options options;
  CHECK(options.get("output") == "./watcher_output");
  CHECK(options.get("mutation_depth") == "FULL");
  CHECK(options.get("log_level") == "INFO");
  CHECK(options.number("max_queue_size") == 65536);
  CHECK_FALSE(options.flag("track_sql"));
}

TEST_CASE("values are brought to one spelling") {
  Options options;
  for (const char* yes : {"true", "1", "YES", "on"}) {
    REQUIRE(options.set("track_sql", yes, "test"));
    CHECK(options.flag("track_sql"));
  }
  REQUIRE(options.set("track_sql", "Off", "test"));
  CHECK_FALSE(options.flag("track_sql"));
  REQUIRE(options.set("log_level", "debug", "test"));
  CHECK(options.get("log_level") == "DEBUG");
  REQUIRE(options.set("mutation_depth", "full", "test"));
  CHECK(options.get("mutation_depth") == "FULL");
  REQUIRE(options.set("mutation_depth", "0064", "test"));
  CHECK(options.number("mutation_depth") == 64);
}

TEST_CASE("an error says where, what, and what would be right") {
  Options options;
  CHECK(error_of(options.set("engine", "fast", "WATCHER_ENGINE")) ==
        "WATCHER_ENGINE: engine is one of auto, inline, uffd, hwbp, sampled, not 'fast'");
  CHECK(error_of(options.set("engine", "inlin", "--engine")) ==
        "--engine: engine is one of auto, inline, uffd, hwbp, sampled, not 'inlin'; did you mean 'inline'?");
  CHECK(error_of(options.set("max_queue_size", "0", "x")) ==
        "x: max_queue_size is a whole number from 1 to 16777216, not '0'");
  CHECK(error_of(options.set("max_queu_size", "1", "x")) ==
        "x: there is no option 'max_queu_size'; did you mean 'max_queue_size'?");
  CHECK(error_of(options.set("track_sql", "maybe", "x")) == "x: track_sql is true or false, not 'maybe'");
  CHECK(error_of(options.set("mutation_depth", "-3", "x")) ==
        "x: mutation_depth is FULL or a number of bytes from 1, not '-3'");
  CHECK_FALSE(options.is_set("engine"));
}

TEST_CASE("numbers that overflow, carry signs, blanks or letters are refused") {
  Options options;
  for (const char* bad : {"", " 1", "1 ", "+1", "0x10", "1e3", "99999999999999999999999", "16777217", "1_000"})
    CHECK_FALSE(options.set("max_queue_size", bad, "test"));
  for (const char* good : {"1", "16777216"}) CHECK(options.set("max_queue_size", good, "test"));
}

TEST_CASE("what is quoted in an error cannot drive a terminal") {
  CHECK(in_quotes("a\x1b[31mb\n") == "'a\\x1b[31mb\\x0a'");
  CHECK(in_quotes(std::string(500, 'x')).size() < 140);
}

TEST_CASE("the nearest word is only offered when it is near") {
  constexpr std::string_view kWords[] = {"local", "global", "both", "unknown"};
  CHECK(nearest_word("locl", kWords) == "local");
  CHECK(nearest_word("GLOBAL", kWords) == "global");
  CHECK(nearest_word("completely", kWords) == "");
  CHECK(nearest_word("", kWords) == "");
}

TEST_CASE("names with the same scope count once, files add up in the order of their mention") {
  Options options;
  options.add_rule("b.py", {RuleScope::kLocal, "x"});
  options.add_rule("a.py", {RuleScope::kGlobal, "y"});
  options.add_rule("b.py", {RuleScope::kGlobal, "x"});
  options.add_rule("b.py", {RuleScope::kLocal, "x"});
  const std::vector<WatchRule> expected = {{"b.py", {{RuleScope::kLocal, "x"}, {RuleScope::kGlobal, "x"}}},
                                           {"a.py", {{RuleScope::kGlobal, "y"}}}};
  CHECK(options.rules() == expected);
}

TEST_CASE("a rule's file is equal to the path, or its end by whole components") {
  CHECK(file_matches("app.py", "app.py"));
  CHECK(file_matches("app.py", "/srv/app.py"));
  CHECK(file_matches("app.py", "./app.py"));
  CHECK(file_matches("./app.py", "/srv/app.py"));
  CHECK(file_matches("lib/service.py", "/srv/lib/service.py"));
  CHECK(file_matches("/srv/app.py", "/srv/app.py"));
  CHECK_FALSE(file_matches("app.py", "/srv/myapp.py"));
  CHECK_FALSE(file_matches("app.py", "/srv/app.py/x"));
  CHECK_FALSE(file_matches("/app.py", "/srv/app.py"));
  CHECK_FALSE(file_matches("service.py", ""));
  CHECK_FALSE(file_matches("", "app.py"));
  CHECK_FALSE(file_matches("./", "app.py"));
}

TEST_CASE("a rule's file may be a glob over the last components") {
  CHECK(file_matches("*.py", "/srv/app.py"));
  CHECK(file_matches("tests/test_*.py", "/srv/tests/test_a.py"));
  CHECK(file_matches("/srv/*/app.py", "/srv/x/app.py"));
  CHECK(file_matches("src/**.py", "/home/src/a/b/c.py"));
  CHECK(file_matches("pages/[id].js", "/srv/pages/[id].js"));
  CHECK(file_matches("[ab].py", "/srv/a.py"));
  CHECK_FALSE(file_matches("src/*.py", "/home/src/a/b.py"));
  CHECK_FALSE(file_matches("/srv/*.py", "/usr/srv/a.py"));
  CHECK_FALSE(file_matches("*.py", "/srv/app.js"));
}

TEST_CASE("environment names and keys are the same words") {
  CHECK(environment_name("max_queue_size") == "WATCHER_MAX_QUEUE_SIZE");
}

}  // namespace
}  // namespace watcher

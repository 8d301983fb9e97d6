// TOML and scope file: what they accept, how they complain, and that each converts into the other without loss.
#include <doctest/doctest.h>

#include <random>

#include "config/scope_file.h"
#include "config/toml_file.h"

namespace watcher {
namespace {

using Parser = Result<void> (*)(Options&, std::string_view, std::string_view);

Result<void> parse_toml(Options& options, std::string_view text, std::string_view name) {
  return parse_toml_text(options, text, std::string(name));
}

std::string error_of(Parser parse, std::string_view text, std::string_view name) {
  Options options;
  const auto parsed = parse(options, text, name);
  return parsed ? "" : parsed.error().message;
}
std::string toml_error(std::string_view text) {
  return error_of(parse_toml, text, "watcher.toml");
}
std::string scope_error(std::string_view text) {
  return error_of(parse_scope_text, text, "scope.txt");
}

Options parsed(Parser parse, std::string_view text) {
  Options options;
  const auto result = parse(options, text, "memory");
  CAPTURE(text);
  if (!result) FAIL(result.error().message);
  return options;
}

void check_same(const Options& a, const Options& b) {
  CHECK(a.rules() == b.rules());
  CHECK(a.processors() == b.processors());
  for (const OptionRow& row : option_table()) {
    CAPTURE(row.key);
    CHECK(a.get(row.key) == b.get(row.key));
    CHECK(a.is_set(row.key) == b.is_set(row.key));
  }
}

const std::vector<WatchRule> kGuideRules = {
    {"app.py", {{RuleScope::kLocal, "counter"}, {RuleScope::kGlobal, "db_conn"}}},
    {"utils.py", {{RuleScope::kBoth, "shared_config"}}},
    {"lib/service.py", {{RuleScope::kUnknown, "obj"}}},
};

TEST_CASE("the guide's scope file") {
  const Options options = parsed(parse_scope_text,
                                 "# scope_config.txt\n"
                                 "app.py:(local:counter,global:db_conn)\n"
                                 "\n"
                                 "utils.py:(both:shared_config)\n"
                                 "lib/service.py:(unknown:obj)\n");
  CHECK(options.rules() == kGuideRules);
}

TEST_CASE("the same in TOML") {
  const Options options = parsed(parse_toml, R"(
[[watch]]
file   = "app.py"
local  = ["counter"]
global = ["db_conn"]
[[watch]]
file = "utils.py"
both = "shared_config"
[[watch]]
file = "lib/service.py"
unknown = ["obj"]
)");
  CHECK(options.rules() == kGuideRules);
}

TEST_CASE("a scope file is forgiving about blanks, comments, repetition and line ends") {
  const Options options = parsed(parse_scope_text,
                                 "\xef\xbb\xbf  app.py :( x )  \r\n"
                                 "app.py:( local : a , b,local:a) # why: (because)\r\n"
                                 "odd:(name.py:(c)\n"
                                 "src/**.py:(Worker.run.*,_?)");
  const std::vector<WatchRule> expected = {
      {"app.py", {{RuleScope::kUnknown, "x"}, {RuleScope::kLocal, "a"}, {RuleScope::kUnknown, "b"}}},
      {"odd:(name.py", {{RuleScope::kUnknown, "c"}}},
      {"src/**.py", {{RuleScope::kUnknown, "Worker.run.*"}, {RuleScope::kUnknown, "_?"}}},
  };
  CHECK(options.rules() == expected);
}

TEST_CASE("a name without a scope is unknown") {
  CHECK(parsed(parse_scope_text, "a.py:(x)").rules().front().names.front() == WatchName{RuleScope::kUnknown, "x"});
}

TEST_CASE("a scope file's errors point at the character") {
  CHECK(scope_error("app.py:(local:a)\napp.py\n") ==
        "scope.txt:2:7: a list ':(…)' of names is missing; a line looks like app.py:(local:counter,global:db_conn)");
  CHECK(scope_error("app.py:(lokal:a)") ==
        "scope.txt:1:9: a scope is local, global, both or unknown, not 'lokal'; did you mean 'local'?");
  CHECK(scope_error("app.py:(local:a,,b)") == "scope.txt:1:17: a name is missing here");
  CHECK(scope_error("app.py:()") == "scope.txt:1:9: a name is missing here");
  CHECK(scope_error("app.py:(a").find("scope.txt:1:10: the list is not closed by ')'") == 0);
  CHECK(scope_error("app.py:(a) b").find("scope.txt:1:12: nothing but a comment may follow the list") == 0);
  CHECK(scope_error(":(a)") == "scope.txt:1:1: a file is missing here");
  CHECK(scope_error("# ü\nü.py:(ü b)").find("scope.txt:2:7: 'ü b': a name is an identifier") == 0);
  CHECK(scope_error("a\xff:(x)") == "scope.txt:1:2: this is not UTF-8");
  CHECK(scope_error("# only words\n\n").find("scope.txt:1:1: no variable is named in this file") == 0);
  CHECK(scope_error("").find("scope.txt:1:1: no variable is named in this file") == 0);
}

TEST_CASE("every option is a key of the same name") {
  const Options options = parsed(parse_toml, R"(
output = "out"
track_threads = true
mutation_depth = 128
max_queue_size = 1024
engine = "inline"
stack = 8
)");
  CHECK(options.get("output") == "out");
  CHECK(options.flag("track_threads"));
  CHECK(options.number("mutation_depth") == 128);
  CHECK(options.number("max_queue_size") == 1024);
  CHECK(options.get("engine") == "inline");
  CHECK(options.number("stack") == 8);
  CHECK_FALSE(options.is_set("burst"));
}

TEST_CASE("a TOML file's errors name line, column and what would be right") {
  CHECK(toml_error("x = ").find("watcher.toml:1:") == 0);
  CHECK(toml_error("\nmax_queu_size = 3") ==
        "watcher.toml:2:1: there is no option 'max_queu_size'; did you mean 'max_queue_size'?");
  CHECK(toml_error("[[wach]]\nfile = 'a'") == "watcher.toml:1:3: there is no option 'wach'; did you mean 'watch'?");
  CHECK(toml_error("max_queue_size = \"3\"") ==
        "watcher.toml:1:18: max_queue_size is a whole number from 1 to 16777216, without quotes");
  CHECK(toml_error("track_sql = 1") == "watcher.toml:1:13: track_sql is true or false, without quotes");
  CHECK(toml_error("engine = 3") == "watcher.toml:1:10: engine is one of auto, inline, uffd, hwbp, sampled, in quotes");
  CHECK(toml_error("engine = \"inlin\"").find("watcher.toml:1:10: engine is one of") == 0);
  CHECK(toml_error("config = \"b.toml\"").find("watcher.toml:1:1: a configuration file cannot name another one") == 0);
  CHECK(toml_error("output = \"\"") == "watcher.toml:1:10: output is a path, not ''");
  CHECK(toml_error("stack = -1").find("watcher.toml:1:9: stack is a whole number from 0 to 64") == 0);
}

TEST_CASE("a [[watch]] table's errors do too") {
  CHECK(toml_error("[watch]\nfile = 'a.py'").find("watcher.toml:1:2: watch is a list of tables") == 0);
  CHECK(toml_error("[[watch]]\nlocal = ['a']").find("watcher.toml:1:1: a [[watch]] table needs a file") == 0);
  CHECK(toml_error("[[watch]]\nfile = 'a.py'").find("watcher.toml:1:1: this [[watch]] table names no variable") == 0);
  CHECK(toml_error("[[watch]]\nfile = 'a.py'\nlocals = ['x']") ==
        "watcher.toml:3:1: a [[watch]] table has no key 'locals'; it has file, local, global, both, unknown, when, "
        "sample, max_per_second, on_change; did you mean 'local'?");
  CHECK(toml_error("[[watch]]\nfile = 'a.py'\nlocal = ['x', 3]") ==
        "watcher.toml:3:15: a variable's name stands here, in quotes");
  CHECK(toml_error("[[watch]]\nfile = 'a.py'\nlocal = ['x,y']")
            .find("watcher.toml:3:10: 'x,y': a name is an identifier") == 0);
  CHECK(toml_error("[[watch]]\nfile = '#a.py'\nlocal = ['x']").find("watcher.toml:2:8: '#a.py': a line that starts") ==
        0);
}

TEST_CASE("a wrong text leaves the options as they were") {
  Options options = parsed(parse_scope_text, "a.py:(x)");
  CHECK_FALSE(parse_toml(options, "engine = 'uffd'\nnonsense = 1", "t"));
  CHECK_FALSE(parse_scope_text(options, "b.py:(y)\nnonsense", "s"));
  check_same(options, parsed(parse_scope_text, "a.py:(x)"));
}

TEST_CASE("relative paths in a TOML file are relative to that file") {
  Options options;
  REQUIRE(parse_toml(options, "output = 'out'\nfiles_scope = '/abs/s.txt'", "/etc/app/watcher.toml"));
  CHECK(options.get("output") == "/etc/app/out");
  CHECK(options.get("files_scope") == "/abs/s.txt");
  REQUIRE(parse_toml(options, "output = 'out'", "./watcher.toml"));
  CHECK(options.get("output") == "out");
}

TEST_CASE("hostile nesting and length end in an error, not in a crash") {
  CHECK(toml_error("a = " + std::string(100000, '[')) != "");
  CHECK(toml_error("a = " + std::string(100000, '{')) != "");
  CHECK(toml_error("[" + std::string(100000, 'a') + "]") != "");
  CHECK(scope_error(std::string(1000000, ':')) != "");
  CHECK(scope_error(std::string("a.py:(\0)", 8)) != "");
}

TEST_CASE("damaged texts end in an error or a model, whatever was damaged") {
  const std::string toml =
      "stack = 3 # n\n[[watch]]\nfile = \"a.py\"\nlocal = [\"x\", 'y']\n[[watch]]\nfile='b'\nboth='z'\n";
  const std::string scope = "# c\na.py:(local:x,y)\nb:(both:z) # d\n";
  constexpr std::string_view kBytes("[]{}=\"'#.,:()!\0\n\\ a1\xff\xc3\xa9", 25);
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text = i % 4 ? toml : scope;
    for (unsigned n = 1 + random() % 4; n > 0; --n) text[random() % text.size()] = kBytes[random() % kBytes.size()];
    Options options;
    if (!(i % 4 ? parse_toml(options, text, "t") : parse_scope_text(options, text, "s"))) continue;
    CAPTURE(text);
    CHECK(parsed(parse_toml, to_toml(options)).rules() == options.rules());
  }
}

TEST_CASE("a [[watch]] table says which changes of its names count") {
  const Options options = parsed(parse_toml, R"(
[[watch]]
file = "a.py"
when = "new > 100 and old <= 100"
local = ["x"]
sample = 0.25
[[watch]]
file = "a.py"
local = ["y"]
max_per_second = 10
)");
  REQUIRE(options.rules().size() == 1);
  const auto& names = options.rules().front().names;
  CHECK(names[0] == WatchName{RuleScope::kLocal, "x", {.when = "new > 100 and old <= 100", .sample = 0.25}});
  CHECK(names[1] == WatchName{RuleScope::kLocal, "y", {.when = "", .max_per_second = 10}});

  const std::string head = "[[watch]]\nfile = 'a.py'\nlocal = ['x']\n";
  CHECK(toml_error(head + "when = 'new >'").find("watcher.toml:4:8: when is no condition: column 6: expected") == 0);
  CHECK(toml_error(head + "when = 3") ==
        "watcher.toml:4:8: when is a condition such as \"new > 100 and old <= 100\", in quotes");
  for (const char* share : {"2", "-0.5", "'all'", "true", "nan"})
    CHECK(toml_error(head + "sample = " + share) == "watcher.toml:4:10: sample is a number from 0 to 1");
  CHECK(toml_error(head + "max_per_second = 0") ==
        "watcher.toml:4:18: max_per_second is a whole number from 1 to 1000000000");
}

TEST_CASE("mistyped table headers are errors") {
  for (const char* text :
       {"[[!x]]", "[!", "[[", "[[]]", "[[ #", "[[.a]]", "[[watch]", "a = [!", "a = {!", "!", "a.!=1"})
    CHECK(toml_error(text).find("watcher.toml:1:") == 0);
  CHECK(toml_error("a = \"\xff\"") == "watcher.toml:1:6: this is not UTF-8");
}

/// Random models of everything that both formats can say.
class ModelMaker {
 public:
  explicit ModelMaker(unsigned seed) : random_(seed) {}

  Options make(bool with_options) {
    Options options;
    with_terms_ = with_options;
    const unsigned rules = 1 + below(5);
    for (unsigned i = 0; i < rules; ++i) add_rule(options);
    if (with_options)
      for (const OptionRow& row : option_table())
        if (below(2)) set(options, row);
    return options;
  }

 private:
  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }

  std::string text(std::string_view alphabet, unsigned longest) {
    std::string out;
    const unsigned length = 1 + below(longest);
    for (unsigned i = 0; i < length; ++i) out += alphabet[below(static_cast<unsigned>(alphabet.size()))];
    return out;
  }

  void add_rule(Options& options) {
    std::string file = text("ab/.:()#,'\"\\ *?[]\x40", 12);
    if (below(4) == 0) file += "ü漢";
    if (watch_file_fault(file)) file = std::string("a").append(file).append("z");
    const unsigned names = 1 + below(8);
    WatchTerms terms;
    for (unsigned i = 0; i < names; ++i) {
      const auto scope = static_cast<RuleScope>(below(4));
      if (with_terms_ && below(3) == 0) terms = make_terms();
      options.add_rule(file, {scope, text("ab_.*?[]$<>!", 3) + (below(5) ? "" : "名"), terms});
    }
  }

  WatchTerms make_terms() {
    WatchTerms terms;
    if (below(2)) terms.when = "name != '" + text("ab\t #=[]", 10) + "\" \\\\'";
    if (below(2)) terms.sample = below(1001) / 1000.0;
    if (below(2)) terms.max_per_second = below(1000);
    return terms;
  }

  void set(Options& options, const OptionRow& row) {
    const std::string_view key = row.key;
    if (key == "config" || key == "files_scope") return;  // to_toml folds them in
    for (int attempt = 0; attempt < 200; ++attempt) {
      if (options.set(key, candidate(row), "random")) return;
    }
    FAIL("no value found for ", row.key);
  }

  std::string candidate(const OptionRow& row) {
    switch (row.type) {
      case OptionType::kFlag:
        return below(2) ? "true" : "false";
      case OptionType::kChoice: {
        const std::string_view choices = row.choices;
        const std::size_t start = below(2) ? 0 : choices.find('|') + 1;
        return std::string(choices.substr(start, choices.find('|', start) - start));
      }
      case OptionType::kDepth:
        return below(2) ? "FULL" : std::to_string(1 + below(100000));
      case OptionType::kCount:
        return std::to_string(below(60));
      default:
        return std::string("/").append(text("ab\\\"'\n\t\x01\x7f #=[]", 10));
    }
  }

  std::mt19937 random_;
  bool with_terms_ = false;  // a scope file has none
};

TEST_CASE("any model survives TOML") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    const Options model = ModelMaker(seed).make(true);
    check_same(parsed(parse_toml, to_toml(model)), model);
  }
}

TEST_CASE("any rules survive the scope file, and the way from one format to the other and back") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    const Options model = ModelMaker(seed).make(false);
    const Options from_scope = parsed(parse_scope_text, to_scope_file(model));
    check_same(from_scope, model);
    const Options from_toml = parsed(parse_toml, to_toml(from_scope));
    check_same(from_toml, model);
    CHECK(to_scope_file(from_toml) == to_scope_file(model));
  }
}

}  // namespace
}  // namespace watcher

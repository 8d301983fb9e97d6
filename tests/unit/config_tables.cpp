// The tables of a TOML file beside [[watch]]: [redact], [[processor]], [otlp].
#include <doctest/doctest.h>

#include "config/toml_file.h"

namespace watcher {
namespace {

Options parsed(std::string_view text) {
  Options options;
  const auto read = parse_toml_text(options, text, "memory");
  CHECK_MESSAGE(read, (read ? std::string() : read.error().message));
  return options;
}

std::string toml_error(std::string_view text) {
  Options options;
  const auto read = parse_toml_text(options, text, "watcher.toml");
  return read ? "" : read.error().message;
}

}  // namespace

TEST_CASE("the table redact holds lists of names") {
  const Options options = parsed("[redact]\nenabled=false\nnames=['*_pin','iban']\nallow=[]");
  CHECK_FALSE(options.flag("redact_enabled"));
  CHECK(options.get("redact_names") == "*_pin,iban");
  CHECK(options.get("redact_allow") == "");
  Options other;
  const auto error = [&](const char* text) { return parse_toml_text(other, text, "t").error().message; };
  CHECK(error("[redact]\nname=['x']") ==
        "t:2:1: [redact] has no key 'name'; it has enabled, names, allow; did you mean 'names'?");
  CHECK(error("[redact]\nnames='x'") == "t:2:7: names is a list of names, such as [\"*_pin\"]");
  CHECK(error("[redact]\nnames=['a,b']") == "t:2:7: names is a list of names, such as [\"*_pin\"]");
  CHECK(error("[redact]\nenabled='no'") == "t:2:9: redact_enabled is true or false, without quotes");
  CHECK(error("redact=1") == "t:1:1: redact is a table: write [redact]");
}

TEST_CASE("processors come in the order of the file") {
  const Options options = parsed(
      "[[processor]]\npath = 'a.py'\ntimeout_ms = 50\nargs = ['x', 3]\n"
      "[[processor]]\ntype = 'filter'\nname = 'db_*'\nscope = ['local', 'both']\nthread = 7\n"
      "when = 'new > 3'\naction = 'drop'\nmax_deltas = 9\nfold_ms = 5\nmax_per_second = 2\n"
      "[[processor]]\ntype = 'plugin'\npath = '/x.so'\nsubprocesses = true\nmemory_mb = 64\n"
      "[[processor]]\ntype = 'logging'\n[[processor]]\ntype = 'noop'\n");
  REQUIRE(options.processors().size() == 5);
  const ProcessorSpec& script = options.processors()[0];
  CHECK(script.path == "a.py");
  CHECK(script.timeout_ms == 50);
  CHECK(script.args == std::vector<std::string>{"x", "3"});
  const FilterSpec& filter = options.processors()[1].filter;
  CHECK(filter.names == std::vector<std::string>{"db_*"});
  CHECK(filter.threads == std::vector<std::string>{"7"});
  CHECK(filter.drop_fitting);
  CHECK(options.processors()[2].subprocesses);
  CHECK(to_toml(parsed(to_toml(options))) == to_toml(options));
}

TEST_CASE("a wrong processor is told with what would be right") {
  CHECK(toml_error("[[processor]]\npth = 'a.py'") ==
        "watcher.toml:2:1: a [[processor]] of type script has no key 'pth'; it has type, path, args, timeout_ms, "
        "memory_mb, "
        "subprocesses; did you mean 'path'?");
  CHECK(toml_error("[[processor]]\ntype = 'filer'") ==
        "watcher.toml:2:8: type is one of script, plugin, noop, logging, filter, not 'filer'; did you mean 'filter'?");
  CHECK(toml_error("[[processor]]\npath = 'a.rb'").find("watcher.toml:1:1: a processor is a .py") == 0);
  CHECK(toml_error("[[processor]]\ntimeout_ms = 5").find("watcher.toml:1:1: a [[processor]] needs a path") == 0);
  CHECK(toml_error("[[processor]]\npath = 'a.py'\ntimeout_ms = 0") ==
        "watcher.toml:3:14: timeout_ms is a whole number from 1 to 60000");
  CHECK(toml_error("[[processor]]\ntype = 'filter'\nwhen = 'new >'").find("watcher.toml:3:8: when is no condition: ") ==
        0);
  CHECK(toml_error("[[processor]]\ntype = 'filter'\nscope = 'here'").find("watcher.toml:3:9: scope is one of") == 0);
  CHECK(toml_error("[processor]\npath = 'a.py'").find("watcher.toml:1:2: processor is a list of tables") == 0);
}

TEST_CASE("the table [otlp] is the options otlp_…, its tables are pairs") {
  const Options options = parsed(
      "[otlp]\nendpoint='http://x'\nbatch_size=7\nheaders={a='1',b='x, y=z%'}\n"
      "[otlp.resource]\n'service.name'='shop'\n");
  CHECK(options.get("otlp_endpoint") == "http://x");
  CHECK(options.number("otlp_batch_size") == 7);
  CHECK(options.get("otlp_headers") == "a=1,b=x%2C%20y%3Dz%25");
  CHECK(options.get("otlp_resource") == "service.name=shop");
  for (const auto& [text, fault] :
       {std::pair("otlp=1", "memory:1:1: otlp is a table: write a line [otlp]"),
        std::pair("[otlp]\nendpont='x'", "memory:2:1: [otlp] has no key 'endpont'; did you mean 'endpoint'?"),
        std::pair("[otlp]\nbatch_size='x'",
                  "memory:2:12: otlp_batch_size is a whole number from 1 to 100000, without quotes"),
        std::pair("[otlp]\nheaders={a=1}", "memory:2:12: otlp_headers has texts for values, in quotes")}) {
    Options refused;
    const auto read = parse_toml_text(refused, text, "memory");
    REQUIRE_FALSE(read);
    CHECK(read.error().message == fault);
  }
}

}  // namespace watcher

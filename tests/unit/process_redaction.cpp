#include <doctest/doctest.h>

#include <string>

#include "runtime/process/redaction.h"

namespace watcher::test {
namespace {

EventView changed(std::string_view before, std::string_view after, ValueKind kind = ValueKind::kObject) {
  EventView event;
  event.variable_name = "state";
  event.op = Op::kStore;
  event.before.kind = event.after.kind = kind;
  event.before.bytes = before;
  event.before.total = before.size();
  event.after.bytes = after;
  event.after.total = after.size();
  return event;
}

struct Redacted {
  explicit Redacted(EventView view, const Options& options = {}) : event(std::move(view)), redaction(options) {
    compare(event, &delta);
    hidden = redaction.apply(&event, &delta);
  }
  EventView event;
  Delta delta;
  Redaction redaction;
  bool hidden = false;
};

std::string shown(std::string_view text) {
  return std::string(Redacted(changed({}, text)).event.after.bytes);
}

}  // namespace

TEST_CASE("names that only sound like secrets") {
  SecretNames names("", "");
  for (const char* name : {"counter",
                           "key",
                           "primary_key",
                           "cache_key",
                           "sort_key",
                           "monkey",
                           "keyboard",
                           "author",
                           "authority",
                           "bypass",
                           "compass",
                           "passenger",
                           "passed",
                           "bandpass",
                           "classname",
                           "lessness",
                           "session_length",
                           "spinner",
                           "opinion",
                           "max_tokens",
                           "tokenizer",
                           "residual",
                           "inside",
                           "saltwater",
                           "user.name",
                           "records[3].total",
                           ""})
    CHECK_MESSAGE(!names.matches(name), name);
}

TEST_CASE("paths and phrases are secret when a part of them is") {
  SecretNames names("", "");
  for (const char* name : {"user.api_token", "config.db.Password", "api key", "X-Auth-Token:", "self.__secret", "$pwd",
                           "'password'", "settings['API-KEY']"})
    CHECK_MESSAGE(names.matches(name), name);
}

TEST_CASE("patterns of the user add names and take them back") {
  SecretNames names("favourite_*, *Colour ,pet", "max-token, *_test_*");
  CHECK(names.matches("favouriteFood"));
  CHECK(names.matches("hair_colour"));
  CHECK(names.matches("PET"));
  CHECK_FALSE(names.matches("petrol"));
  CHECK_FALSE(names.matches("maxToken"));
  CHECK_FALSE(names.matches("my_test_password"));
  CHECK(names.matches("max_token_secret"));
}

TEST_CASE("values behind secret names in a description are hidden") {
  CHECK(shown("{'user': 'ada', 'password': 'x', 'age': 3}") == "{'user': 'ada', 'password': [redacted], 'age': 3}");
  CHECK(shown("{'a': {'token': {'x': [1, 2]}, 'b': 1}}") == "{'a': {'token': [redacted], 'b': 1}}");
  CHECK(shown("{b'password': b'a,\\'b}', 'n': 1}") == "{b'password': [redacted], 'n': 1}");
  CHECK(shown("{\"secret\": \"it's, }\", 1: 2}") == "{\"secret\": [redacted], 1: 2}");
  CHECK(shown("User(name='ada', api_key='k', n=1)") == "User(name='ada', api_key=[redacted], n=1)");
  CHECK(shown("<Conn password='a b' port=3>") == "<Conn password=[redacted]>");
  CHECK(shown("{ password: 'x', n: 1 }") == "{ password: [redacted], n: 1 }");
  CHECK(shown("Map(1) { 'token' => 'x', 'n' => 1 }") == "Map(1) { 'token' => [redacted], 'n' => 1 }");
  CHECK(shown("[{'pin': 1}, {'pin': 2}]") == "[{'pin': [redacted]}, {'pin': [redacted]}]");
}

TEST_CASE("what is cut in the middle of a secret stays hidden") {
  CHECK(shown("{'password': 'abc") == "{'password': [redacted]");
  CHECK(shown("{'password': 'abc\\") == "{'password': [redacted]");
  CHECK(shown("{'password': {'a': [") == "{'password': [redacted]");
  CHECK(shown("{'password': ") == "{'password': [redacted]");
  CHECK(shown("{'password") == "{'password");
}

TEST_CASE("texts without secret names stay as they are") {
  for (const char* text :
       {"{'a': 1}", "['password', 'token']", "a == password", "std::secret::x", "{'note': 'password: x'}"})
    CHECK(shown(text) == text);
}

TEST_CASE("a description that differs only in a secret has no deltas") {
  const Redacted same(changed("{'n': 1, 'pin': 1234}", "{'n': 1, 'pin': 9876}"));
  CHECK(same.hidden);
  CHECK(same.delta.empty());
  const Redacted other(changed("{'n': 1, 'pin': 12}", "{'n': 2, 'pin': 98}"));
  CHECK(other.delta.changed_bytes == 1);
}

TEST_CASE("parameters of a statement are hidden by their keys, or by what the statement mentions") {
  const auto params = [](std::string_view statement, std::string_view text) {
    EventView event = changed("", "", ValueKind::kText);
    event.sql_statement = statement;
    event.sql_params = text;
    const Redacted redacted(event);
    return std::string(redacted.event.sql_params);
  };
  CHECK(params("insert into t (a, cvv) values (?, ?)", "(1, 'a, b')") == "(***, ***)");
  CHECK(params("insert into t (cvv) values (?)", "[(1,), ('x',)]") == "[(***,), (***,)]");
  CHECK(params("insert into t (a) values (?)", "(1, 'x')") == "(1, 'x')");
  CHECK(params("select :cvv, :a", "{'cvv': 'x', 'a': 1}") == "{'cvv': ***, 'a': 1}");
  CHECK(params("update t set pin = :p, a = :a", "{'p': 1, 'a': 2}") == "***, ***");
  CHECK(params("update t set b = :p", "{'p': 1}") == "{'p': 1}");
}

TEST_CASE("a secret's own values tell their type and nothing else") {
  EventView event = changed("old", "new value", ValueKind::kText);
  event.variable_name = "Config.db_password";
  const Redacted hidden(event);
  CHECK(hidden.event.before.redacted);
  CHECK(hidden.event.after.redacted);
  CHECK(hidden.delta.empty());
  Options options;
  REQUIRE(options.set("redact_enabled", "false", "test"));
  CHECK_FALSE(Redacted(event, options).hidden);
}

}  // namespace watcher::test

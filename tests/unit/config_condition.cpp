// Conditions: Python's answers for the part of its expressions that they are.
#include <doctest/doctest.h>

#include "config/condition.h"

namespace watcher {
namespace {

using Verdict = Condition::Verdict;

struct Change {
  ConditionValue before;
  ConditionValue after;
};

ConditionValue look_up(ConditionName name, const void* argument) {
  const auto* change = static_cast<const Change*>(argument);
  switch (name) {
    case ConditionName::kOld:
      return change->before;
    case ConditionName::kNew:
      return change->after;
    case ConditionName::kName:
      return ConditionValue::of(std::string_view("counter"));
    case ConditionName::kThread:
      return ConditionValue::of(std::string_view("MainThread"));
    case ConditionName::kLine:
      return ConditionValue::of(std::int64_t{42});
    default:
      return {};
  }
}

Verdict verdict(std::string_view source, ConditionValue before = ConditionValue::of(std::int64_t{100}),
                ConditionValue after = ConditionValue::of(std::int64_t{101})) {
  const Result<Condition> condition = Condition::compile(source);
  CAPTURE(source);
  REQUIRE_MESSAGE(condition, condition.error().message);
  const Change change{before, after};
  return condition.value().test(look_up, &change);
}

std::string error_of(std::string_view source) {
  const Result<Condition> condition = Condition::compile(source);
  return condition ? "" : condition.error().message;
}

TEST_CASE("comparisons, chains and logic") {
  CHECK(verdict("new > 100 and old <= 100") == Verdict::kTrue);
  CHECK(verdict("new > 101 or old == 100") == Verdict::kTrue);
  CHECK(verdict("99 < old < new < 102") == Verdict::kTrue);
  CHECK(verdict("99 < old < new < 101") == Verdict::kFalse);
  CHECK(verdict("not new == 101") == Verdict::kFalse);
  CHECK(verdict("not not new") == Verdict::kTrue);
  CHECK(verdict("not (not (new))") == Verdict::kTrue);
  CHECK(verdict("not new > 1000 and not (old > 1000 or not line == 42)") == Verdict::kTrue);
  CHECK(verdict("name == 'counter' and thread != \"worker\" and line == 42") == Verdict::kTrue);
  CHECK(verdict("new == 101.0") == Verdict::kTrue);
  CHECK(verdict("True == 1 and new is not None and (new == 0) is False") == Verdict::kTrue);
}

TEST_CASE("arithmetic is Python's") {
  CHECK(verdict("new - old == 1 and abs(old - new) == 1") == Verdict::kTrue);
  CHECK(verdict("-7 // 2 == -4 and -7 % 2 == 1 and 7 % -2 == -1 and 7 // -2 == -4 and -8 // 2 == -4") ==
        Verdict::kTrue);
  CHECK(verdict("7 / 2 == 3.5 and 2 + 3 * 4 == 14 and (2 + 3) * 4 == 20 and 0x10 == 16 and 1_000 == 1e3") ==
        Verdict::kTrue);
  CHECK(verdict("9223372036854775807 + 1 > 9223372036854775807") == Verdict::kFalse);  // as doubles they are equal
  CHECK(verdict("4 % (-9223372036854775807 - 1) == -9223372036854775804 and (-9223372036854775807 - 1) % 3 == 1") ==
        Verdict::kTrue);
  CHECK(verdict("-5.5 // 2 == -3.0 and -5.5 % 2 == 0.5") == Verdict::kTrue);
  CHECK(verdict("-9223372036854775807 // -1 > 0") == Verdict::kTrue);
}

TEST_CASE("membership") {
  CHECK(verdict("new in (1, 101, 3)") == Verdict::kTrue);
  CHECK(verdict("new in [1, 2]") == Verdict::kFalse);
  CHECK(verdict("new not in ()") == Verdict::kTrue);
  CHECK(verdict("new in (101,)") == Verdict::kTrue);
  CHECK(verdict("'oun' in name and 'x' not in name") == Verdict::kTrue);
  CHECK(verdict("None in (new, None)") == Verdict::kTrue);
}

TEST_CASE("values of other types") {
  const auto text = ConditionValue::of(std::string_view("h\xc3\xa9llo"));
  CHECK(verdict("len(new) == 5 and type(new) == 'str' and new > 'a'", text, text) == Verdict::kTrue);
  CHECK(verdict("old is None", ConditionValue{}) == Verdict::kTrue);
  CHECK(verdict("type(old) == 'NoneType'", ConditionValue{}) == Verdict::kTrue);
  CHECK(verdict("new != 'x'") == Verdict::kTrue);
  CHECK(verdict("'it\\'s' == \"it's\"") == Verdict::kTrue);
}

TEST_CASE("what Python would refuse is unknown, unless it is never reached") {
  CHECK(verdict("old > 3", ConditionValue{}) == Verdict::kUnknown);
  CHECK(verdict("new / (old - 100) > 1") == Verdict::kUnknown);
  CHECK(verdict("len(new) > 1") == Verdict::kUnknown);
  CHECK(verdict("old is not None and old > 3", ConditionValue{}) == Verdict::kFalse);
  CHECK(verdict("not old > 3", ConditionValue{}) == Verdict::kUnknown);
  CHECK(verdict("new == [101]") == Verdict::kUnknown);
}

TEST_CASE("an error says at which column, and what would be right") {
  CHECK(error_of("new >") ==
        "column 6: expected old, new, name, path, thread, line, function, file, op, scope, a number or a text, not the "
        "end");
  CHECK(error_of("nwe > 3").substr(0, 23) == "column 1: expected old,");
  CHECK(error_of("new = 3") == "column 5: expected 'and', 'or', a comparison or the end, not '='");
  CHECK(error_of("new ** 2") == "column 5: expected 'and', 'or', a comparison or the end, not '**'");
  CHECK(error_of("(new > 3") == "column 9: expected ')', not the end");
  CHECK(error_of("new not 3") == "column 9: expected 'in', not '3'");
  CHECK(error_of("'open") == "column 1: expected a plain text, not ''open'");
  CHECK(error_of("new.real > 3").substr(0, 9) == "column 4:");
  CHECK(error_of("__import__('os')").substr(0, 9) == "column 1:");
  CHECK(error_of("len new") == "column 5: expected '(', not 'new'");
  CHECK(error_of("1x > 2").substr(0, 9) == "column 1:");
  CHECK(error_of("") != "");
  CHECK(error_of(std::string(5000, ' ') + "new") == "a condition is at most 4096 characters long");
  CHECK(error_of(std::string(200, '(') + "1" + std::string(200, ')')).find("nested too deeply") != std::string::npos);
  CHECK(error_of(std::string(300, '-') + "1") == "");
}

TEST_CASE("only what is mentioned is asked for") {
  const Result<Condition> condition = Condition::compile("new > 3");
  CHECK(condition.value().mentions(ConditionName::kNew));
  CHECK_FALSE(condition.value().mentions(ConditionName::kOld));
}

}  // namespace
}  // namespace watcher

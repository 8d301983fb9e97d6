// Which events of a variable its condition, its share and its limit let through, by way of a ring.
#include <doctest/doctest.h>

#include <cmath>

#include "runtime/process/variable_filter.h"
#include "runtime/queue/ring_reader.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

/// A dictionary of its own, as a ring has one.
class Names {
 public:
  Names() : writer_(directory_.path()) { REQUIRE(writer_.error == 0); }

  EventView event(const FilterBlob& filter) {
    EventView event;
    event.filter_ref = dictionary().intern(BlobKind::kFilter, filter);
    event.variable_id = 7;
    event.variable_name = "counter";
    event.thread_id = 42;
    event.line = 3;
    return event;
  }
  DictionaryRef text(std::string_view text) { return dictionary().intern(text); }
  Dictionary& dictionary() { return writer_.ring.dictionary(); }

 private:
  TempDirectory directory_;
  Writer writer_;
};

ValueView number(std::int64_t value) {
  ValueView view;
  view.kind = ValueKind::kInt;
  view.word = static_cast<std::uint64_t>(value);
  return view;
}

ValueView with_bytes(ValueKind kind, std::string_view bytes) {
  ValueView view;
  view.kind = kind;
  view.bytes = bytes;
  view.total = bytes.size();
  return view;
}

TEST_CASE("a condition decides, and what it cannot decide is kept") {
  Names names;
  VariableFilter filter;
  EventView event = names.event({names.text("new > 100 and old <= 100"), 0, 1});
  const auto kept = [&](const ValueView& before, const ValueView& after) {
    event.before = before;
    event.after = after;
    return filter.keeps(event, names.dictionary(), 0);
  };
  CHECK(kept(number(100), number(101)));
  CHECK_FALSE(kept(number(101), number(102)));
  CHECK_FALSE(kept(number(101), number(100)));
  CHECK(kept(ValueView{}, number(101)));  // None <= 100 has no answer
  CHECK(kept(number(0), with_bytes(ValueKind::kBigInt, std::string_view("\0\0\0\0\0\0\0\0\1", 9))));
  CHECK_FALSE(kept(number(0), with_bytes(ValueKind::kBigInt, "\xff\xff\xff\xff\xff\xff\xff\xff\xfe")));
}

TEST_CASE("a condition sees where the change was, and elements of buffers as numbers") {
  Names names;
  VariableFilter filter;
  EventView event = names.event(
      {names.text("path == 'users.3.name' and name == 'counter' and thread == 42 and op == 'setitem'"), 0, 1});
  event.op = Op::kSetItem;
  event.path = {{PathKind::kText, 0, 0, "users"}, {PathKind::kIndex, 3, 0, {}}, {PathKind::kText, 0, 0, "name"}};
  CHECK(filter.keeps(event, names.dictionary(), 0));
  event.path.pop_back();
  CHECK_FALSE(filter.keeps(event, names.dictionary(), 0));

  EventView memory = names.event({names.text("new < -1.5"), 0, 1});
  memory.item_format = "d";
  memory.item_size = 8;
  double value = -2;
  memory.after = with_bytes(ValueKind::kMemory, {reinterpret_cast<const char*>(&value), sizeof value});
  CHECK(filter.keeps(memory, names.dictionary(), 0));
  value = 0;
  CHECK_FALSE(filter.keeps(memory, names.dictionary(), 0));
}

TEST_CASE("a share of the events is taken, the same ones each time") {
  Names names;
  VariableFilter filter, again;
  EventView event = names.event({0, 0, 0.25});
  int kept = 0;
  for (event.ticket = 0; event.ticket < 100000; ++event.ticket) {
    const bool keeps = filter.keeps(event, names.dictionary(), 0);
    CHECK(again.keeps(event, names.dictionary(), 0) == keeps);
    kept += keeps;
  }
  CHECK(std::abs(kept - 25000) < 1000);
}

TEST_CASE("no more than so many a second, counted for each variable") {
  Names names;
  VariableFilter filter;
  EventView event = names.event({0, 3, 1});
  const auto kept_of_ten = [&](std::uint64_t timestamp_ns) {
    int kept = 0;
    for (int i = 0; i < 10; ++i) kept += filter.keeps(event, names.dictionary(), timestamp_ns);
    return kept;
  };
  CHECK(kept_of_ten(5'000'000'000) == 3);
  CHECK(kept_of_ten(5'999'999'999) == 0);
  CHECK(kept_of_ten(6'000'000'000) == 3);
  event.variable_id = 8;
  CHECK(kept_of_ten(6'000'000'000) == 3);
}

TEST_CASE("without a filter, and with one that the ring does not hold, every event is kept") {
  Names names;
  VariableFilter filter;
  EventView event;
  CHECK(filter.keeps(event, names.dictionary(), 0));
  event.filter_ref = 12345;
  CHECK(filter.keeps(event, names.dictionary(), 0));
}

}  // namespace
}  // namespace watcher::test

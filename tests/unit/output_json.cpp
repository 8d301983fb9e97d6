// Lines are judged by Python's json module, which shares no code with ours.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <cmath>
#include <limits>
#include <random>

#include "runtime/output/json/big_int.h"
#include "runtime/output/json/event_json.h"
#include "runtime/output/json/utf8.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

EventView store_event() {
  EventView event;
  event.ticket = 5;
  event.variable_ref = event.place_ref = 1;
  event.variable_id = 0xff;
  event.variable_name = "counter";
  event.has_place = true;
  event.function = "main";
  event.file = "/app.py";
  event.line = 3;
  event.thread_id = 42;
  event.scope = Scope::kLocal;
  return event;
}

ValueView value_of(ValueKind kind, std::string_view bytes, std::uint64_t total = 0) {
  ValueView value;
  value.kind = kind;
  value.bytes = bytes;
  value.total = total != 0 ? total : bytes.size();
  return value;
}

ValueView inline_value(ValueKind kind, std::uint64_t word) {
  ValueView value;
  value.kind = kind;
  value.word = word;
  return value;
}

ValueView float_value(double value) {
  return inline_value(ValueKind::kFloat, __builtin_bit_cast(std::uint64_t, value));
}

std::string line_of(const EventView& event, DeltaStyle style = {}, std::uint64_t dropped = 0) {
  EventJson json(RingIdentity{.pid = 9, .run_id = 1, .start_tsc = 2, .start_realtime_ns = 0}, style);
  Delta delta;
  compare(event.before, event.after, &delta);
  JsonBuffer out;
  json.append(event, &delta, 1234567890123456789, &out);
  if (dropped != 0) EventJson::tell_dropped(out.size(), dropped, &out);
  return std::string(out.text());
}

std::string member(const std::string& line, const std::string& from, const std::string& to) {
  const std::size_t start = line.find("\"" + from + "\":") + from.size() + 3;
  return line.substr(start, line.find(",\"" + to + "\":", start) - start);
}

std::string after_json(const ValueView& value) {
  EventView event = store_event();
  event.after = value;
  return member(line_of(event), "after", "deltas");
}

EventView memory_event(std::string_view format, std::uint32_t size, std::uint64_t offset, std::string_view before,
                       std::string_view after) {
  EventView event = store_event();
  event.op = Op::kWrite;
  event.is_memory = true;
  event.item_format = format;
  event.item_size = size;
  event.memory_offset = offset;
  event.instruction = 0x7f00;
  event.before = value_of(ValueKind::kMemory, before);
  event.after = value_of(ValueKind::kMemory, after);
  return event;
}

std::string line_of_bulk(const EventView& event, DeltaStyle style = {}) {
  EventJson json(RingIdentity{.pid = 9, .run_id = 1, .start_tsc = 2, .start_realtime_ns = 0}, style);
  Delta delta;
  compare(event, &delta);
  JsonBuffer out;
  json.append(event, &delta, 1, &out);
  return std::string(out.text());
}

}  // namespace

TEST_CASE("a bulk event shows where it wrote, the first bytes of it, and what it left out") {
  const auto bytes = [](std::initializer_list<short> items) {
    std::string text;
    for (const short item : items) text.append(reinterpret_cast<const char*>(&item), sizeof item);
    return text;
  };
  const std::string before = bytes({1, 2, 9});
  const std::string after = bytes({3, 4, 8});
  EventView event = memory_event("h", 2, 4, before, after);
  event.is_bulk = true;
  event.coalesced = 5;
  event.ranges = {{4, 4, 4}, {20, 100, 2}};
  event.changed_bytes = 40;
  event.before.total = event.after.total = 116;
  const std::string line = line_of_bulk(event);
  CHECK(member(line, "path", "before") == R"(["2:60"])");
  CHECK(member(line, "after", "deltas") == R"({"type":"int[]","repr":"03000400","truncated":116})");
  CHECK(member(line, "deltas", "deltas_total") ==
        R"([{"offset":4,"before":"0x1","after":"0x3"},{"offset":6,"before":"0x2","after":"0x4"},)"
        R"({"offset":20,"before":"0x9","after":"0x8"}])");
  CHECK(member(line, "deltas_total", "sql_context") == R"(40,"ranges":[[4,4],[20,100]])");
  CHECK(line.find("\"exact\":true,\"coalesced\":5}") != std::string::npos);
  CHECK(line_of_bulk(event, {.depth = 1}).find(R"("after":"0x3"}],"deltas_total":40,)") != std::string::npos);

  const std::string whole_before = bytes({1, 2});
  const std::string whole_after = bytes({3, 4});
  event.before = value_of(ValueKind::kMemory, whole_before);
  event.after = value_of(ValueKind::kMemory, whole_after);
  event.ranges = {{4, 4, 4}};
  event.changed_bytes = 2;
  const std::string whole = line_of_bulk(event, {.as_ranges = true});
  CHECK(member(whole, "after", "deltas") == R"({"type":"int[]","value":[3,4]})");
  CHECK(member(whole, "deltas", "sql_context") ==
        R"([{"offset":4,"before":"01","after":"03"},{"offset":6,"before":"02","after":"04"}])");

  event.before = event.after = value_of(ValueKind::kMemory, {});
  event.ranges.clear();
  event.changed_bytes = event.memory_offset = 0;
  CHECK(member(line_of_bulk(event), "path", "before") == "[]");
  CHECK(member(line_of_bulk(event), "deltas", "sql_context") == "[]");
}

TEST_CASE("a store of an int is the documented line") {
  EventView event = store_event();
  event.before = inline_value(ValueKind::kInt, 0);
  event.after = inline_value(ValueKind::kInt, 1);
  CHECK(line_of(event) ==
        "{\"schema\":1,\"event_id\":\"evt-0000000100000002-9-5\",\"timestamp_ns\":1234567890123456789,\"pid\":9,"
        "\"variable_id\":\"00000000000000ff\",\"variable_name\":\"counter\",\"function\":\"main\",\"file\":\"/app.py\","
        "\"line\":3,\"thread_id\":42,\"scope\":\"local\",\"op\":\"store\",\"path\":[],"
        "\"before\":{\"type\":\"int\",\"value\":0},\"after\":{\"type\":\"int\",\"value\":1},"
        "\"deltas\":[{\"offset\":0,\"before\":\"0x0\",\"after\":\"0x1\"}],\"sql_context\":null,\"exact\":true}\n");
}

TEST_CASE("a statement of SQL is told with what is known of it") {
  EventView event = store_event();
  event.has_sql = true;
  event.sql_statement = "select 1";
  event.sql_operation = "SELECT";
  event.sql_driver = "sqlite3";
  CHECK(member(line_of(event), "sql_context", "exact") ==
        R"({"statement":"select 1","operation":"SELECT","driver":"sqlite3","database":null})");
  event.sql_database = "shop";
  event.sql_params = "(1)";
  event.sql_cut = true;
  event.sql_statement = {};
  CHECK(
      member(line_of(event), "sql_context", "exact") ==
      R"sql({"statement":null,"operation":"SELECT","driver":"sqlite3","database":"shop","params":"(1)","cut":true})sql");
}

TEST_CASE("marks appear only when they say something") {
  EventView event = store_event();
  event.exact = event.exact_line = false;
  event.coalesced = 3;
  event.thread_name = "worker";
  event.task = "Task-1";
  const std::string line = line_of(event, {}, 17);
  CHECK(line.find("\"thread_name\":\"worker\",\"task\":\"Task-1\",\"exact\":false,\"exact_line\":false,\"coalesced\":3,"
                  "\"dropped_before\":17}") != std::string::npos);
}

TEST_CASE("values of every kind") {
  CHECK(after_json(inline_value(ValueKind::kUnbound, 0)) == "null");
  CHECK(after_json(inline_value(ValueKind::kNone, 0)) == R"({"type":"NoneType","value":null})");
  CHECK(after_json(inline_value(ValueKind::kBool, 1)) == R"({"type":"bool","value":true})");
  CHECK(after_json(inline_value(ValueKind::kInt, ~0ull)) == R"({"type":"int","value":-1})");
  CHECK(after_json(float_value(0.1)) == R"({"type":"float","value":0.1})");
  CHECK(after_json(float_value(NAN)) == R"({"type":"float","repr":"nan"})");
  CHECK(after_json(float_value(-INFINITY)) == R"({"type":"float","repr":"-inf"})");
  CHECK(after_json(value_of(ValueKind::kText, "a\"\n\x01")) == "{\"type\":\"str\",\"value\":\"a\\\"\\n\\u0001\"}");
  CHECK(after_json(value_of(ValueKind::kText, "\xed\xa0\x80x")) ==
        "{\"type\":\"str\",\"value\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"}");
  CHECK(after_json(value_of(ValueKind::kText, "ab\xc3", 10)) == R"({"type":"str","value":"ab","truncated":10})");
  CHECK(after_json(value_of(ValueKind::kBytes, std::string_view("a'\\\0", 4))) ==
        R"({"type":"bytes","repr":"b'a\\'\\\\\\x00'"})");
  ValueView object = value_of(ValueKind::kObject, "<Point 1>", 500);
  object.type_name = "Point";
  CHECK(after_json(object) == R"({"type":"Point","repr":"<Point 1>","truncated":500})");
}

TEST_CASE("integers of any size") {
  CHECK(after_json(value_of(ValueKind::kBigInt, std::string_view("\xff\xff\xff\xff\xff\xff\xff\x7f", 8))) ==
        R"({"type":"int","value":9223372036854775807})");
  CHECK(after_json(value_of(ValueKind::kBigInt, std::string_view("\0\0\0\0\0\0\0\x80\0", 9))) ==
        R"({"type":"int","repr":"9223372036854775808"})");
  CHECK(integer_text(std::string_view("\0\0\0\0\0\0\0\0\x01", 9)) == "18446744073709551616");
  CHECK(integer_text(std::string_view("\0\0\0\0\0\0\0\0\xff", 9)) == "-18446744073709551616");
  CHECK(integer_text(std::string(16, '\xff')) == "-1");
  CHECK(integer_text(std::string(16, '\0')) == "0");
  CHECK(integer_text(std::string(kMaxDecimalBytes + 1, '\x11')).starts_with("0x1111"));
}

TEST_CASE("elements of memory: one by its index, several by a range, many as hex") {
  const std::string line =
      line_of(memory_event("q", 8, 24, std::string(8, '\0'), std::string("\x05\0\0\0\0\0\0\0", 8)));
  CHECK(member(line, "path", "before") == "[3]");
  CHECK(member(line, "before", "after") == R"({"type":"int","value":0})");
  CHECK(member(line, "after", "deltas") == R"({"type":"int","value":5})");
  CHECK(member(line, "deltas", "sql_context") == R"([{"offset":24,"before":"0x0","after":"0x5"}])");
  CHECK(line.find("\"ip\":\"0x7f00\"") != std::string::npos);
  CHECK(line.find("system_call") == std::string::npos);

  const std::string several = line_of(memory_event("B", 1, 2, "abc", "abd"));
  CHECK(member(several, "path", "before") == R"(["2:5"])");
  CHECK(member(several, "after", "deltas") == R"({"type":"int[]","value":[97,98,100]})");
  CHECK(member(several, "deltas", "sql_context") == R"([{"offset":4,"before":"0x63","after":"0x64"}])");

  const std::string many = line_of(memory_event("B", 1, 0, std::string(65, '\0'), std::string(65, '\1')));
  CHECK(member(many, "before", "after") == R"({"type":"int[]","repr":")" + std::string(130, '0') + "\"}");
  const double nan = NAN;
  CHECK(member(line_of(memory_event("d", 8, 0, std::string(8, '\0'), {reinterpret_cast<const char*>(&nan), 8})),
               "after", "deltas") == R"({"type":"float","repr":"nan"})");
  CHECK(member(line_of(memory_event("T{i:a:}", 4, 4, "abcd", "abce")), "after", "deltas") ==
        R"({"type":"bytes","repr":"b'abce'"})");
}

TEST_CASE("a write of the kernel names its system call, and has no instruction") {
  EventView event = memory_event("B", 1, 0, "a", "b");
  event.op = Op::kKernelWrite;
  event.instruction = 0;
  event.system_call = 1;
  const std::string line = line_of(event);
  CHECK(line.find(R"("system_call":"read")") != std::string::npos);
  CHECK(line.find("\"ip\"") == std::string::npos);
  event.system_call = 5000;
  CHECK(line_of(event).find(R"("system_call":4999)") != std::string::npos);
}

TEST_CASE("a span is told as W3C spells it") {
  EventView event = store_event();
  CHECK(line_of(event).find("trace_id") == std::string::npos);
  event.span = {.trace_id = {0, 1, 0xab}, .span_id = {0xfe}, .flags = 1, .known = 1, .reserved = {}};
  CHECK(line_of(event).find(
            R"("trace_id":"0001ab00000000000000000000000000","span_id":"fe00000000000000","trace_flags":"01")") !=
        std::string::npos);
}

TEST_CASE("beyond the depth the total and merged ranges say what was left out") {
  EventView event = store_event();
  event.before = value_of(ValueKind::kBytes, std::string_view("aaaaaaaaaa"));
  event.after = value_of(ValueKind::kBytes, std::string_view("bbbaaabbaaa"));
  const std::string line = line_of(event, DeltaStyle{.depth = 2});
  CHECK(member(line, "deltas", "deltas_total") ==
        R"([{"offset":0,"before":"0x61","after":"0x62"},{"offset":1,"before":"0x61","after":"0x62"},)"
        R"({"size_change":"10 -> 11"}])");
  CHECK(member(line, "deltas_total", "ranges") == "5");
  CHECK(member(line, "ranges", "sql_context") == "[[0,3],[6,2]]");
  CHECK(member(line_of(event, DeltaStyle{.as_ranges = true}), "deltas", "sql_context") ==
        R"([{"offset":0,"before":"616161","after":"626262"},{"offset":6,"before":"6161","after":"6262"},)"
        R"({"size_change":"10 -> 11"}])");
}

TEST_CASE("paths of keys, indexes and ranges") {
  EventView event = store_event();
  event.path = {{PathKind::kText, 0, 0, "users"}, {PathKind::kIndex, 3, 0, {}}, {PathKind::kRange, 1, 4, {}}};
  CHECK(member(line_of(event), "path", "before") == R"(["users",3,"1:4"])");
}

TEST_CASE("hostile values: every line is one valid JSON object for Python's json") {
  const test::TempDirectory directory;
  std::ofstream out(directory.file("lines"), std::ios::binary);
  std::mt19937_64 random(3);
  constexpr int kLines = 5000;
  for (int i = 0; i < kLines; ++i) {
    std::string bytes(random() % 300, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 3 == 0 ? random() % 40 : random());
    EventView event = store_event();
    event.variable_ref = static_cast<DictionaryRef>(i + 2);
    event.variable_name = event.function = event.file = event.task = bytes;
    event.op = static_cast<Op>(random() % static_cast<unsigned>(Op::kCount));
    event.path = {{PathKind::kText, 0, 0, bytes}};
    if (i % 5 == 0) {
      event = memory_event("d", 8, random() % 1000 * 8, {bytes.data(), bytes.size() / 16 * 8},
                           {bytes.data() + bytes.size() / 16 * 8, bytes.size() / 16 * 8});
    } else {
      event.before = value_of(static_cast<ValueKind>(5 + random() % 4), bytes, bytes.size() + random() % 2);
      event.before.type_name = bytes;
      event.after = i % 2 == 0 ? float_value(__builtin_bit_cast(double, random())) : value_of(ValueKind::kText, bytes);
    }
    out << line_of(event, DeltaStyle{.depth = 1 + random() % 200, .as_ranges = i % 3 == 0});
  }
  out.close();
  const std::string program =
      "import json,sys\n"
      "def refuse(x): raise ValueError(x)\n"
      "n=0\n"
      "for line in open(sys.argv[1],'rb'):\n"
      "  e=json.loads(line.decode('utf-8','strict'),parse_constant=refuse); n+=1\n"
      "  json.dumps(e,ensure_ascii=False).encode('utf-8','strict')\n"
      "  assert e['schema']==1 and isinstance(e['deltas'],list) and set(e)>={'before','after','path','op','line'}\n"
      "assert n==" +
      std::to_string(kLines) + ",n\n";
  std::ofstream(directory.file("judge.py")) << program;
  CHECK(system(("/usr/bin/python3 " + directory.file("judge.py") + " " + directory.file("lines")).c_str()) == 0);
}

TEST_CASE("repair of text leaves valid text alone and replaces byte by byte what is not") {
  std::string scratch;
  for (const char* valid : {"", "plain", "h\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbf\xbf"})
    CHECK(valid_utf8(valid, &scratch).data() == valid);
  CHECK(valid_utf8("\xc0\xaf", &scratch) == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(valid_utf8("a\xff"
                   "b",
                   &scratch) ==
        "a\xef\xbf\xbd"
        "b");
  CHECK(valid_utf8("\xf4\x90\x80\x80", &scratch) == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(without_partial_tail("a\xe2\x82") == "a");
  CHECK(without_partial_tail("a\xe2\x82\xac") == "a\xe2\x82\xac");
}

}  // namespace watcher::test

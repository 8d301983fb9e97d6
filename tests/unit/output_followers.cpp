// What follows events.jsonl: the reader across rotation and other people's hands, the follower's position, OTLP's JSON.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <rapidjson/document.h>
#include <sys/file.h>

#include <functional>

#include "runtime/output/journal/event_lines.h"
#include "runtime/output/journal/journal_reader.h"
#include "runtime/output/journal/own_file.h"
#include "runtime/output/sinks/journal_follower.h"
#include "runtime/output/sinks/otlp_json.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

struct Journal {
  TempDirectory directory;
  UniqueFd fd = std::move(open_output_directory(directory.path()).value());

  void append(const std::string& text, const char* name = "events.jsonl") const {
    const UniqueFd file(open(directory.file(name).c_str(), O_CREAT | O_APPEND | O_WRONLY, 0600));
    CHECK(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void move(const char* from, const char* to) const {
    CHECK(rename(directory.file(from).c_str(), directory.file(to).c_str()) == 0);
  }
};

std::string read_all(JournalReader& reader) {
  std::string all;
  for (int idle = 0; idle < 15; ++idle) {
    const std::string lines(reader.lines());
    reader.consume(lines.size());
    all += lines;
    lines.empty() ? void(usleep(10'000)) : void(idle = 0);
  }
  return all;
}

/// Takes one line at a time, as long as it is willing.
class OneByOne final : public Sink {
 public:
  explicit OneByOne(std::string* taken, int willing) : taken_(*taken), willing_(willing) {}
  const char* name() const override { return "test"; }
  bool resume(std::uint64_t state) override { return (state_ = state, true); }
  std::uint64_t state() const override { return state_; }
  std::uint64_t patience_ms() const override { return 5'000; }
  std::size_t take(std::string_view lines) override {
    if (willing_-- <= 0) return 0;
    const std::size_t end = lines.find('\n') + 1;
    taken_ += lines.substr(0, end);
    ++state_;
    count(1, 0);
    return end;
  }

 private:
  std::string& taken_;
  int willing_;
  std::uint64_t state_ = 0;
};

void follow(
    const Journal& journal, std::string* taken, int willing = 1000, std::function<void()> meanwhile = [] {}) {
  auto follower = JournalFollower::open(journal.fd.get(), std::make_unique<OneByOne>(taken, willing));
  REQUIRE(follower);
  meanwhile();
  follower.value()->finish();
}

rapidjson::Document request_of(const std::string& line) {
  OtlpRequest request(OtlpAttributes{{"service.name", "a\"b"}});
  REQUIRE(request.add(line));
  rapidjson::Document document;
  document.Parse(request.finish().c_str());
  REQUIRE_FALSE(document.HasParseError());
  return document;
}

}  // namespace

TEST_CASE("a reader goes through the files put aside, then to events.jsonl, and leaves a torn tail behind") {
  const Journal journal;
  journal.append("1\n");
  JournalReader reader(journal.fd.get());
  JournalPosition start = journal_end(journal.fd.get());
  start.offset = 0;
  reader.seek(start);
  CHECK(reader.lines() == "1\n");
  reader.consume(2);
  journal.append("2\n{\"torn");
  journal.move("events.jsonl", "events-000001.jsonl");
  journal.append("3\n", "events-000002.jsonl");
  journal.append("packed", "events-000003.jsonl.gz");
  journal.append("4\n5");
  CHECK(read_all(reader) == "2\n3\n4\n");
  journal.append("\n");
  CHECK(read_all(reader) == "5\n");
  CHECK(reader.is_in_last_file());
}

TEST_CASE("a reader waits for what is still written to a file that was just put aside") {
  const Journal journal;
  journal.append("1\n");
  JournalReader reader(journal.fd.get());
  reader.seek(JournalPosition());
  CHECK(read_all(reader) == "1\n");
  journal.move("events.jsonl", "elsewhere");
  journal.append("3\n");
  CHECK(reader.lines().empty());
  CHECK_FALSE(reader.is_in_last_file());
  journal.append("2\n", "elsewhere");
  CHECK(read_all(reader) == "2\n3\n");
}

TEST_CASE("a position in a file that is gone, or was replaced, is the start of events.jsonl") {
  const Journal journal;
  journal.append("1\n2\n");
  const JournalPosition end = journal_end(journal.fd.get());
  CHECK(end.offset == 4);
  JournalReader reader(journal.fd.get());
  reader.seek(end);
  CHECK(read_all(reader).empty());
  CHECK(unlink(journal.directory.file("events.jsonl").c_str()) == 0);
  CHECK(read_all(reader).empty());
  journal.append("3\n4\n5\n");
  CHECK(read_all(reader) == "3\n4\n5\n");
  reader.seek(end);
  CHECK(read_all(reader) == "3\n4\n5\n");
}

TEST_CASE("a follower begins with what is written after it, goes on where the last one was, and is the only one") {
  const Journal journal;
  journal.append("old\n");
  std::string taken;
  follow(journal, &taken, 2, [&] { journal.append("1\n2\n3\n"); });
  CHECK(taken == "1\n2\n");
  journal.append("4\n");
  journal.move("events.jsonl", "events-000001.jsonl");
  journal.append("5\n");
  follow(journal, &taken);
  CHECK(taken == "1\n2\n3\n4\n5\n");
  journal.append("6\n");
  {
    const UniqueFd other(open(journal.directory.file("test.position").c_str(), O_RDWR));
    REQUIRE(flock(other.get(), LOCK_EX) == 0);
    follow(journal, &taken);
    CHECK(taken == "1\n2\n3\n4\n5\n");
  }
  follow(journal, &taken);
  CHECK(taken == "1\n2\n3\n4\n5\n6\n");
}

TEST_CASE("files that a follower still reads are in use") {
  const Journal journal;
  std::string taken;
  auto follower = JournalFollower::open(journal.fd.get(), std::make_unique<OneByOne>(&taken, 1));
  REQUIRE(follower);
  for (int attempt = 0; attempt < 200 && follower.value()->sink().delivered() == 0; ++attempt) {
    if (attempt == 0) journal.append("1\n2\n");
    usleep(10'000);
  }
  journal.move("events.jsonl", "events-000004.jsonl");
  CHECK(follower.value()->first_file_in_use() == 4);
  follower.value()->finish();
  CHECK(taken == "1\n");
  follow(journal, &taken);
  CHECK(taken == "1\n2\n");
}

TEST_CASE("a damaged position file does no harm") {
  for (const std::string& content : {std::string("x"), std::string(48, '\0'), std::string(1000, '\xff')}) {
    const Journal journal;
    journal.append("old\n");
    journal.append(content, "test.position");
    std::string taken;
    follow(journal, &taken, 9, [&] { journal.append("1\n"); });
    CHECK(taken == "1\n");
  }
}

TEST_CASE("an event becomes a log record: every value with its type, exactly") {
  const auto request = request_of(
      R"({"event_id":"e-1","timestamp_ns":1795395011853635426,"variable_name":"s","line":3,"pid":7,"function":null,)"
      R"("a":[1,[],{},"\u0000\"",true,null,-1.5e300,9223372036854775808,-9223372036854775808],)"
      R"("trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","trace_flags":"01"})");
  const auto& resource = request["resourceLogs"][0];
  CHECK(resource["resource"]["attributes"][0]["value"]["stringValue"].GetString() == std::string("a\"b"));
  const auto& record = resource["scopeLogs"][0]["logRecords"][0];
  CHECK(record["timeUnixNano"].GetString() == std::string("1795395011853635426"));
  CHECK(record["traceId"].GetString() == std::string("0af7651916cd43dd8448eb211c80319c"));
  CHECK(record["spanId"].GetString() == std::string("b7ad6b7169203331"));
  CHECK(record["flags"].GetUint() == 1);
  CHECK(record["attributes"].Size() == 4);
  const auto& members = record["body"]["kvlistValue"]["values"];
  REQUIRE(members.Size() == 10);
  CHECK(members[5]["value"].ObjectEmpty());
  const auto& items = members[6]["value"]["arrayValue"]["values"];
  CHECK(items[0]["intValue"].GetString() == std::string("1"));
  CHECK(items[1]["arrayValue"]["values"].Empty());
  CHECK(items[2]["kvlistValue"]["values"].Empty());
  CHECK(items[3]["stringValue"].GetStringLength() == 2);
  CHECK(items[4]["boolValue"].GetBool());
  CHECK(items[5].ObjectEmpty());
  CHECK(items[6]["doubleValue"].GetDouble() == -1.5e300);
  CHECK(items[7]["stringValue"].GetString() == std::string("9223372036854775808"));
  CHECK(items[8]["intValue"].GetString() == std::string("-9223372036854775808"));
}

TEST_CASE("what is no event is left out of a request, and the others stay whole") {
  OtlpRequest request(OtlpAttributes{});
  for (const char* line : {"", "[]", "7", "{", "{\"timestamp_ns\":1", "{\"a\":1}", "{\"timestamp_ns\":\"1\"}", "\xff"})
    CHECK_FALSE(request.add(line));
  CHECK(request.add("{\"timestamp_ns\":1}"));
  CHECK_FALSE(request.add("{\"timestamp_ns\":2,\"x\":[[[["));
  CHECK(request.add("{\"timestamp_ns\":3,\"trace_id\":\"00000000000000000000000000000000\",\"span_id\":\"x\"}"));
  CHECK(request.records() == 2);
  rapidjson::Document document;
  document.Parse(request.finish().c_str());
  REQUIRE_FALSE(document.HasParseError());
  const auto& records = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
  REQUIRE(records.Size() == 2);
  CHECK_FALSE(records[1].HasMember("traceId"));
}

}  // namespace watcher::test

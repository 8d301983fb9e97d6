// What workers may answer, what is kept of events on their way through them, and the built-in processors.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <rapidjson/document.h>

#include <random>

#include "config/processor_spec.h"
#include "runtime/process/builtin_processors.h"
#include "runtime/process/chain_event.h"
#include "runtime/process/spool.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

using Kind = Reply::Kind;

bool is_json_object(std::string_view text) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  return !document.HasParseError() && document.IsObject();
}

TEST_CASE("an answer has one form for each action; everything else is nonsense") {
  CHECK(parse_reply(R"({"action":"pass"})").kind == Kind::kPass);
  CHECK(parse_reply(R"({"action":"drop"})").kind == Kind::kDrop);
  CHECK(parse_reply(R"({"ready":true})").kind == Kind::kReady);
  const Reply annotate = parse_reply(R"({"action":"annotate","annotations":{"a":[1,{"b":"}"}]}})");
  CHECK(annotate.kind == Kind::kAnnotate);
  CHECK(annotate.content == R"({"a":[1,{"b":"}"}]})");
  CHECK(parse_reply(R"({"action":"enrich","extra":{}})").kind == Kind::kEnrich);
  const Reply failure = parse_reply(R"({"error":"no \"x\" \u00e9"})");
  CHECK(failure.kind == Kind::kFailure);
  CHECK(decoded_text(failure.content) == "no \"x\" \xc3\xa9");
  CHECK(parse_reply(R"({"action":"annotate","annotations":[1]})").kind == Kind::kFailure);
  for (const char* text : {"", "pass", "{}", R"({"action":"Pass"})", R"({"error":"a","b":"c"})", R"({"error":"a)"})
    CHECK(parse_reply(text).kind == Kind::kNonsense);
}

TEST_CASE("what would break the line is never let through") {
  for (const char* content : {R"({"a":1},"event_id":{"b":2})", "{\"a\":\"\xff\"}", R"({"a":NaN})", R"({"a":)", "{}}",
                              "{} ", "", "{\"a\":\"\n\"}"})
    CHECK(parse_reply(std::string(R"({"action":"annotate","annotations":)") + content + "}").kind == Kind::kFailure);
  const std::string with_end = std::string("{}") + '\0' + "}";
  CHECK(parse_reply(R"({"action":"annotate","annotations":)" + with_end + "}").kind == Kind::kFailure);
  const auto nested = [](std::size_t depth) {
    return R"({"action":"enrich","extra":{"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}}";
  };
  CHECK(parse_reply(nested(60)).kind == Kind::kEnrich);
  CHECK(parse_reply(nested(64)).kind == Kind::kFailure);
  CHECK(parse_reply(nested(400'000)).kind == Kind::kFailure);
}

TEST_CASE("two processors' objects are joined, the later value of a key stays") {
  CHECK(merge_objects(R"({"a":1,"b":{"a":2}})", R"({"c":3})") == R"({"a":1,"b":{"a":2},"c":3})");
  CHECK(merge_objects(R"({ "a" : 1 , "b" : [1, 2] })", R"({"a":"x"})") == R"({"b" : [1, 2],"a":"x"})");
  CHECK(merge_objects("{}", "{}") == "{}");
  CHECK(merge_objects(R"({"k\"":1,"\\":2})", R"({"\\":3,"n":12345678901234567890123})") ==
        R"({"k\"":1,"\\":3,"n":12345678901234567890123})");
}

TEST_CASE("an event's line with what was added is an object still") {
  ChainEvent event{.line = R"({"a":1})", .annotations = {}, .extra = {}};
  std::string out;
  event.append_to(&out);
  CHECK(out == "{\"a\":1}\n");
  event.annotations = R"({"b":2})";
  event.extra = "{}";
  out.clear();
  event.append_to(&out);
  CHECK(out == "{\"a\":1,\"annotations\":{\"b\":2},\"extra\":{}}\n");
}

TEST_CASE("random damage to an answer gives nonsense, a failure, or valid JSON") {
  std::mt19937 random(7);
  const std::string whole = R"({"action":"annotate","annotations":{"k\"":[1,-2.5e3,true,null,"\u00e9"],"o":{"p":{}}}})";
  for (int round = 0; round < 50'000; ++round) {
    std::string text = whole;
    for (int change = 0; change < 1 + round % 3; ++change) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0)
        text[at] = static_cast<char>(random());
      else
        text.erase(at, 1 + random() % 3);
      if (text.empty()) text.push_back('{');
    }
    const Reply reply = parse_reply(text);
    if (reply.kind != Kind::kAnnotate && reply.kind != Kind::kEnrich) continue;
    REQUIRE(is_json_object(reply.content));
    REQUIRE(is_json_object(merge_objects(reply.content, reply.content)));
  }
}

EventChunk chunk_of(std::initializer_list<const char*> lines, std::uint64_t run_id = kRunId) {
  EventChunk chunk{.run_id = run_id, .infos = {}, .text = {}};
  for (const char* line : lines) {
    chunk.text += std::string(line) + '\n';
    chunk.infos.push_back({.variable_id = 7, .coalesced = 0, .bytes = static_cast<std::uint32_t>(strlen(line) + 1)});
  }
  return chunk;
}

class Directory : public TempDirectory {
 public:
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_{open(path().c_str(), O_RDONLY | O_DIRECTORY)};
};

TEST_CASE("what a dead collector has left in its spool is found again, from where it was done") {
  const Directory directory;
  {
    auto spool = Spool::create(directory.fd());
    REQUIRE(spool);
    const auto first = spool.value()->append(chunk_of({"{\"a\":1}", "{\"a\":2}"}));
    const auto second = spool.value()->append(chunk_of({"{\"a\":3}", "{\"a\":4}", "{\"a\":5}"}));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(Spool::adopt(directory.fd(), Spool::names(directory.fd())[0]) == nullptr);  // its owner lives
    spool.value()->note_done(*first, 2, true);
    spool.value()->note_done(*second, 1, false);
  }
  const auto names = Spool::names(directory.fd());
  REQUIRE(names.size() == 1);
  const auto spool = Spool::adopt(directory.fd(), names[0]);
  REQUIRE(spool != nullptr);
  const auto places = spool->unfinished();
  REQUIRE(places.size() == 1);
  CHECK(places[0].lines == 3);
  CHECK(places[0].first == 1);
  const auto chunk = spool->read(places[0]);
  REQUIRE(chunk);
  CHECK(chunk->text == "{\"a\":3}\n{\"a\":4}\n{\"a\":5}\n");
  CHECK(chunk->run_id == kRunId);
  spool->note_done(places[0], 3, true);
  CHECK(spool->unfinished().empty());
  spool->remove();
  CHECK(Spool::names(directory.fd()).empty());
}

TEST_CASE("a spool cut or damaged anywhere gives whole lines or nothing") {
  const Directory directory;
  const std::string path = directory.file("spool.1");
  std::string whole;
  {
    auto spool = Spool::create(directory.fd());
    REQUIRE(spool);
    for (int i = 0; i < 4; ++i) REQUIRE(spool.value()->append(chunk_of({"{\"a\":1}", "{\"b\":2}"})));
    whole = read_text(directory.file(Spool::names(directory.fd())[0].c_str()));
    spool.value()->remove();
  }
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole.substr(0, round % 2 == 0 ? random() % whole.size() : whole.size());
    for (int change = 0; change < round % 4 && !text.empty(); ++change)
      text[random() % text.size()] = static_cast<char>(random());
    std::ofstream(path, std::ios::binary) << text;
    const auto spool = Spool::adopt(directory.fd(), "spool.1");
    if (spool == nullptr) continue;
    for (const Spool::Place& place : spool->unfinished()) {
      const auto chunk = spool->read(place);
      if (!chunk) continue;
      REQUIRE(chunk->text.ends_with("}\n"));
      REQUIRE(place.first <= place.lines);
    }
  }
}

struct Sample {
  std::string name = "counter", file = "/srv/app.py", function = "main", thread = "MainThread";
  std::int64_t before = 1, after = 2;
  std::uint64_t id = 7, time_ns = 5'000'000'000, changed = 1;
};

/// The same event from the ring and as a line.
std::pair<bool, bool> asked(BuiltinProcessor& of_ring, BuiltinProcessor& of_line, const Sample& sample) {
  EventView view;
  view.variable_id = sample.id;
  view.variable_name = sample.name;
  view.file = sample.file;
  view.function = sample.function;
  view.thread_name = sample.thread;
  view.thread_id = 42;
  view.scope = Scope::kLocal;
  view.line = 3;
  view.has_place = true;
  view.path = {{PathKind::kText, 0, 0, "users"}, {PathKind::kIndex, 3, 0, {}}};
  view.before.kind = view.after.kind = ValueKind::kInt;
  view.before.word = static_cast<std::uint64_t>(sample.before);
  view.after.word = static_cast<std::uint64_t>(sample.after);
  Delta delta;
  delta.changed_bytes = sample.changed;
  std::string deltas;
  for (std::uint64_t i = 0; i < sample.changed; ++i) deltas += i == 0 ? "{}" : ",{}";
  char line[1024];
  snprintf(line, sizeof line,
           R"({"timestamp_ns":%lu,"variable_id":"%016lx","variable_name":"%s","function":"%s","file":"%s","line":3,)"
           R"("thread_id":42,"scope":"local","op":"store","path":["users",3],"before":{"type":"int","value":%ld},)"
           R"("after":{"type":"int","value":%ld},"deltas":[%s],"sql_context":null,"thread_name":"%s","exact":true})",
           sample.time_ns, sample.id, sample.name.c_str(), sample.function.c_str(), sample.file.c_str(), sample.before,
           sample.after, deltas.c_str(), sample.thread.c_str());
  return {of_ring.keeps(RingEventFacts(view, delta, sample.time_ns)), of_line.keeps(LineFacts(line))};
}

struct Pair {
  explicit Pair(const FilterSpec& spec) : of_ring(spec), of_line(spec) {}
  bool keeps(const Sample& sample) {
    const auto [ring, line] = asked(of_ring, of_line, sample);
    CHECK(ring == line);
    return ring;
  }
  FilterProcessor of_ring, of_line;
};

TEST_CASE("a filter is the same on events of a ring and on lines") {
  const auto keeps = [](void (*shape)(FilterSpec&), const Sample& sample = {}) {
    FilterSpec spec;
    shape(spec);
    return Pair(spec).keeps(sample);
  };
  CHECK(keeps([](FilterSpec&) {}));
  CHECK(keeps([](FilterSpec& s) { s.names = {"x", "count*"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.names = {"x"}; }));
  CHECK(keeps([](FilterSpec& s) { s.files = {"app.py"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.files = {"pp.py"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.functions = {"Worker.*"}; }));
  CHECK(keeps([](FilterSpec& s) { s.scopes = {"local"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.scopes = {"global", "both"}; }));
  CHECK(keeps([](FilterSpec& s) { s.threads = {"Main*"}; }));
  CHECK(keeps([](FilterSpec& s) { s.threads = {"42"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.threads = {"43", "Other"}; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.min_deltas = 2; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.max_deltas = 0; }));
  CHECK(keeps(
      [](FilterSpec& s) { s.when = "new == 2 and old == 1 and path == 'users.3' and line == 3 and op == 'store'"; }));
  CHECK_FALSE(keeps([](FilterSpec& s) { s.when = "new > 2"; }));
  CHECK(keeps([](FilterSpec& s) { s.when = "new > 'text'"; }));  // without an answer nothing is left out
  const auto drop = [](FilterSpec& s) { s.drop_fitting = true, s.names = {"counter"}, s.when = "new > 2"; };
  CHECK(keeps(drop));
  CHECK_FALSE(keeps(drop, {.after = 3}));
}

TEST_CASE("a filter's rate is a variable's, its repetitions are equal in all but time") {
  FilterSpec spec;
  spec.max_per_second = 2;
  Pair rate(spec);
  int kept = 0;
  for (int i = 0; i < 5; ++i) kept += rate.keeps({.after = i});
  CHECK(kept == 2);
  CHECK(rate.keeps({.id = 8}));
  CHECK(rate.keeps({.time_ns = 6'000'000'000}));

  spec = {};
  spec.fold_ms = 1000;
  Pair fold(spec);
  CHECK(fold.keeps({}));
  CHECK_FALSE(fold.keeps({.time_ns = 5'900'000'000}));
  CHECK(fold.keeps({.time_ns = 6'000'000'000}));  // told once a second
  CHECK(fold.keeps({.after = 3, .time_ns = 6'000'000'001}));
  CHECK(fold.keeps({.time_ns = 6'000'000'002}));
  CHECK(fold.keeps({.id = 8, .time_ns = 6'000'000'002}));
}

TEST_CASE("a log is a line of text an event, in a file of the output directory") {
  const Directory directory;
  {
    ProcessorSpec spec;
    spec.type = ProcessorSpec::Type::kLogging;
    auto ring = BuiltinProcessor::make(spec, directory.fd());
    auto line = BuiltinProcessor::make(spec, directory.fd());
    REQUIRE(ring);
    REQUIRE(line);
    CHECK(asked(*ring.value(), *line.value(), {}) == std::pair(true, true));
  }
  const auto lines = read_lines(directory.file("changes.log"));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == "1970-01-01T00:00:05.000000Z counter store: 1 -> 2 in main ('/srv/app.py', line 3) thread 42");
  CHECK(lines[0] == lines[1]);
}

}  // namespace
}  // namespace watcher::test

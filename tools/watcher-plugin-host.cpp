// watcher-plugin-host PLUGIN [ARGUMENTS...]: the worker process of a processor that is a shared object. Reads events
// (lines of JSON) from descriptor 3 and answers each on descriptor 4 before it begins the next one.
#include <dlfcn.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/process/plugin.h"

namespace {

constexpr int kEvents = 3;
constexpr int kReplies = 4;
constexpr std::size_t kLongestReply = 1 << 20;

using Create = decltype(&watcher_processor_create);

void send(std::string_view answer) {
  while (!answer.empty()) {
    const ssize_t written = write(kReplies, answer.data(), answer.size());
    if (written <= 0) _exit(EXIT_FAILURE);
    answer.remove_prefix(static_cast<std::size_t>(written));
  }
}

void send_failure(std::string_view why) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::ASCII<>> json(buffer);
  std::string printable(why.substr(0, 500));
  for (char& c : printable)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  json.StartObject();
  json.Key("error");
  json.String(printable.data(), static_cast<rapidjson::SizeType>(printable.size()));
  json.EndObject();
  buffer.Put('\n');
  send({buffer.GetString(), buffer.GetSize()});
}

/// One event as the plug-in sees it; everything points into the parsed line.
class Event {
 public:
  bool parse(const std::string& line) {
    document_.Parse<rapidjson::kParseIterativeFlag>(line.data(), line.size());
    if (document_.HasParseError() || !document_.IsObject()) return false;
    view_ = {};
    view_.size = sizeof view_;
    view_.line = static_cast<std::int32_t>(number("line"));
    view_.ts_ns = number("timestamp_ns");
    view_.tid = number("thread_id");
    view_.pid = number("pid");
    view_.event_id = text(document_, "event_id");
    view_.variable_id = text(document_, "variable_id");
    view_.variable_name = text(document_, "variable_name");
    view_.symbol = text(document_, "function");
    view_.file = text(document_, "file");
    view_.scope = text(document_, "scope");
    view_.op = text(document_, "op");
    const rapidjson::Value* sql = member(document_, "sql_context");
    view_.sql_statement = sql != nullptr ? text(*sql, "statement") : "";
    read_deltas();
    view_.json = line.c_str();
    view_.json_length = line.size();
    return true;
  }

  const watcher_processor_event& view() const { return view_; }

 private:
  /// Null when there is none.
  static const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
    if (!object.IsObject()) return nullptr;
    const auto found = object.FindMember(key);
    return found == object.MemberEnd() ? nullptr : &found->value;
  }

  static const char* text(const rapidjson::Value& object, const char* key) {
    const rapidjson::Value* found = member(object, key);
    return found != nullptr && found->IsString() ? found->GetString() : "";
  }

  std::uint64_t number(const char* key) const {
    const rapidjson::Value* found = member(document_, key);
    return found != nullptr && found->IsUint64() ? found->GetUint64() : 0;
  }

  void read_deltas() {
    deltas_.clear();
    const rapidjson::Value* list = member(document_, "deltas");
    if (list == nullptr || !list->IsArray()) return;
    for (const auto& delta : list->GetArray()) {
      const char *before = text(delta, "before"), *after = text(delta, "after");
      if (strncmp(before, "0x", 2) != 0 || strncmp(after, "0x", 2) != 0) continue;
      const rapidjson::Value* offset = member(delta, "offset");
      if (offset == nullptr || !offset->IsUint64()) continue;
      deltas_.push_back({offset->GetUint64(), static_cast<std::uint8_t>(strtoul(before, nullptr, 16)),
                         static_cast<std::uint8_t>(strtoul(after, nullptr, 16))});
    }
    view_.deltas = deltas_.data();
    view_.delta_count = deltas_.size();
    view_.change_count = list->Size();
  }

  rapidjson::Document document_;
  std::vector<watcher_delta> deltas_;
  watcher_processor_event view_{};
};

/// An object on one line; the collector checks that it is one.
void send_object(const char* before, const char* object) {
  std::string answer = before + std::string(object);
  std::ranges::replace(answer, '\n', ' ');
  answer += "}\n";
  if (answer.size() > kLongestReply) return send_failure("the reply is longer than 1 MiB");
  send(answer);
}

void answer(const watcher_response& response) {
  const bool adds = response.object != nullptr;
  switch (response.action) {
    case WATCHER_ACTION_DROP:
      return send("{\"action\":\"drop\"}\n");
    case WATCHER_ACTION_ANNOTATE:
      if (adds) return send_object(R"({"action":"annotate","annotations":)", response.object);
      break;
    case WATCHER_ACTION_ENRICH:
      if (adds) return send_object(R"({"action":"enrich","extra":)", response.object);
      break;
    case WATCHER_ACTION_FAIL:
      return send_failure(adds ? response.object : "the plug-in failed");
    case WATCHER_ACTION_PASS:
      break;
    default:
      return send_failure("the plug-in gave no action: pass, drop, annotate or enrich");
  }
  send("{\"action\":\"pass\"}\n");
}

void work(const watcher_processor& processor) {
  std::string pending, line;
  Event event;
  std::vector<char> block(1 << 18);
  for (ssize_t got; (got = read(kEvents, block.data(), block.size())) > 0;) {
    pending.append(block.data(), static_cast<std::size_t>(got));
    std::size_t start = 0;
    for (std::size_t end; (end = pending.find('\n', start)) != std::string::npos; start = end + 1) {
      line.assign(pending, start, end - start);
      watcher_response response{};
      if (!event.parse(line)) {
        send_failure("the event is no JSON object");
        continue;
      }
      processor.process(processor.state, &event.view(), &response);
      answer(response);
    }
    pending.erase(0, start);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: watcher-plugin-host PLUGIN [ARGUMENTS...]\nStarted by Watcher itself.\n");
    return 2;
  }
  void* plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const auto create = plugin != nullptr ? reinterpret_cast<Create>(dlsym(plugin, "watcher_processor_create")) : nullptr;
  watcher_processor processor{};
  const char* fault = plugin == nullptr ? dlerror() : "it exports no watcher_processor_create";
  if (create != nullptr)
    fault = create(WATCHER_PROCESSOR_ABI, static_cast<std::size_t>(argc - 2), argv + 2, &processor);
  if (fault == nullptr && processor.process == nullptr) fault = "its watcher_processor_create sets no process";
  if (fault != nullptr) {
    send_failure(fault);
    return EXIT_FAILURE;
  }
  send("{\"ready\":true}\n");
  work(processor);
  if (processor.destroy != nullptr) processor.destroy(processor.state);
  return EXIT_SUCCESS;
}

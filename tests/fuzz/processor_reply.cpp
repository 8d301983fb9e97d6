// Whatever a worker answers: what parse_reply lets through is JSON that another parser takes, alone and joined.
#include <rapidjson/document.h>
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/process/chain_event.h"

namespace {

void expect_object(std::string_view text) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  // a number beyond a double's range is JSON, too
  const bool too_large = document.GetParseError() == rapidjson::kParseErrorNumberTooBig;
  if (!too_large && (document.HasParseError() || !document.IsObject())) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string prefixed = "{\"action\":\"annotate\",\"annotations\":" + text + "}";
  for (const std::string& line : {text, prefixed}) {
    const watcher::Reply reply = watcher::parse_reply(line);
    if (reply.kind == watcher::Reply::Kind::kFailure) watcher::decoded_text(reply.content);
    if (reply.kind != watcher::Reply::Kind::kAnnotate && reply.kind != watcher::Reply::Kind::kEnrich) continue;
    expect_object(reply.content);
    expect_object(watcher::merge_objects(reply.content, R"({"a":1,"b":[{}]})"));
    expect_object(watcher::merge_objects(R"({"a":1,"b":[{}]})", reply.content));
    const watcher::ChainEvent event{
        .line = R"({"x":1})", .info = nullptr, .annotations = std::string(reply.content), .extra = "{}"};
    std::string out;
    event.append_to(&out);
    out.pop_back();
    expect_object(out);
  }
  return 0;
}

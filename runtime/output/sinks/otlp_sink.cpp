#include "runtime/output/sinks/otlp_sink.h"

#include <errno.h>
#include <rapidjson/document.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/output/journal/event_lines.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxRequestBytes = 4u << 20;
constexpr std::string_view kLogsPath = "/v1/logs";

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

std::string decode_percent(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    decoded += escape ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return decoded;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// "key=value,key=value" with %XX, as in OTEL_EXPORTER_OTLP_HEADERS.
Result<OtlpAttributes> parse_pairs(const char* option, std::string_view text) {
  OtlpAttributes pairs;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = pair.find('=');
    std::string key = decode_percent(trimmed(pair.substr(0, std::min(equals, pair.size()))));
    std::string value = equals == std::string_view::npos ? "" : decode_percent(trimmed(pair.substr(equals + 1)));
    if (key.empty() || equals == std::string_view::npos || (key + value).find_first_of("\r\n") != std::string::npos)
      return Error{EINVAL, std::string(option) + ": write key=value,key=value, with %2C for a comma in a value"};
    pairs.emplace_back(std::move(key), std::move(value));
  }
  return pairs;
}

void add_unless_there(OtlpAttributes* attributes, const char* key, std::string value) {
  const auto there = [key](const auto& pair) { return pair.first == key; };
  if (std::none_of(attributes->begin(), attributes->end(), there)) attributes->emplace_back(key, std::move(value));
}

std::string from_environment(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : "";
}

Result<OtlpAttributes> resource_of(const Options& options) {
  Result<OtlpAttributes> resource = parse_pairs("otlp_resource", options.get("otlp_resource"));
  if (!resource) return resource;
  if (const auto others = parse_pairs("OTEL_RESOURCE_ATTRIBUTES", from_environment("OTEL_RESOURCE_ATTRIBUTES")))
    for (const auto& [key, value] : others.value()) add_unless_there(&resource.value(), key.c_str(), value);
  const std::string service = from_environment("OTEL_SERVICE_NAME");
  add_unless_there(&resource.value(), "service.name", service.empty() ? "unknown_service" : service);
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0) add_unless_there(&resource.value(), "host.name", host);
  return resource;
}

std::string url_of(std::string endpoint) {
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint.ends_with(kLogsPath) ? endpoint : endpoint + std::string(kLogsPath);
}

/// What a collector says about records that it will never take.
std::uint64_t rejected_records(const std::string& body) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(body.data(), body.size());
  if (document.HasParseError()) return 0;
  const rapidjson::Value* partial = member(document, "partialSuccess");
  return partial == nullptr ? 0 : count_member(*partial, "rejectedLogRecords");  // a text, as all 64-bit numbers are
}

}  // namespace

Result<std::unique_ptr<Sink>> OtlpSink::open(const Options& options) {
  const std::string& endpoint = options.get("otlp_endpoint");
  if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://"))
    return Error{EINVAL, "otlp_endpoint: write a URL such as http://localhost:4318, not '" + endpoint + "'"};
  HttpClient::Request request{
      url_of(endpoint), {"Content-Type: application/json", "Expect:"}, options.number("otlp_timeout_ms")};
  const auto headers = parse_pairs("otlp_headers", options.get("otlp_headers"));
  if (!headers) return headers.error();
  for (const auto& [key, value] : headers.value()) request.headers.push_back(key + ": " + value);
  const auto resource = resource_of(options);
  if (!resource) return resource.error();
  auto client = HttpClient::open(request);
  if (!client) return Error{client.error().code, "otlp_endpoint: " + client.error().message};
  return std::unique_ptr<Sink>(new OtlpSink(std::move(client.value()), resource.value(), options));
}

OtlpSink::OtlpSink(std::unique_ptr<HttpClient> client, const OtlpAttributes& resource, const Options& options)
    : client_(std::move(client)),
      request_(resource),
      batch_size_(options.number("otlp_batch_size")),
      most_now_(batch_size_),
      timeout_ms_(options.number("otlp_timeout_ms")) {}

std::size_t OtlpSink::fill(std::string_view lines) {
  const std::size_t all = lines.size();
  request_.clear();
  while (!lines.empty() && request_.records() < most_now_ && request_.bytes() < kMaxRequestBytes)
    if (!request_.add(take_line(&lines))) count(0, 1);
  return all - lines.size();
}

std::size_t OtlpSink::take(std::string_view lines) {
  const std::size_t bytes = fill(lines);
  return request_.records() == 0 || send() ? bytes : 0;
}

bool OtlpSink::send() {
  const Result<HttpReply> reply = client_->post(request_.finish());
  if (reply) return judge(reply.value());
  set_fault(reply.error().message);
  return false;
}

// What the collector will never take is counted and left; all else is tried again, for the file keeps it.
bool OtlpSink::judge(const HttpReply& reply) {
  const std::uint64_t records = request_.records();
  if (reply.status >= 200 && reply.status < 300) {
    const std::uint64_t rejected = std::min(rejected_records(reply.body), records);
    count(records - rejected, rejected);
    set_fault("");
    most_now_ = std::min(batch_size_, most_now_ * 2);
    return true;
  }
  set_fault("the collector answers with status " + std::to_string(reply.status));
  const bool too_large = reply.status == 413;
  if (too_large && records > 1) most_now_ = records / 2;
  if (reply.status != 400 && !(too_large && records == 1)) return false;
  count(0, records);
  return true;
}

}  // namespace watcher

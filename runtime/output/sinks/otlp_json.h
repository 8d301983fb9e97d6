// Events as OTLP log records in JSON (opentelemetry-proto's ExportLogsServiceRequest): the whole event is the record's
// body, what people filter by are its attributes.
//
// One thread.
#pragma once

#include <rapidjson/stringbuffer.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace watcher {

using OtlpAttributes = std::vector<std::pair<std::string, std::string>>;

class OtlpRequest {
 public:
  explicit OtlpRequest(const OtlpAttributes& resource);

  void clear();
  /// False when the line is no event; then nothing is added.
  bool add(std::string_view line);
  std::size_t records() const { return records_; }
  std::size_t bytes() const { return text_.size(); }
  /// The request's body; clear() before more is added.
  const std::string& finish();

 private:
  std::string head_;
  std::string text_;
  std::size_t records_ = 0;
  rapidjson::StringBuffer record_;
};

}  // namespace watcher

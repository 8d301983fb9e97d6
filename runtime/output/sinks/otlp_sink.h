// Events as log records to an OpenTelemetry collector: OTLP over HTTP, in JSON. A batch is offered until the collector
// has answered; each record carries the event's id, by which one that arrives twice is known.
//
// See Sink for threads.
#pragma once

#include <memory>
#include <string>

#include "config/options.h"
#include "runtime/base/result.h"
#include "runtime/output/sinks/http_client.h"
#include "runtime/output/sinks/otlp_json.h"
#include "runtime/output/sinks/sink.h"

namespace watcher {

class OtlpSink final : public Sink {
 public:
  static Result<std::unique_ptr<Sink>> open(const Options& options);

  const char* name() const override { return "otlp"; }
  bool resume(std::uint64_t) override { return true; }
  std::size_t take(std::string_view lines) override;
  std::uint64_t patience_ms() const override { return timeout_ms_; }

 private:
  OtlpSink(std::unique_ptr<HttpClient> client, const OtlpAttributes& resource, const Options& options);

  /// Bytes of the lines put into the request.
  std::size_t fill(std::string_view lines);
  bool send();
  bool judge(const HttpReply& reply);

  std::unique_ptr<HttpClient> client_;
  OtlpRequest request_;
  std::size_t batch_size_;
  std::size_t most_now_;  // halved when a request was too large
  std::uint64_t timeout_ms_;
};

}  // namespace watcher

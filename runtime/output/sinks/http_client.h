// POST requests by libcurl, which is loaded when it is needed: collectors must run in images that do not have it.
//
// One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

struct HttpReply {
  long status = 0;
  std::string body;
};

class HttpClient {
 public:
  struct Request {
    std::string url;
    std::vector<std::string> headers;  // "Name: value"
    std::uint64_t timeout_ms = 0;
  };

  static Result<std::unique_ptr<HttpClient>> open(const Request& request);
  virtual ~HttpClient() = default;
  /// An error is one of the connection; whatever the server answers is a reply.
  virtual Result<HttpReply> post(std::string_view body) = 0;
};

}  // namespace watcher

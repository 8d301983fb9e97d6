#include "runtime/output/sinks/http_client.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>

#include <algorithm>

// The header checks the types of a call by macros that know the functions only.
#undef curl_easy_setopt
#undef curl_easy_getinfo

namespace watcher {
namespace {

constexpr const char* kLibrary = "libcurl.so.4";
constexpr std::uint64_t kLongestConnect_ms = 2'000;
constexpr std::size_t kMaxReplyBytes = 1u << 20;

struct Curl {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_setopt) set = nullptr;
  decltype(&curl_easy_getinfo) get = nullptr;
  decltype(&curl_easy_perform) perform = nullptr;
  decltype(&curl_easy_strerror) error_text = nullptr;
  decltype(&curl_slist_append) append = nullptr;

  bool load() {
    // Stays for the life of the process, as its threads and atexit handlers may.
    void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return false;
    const auto find = [library](const char* name, auto* function) {
      *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(::dlsym(library, name));
      return *function != nullptr;
    };
    return find("curl_global_init", &global_init) && find("curl_easy_init", &easy_init) &&
           find("curl_easy_setopt", &set) && find("curl_easy_getinfo", &get) && find("curl_easy_perform", &perform) &&
           find("curl_easy_strerror", &error_text) && find("curl_slist_append", &append);
  }
};

std::size_t take_reply(char* data, std::size_t, std::size_t bytes, void* body) {
  auto* text = static_cast<std::string*>(body);
  text->append(data, std::min(bytes, kMaxReplyBytes - std::min(text->size(), kMaxReplyBytes)));
  return bytes;
}

/// One handle for good, so that the connection stays open between requests.
class CurlClient final : public HttpClient {
 public:
  CurlClient(const Curl& curl, CURL* handle) : curl_(curl), handle_(handle) {}

  void prepare(const Request& request) {
    const auto timeout = static_cast<long>(request.timeout_ms);
    curl_.set(handle_, CURLOPT_URL, request.url.c_str());
    curl_.set(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_.set(handle_, CURLOPT_NOSIGNAL, 1L);
    curl_.set(handle_, CURLOPT_POST, 1L);
    curl_.set(handle_, CURLOPT_TIMEOUT_MS, timeout);
    curl_.set(handle_, CURLOPT_CONNECTTIMEOUT_MS, std::min(timeout, static_cast<long>(kLongestConnect_ms)));
    curl_.set(handle_, CURLOPT_WRITEFUNCTION, take_reply);
    curl_slist* list = nullptr;
    for (const std::string& header : request.headers) list = curl_.append(list, header.c_str());
    curl_.set(handle_, CURLOPT_HTTPHEADER, list);  // as long-lived as the handle
  }

  Result<HttpReply> post(std::string_view body) override {
    HttpReply reply;
    curl_.set(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_.set(handle_, CURLOPT_POSTFIELDS, body.data());
    curl_.set(handle_, CURLOPT_WRITEDATA, &reply.body);
    const CURLcode code = curl_.perform(handle_);
    if (code != CURLE_OK) return Error{EIO, curl_.error_text(code)};
    curl_.get(handle_, CURLINFO_RESPONSE_CODE, &reply.status);
    return reply;
  }

 private:
  Curl curl_;
  CURL* handle_;
};

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::open(const Request& request) {
  Curl curl;
  if (!curl.load())
    return Error{ENOENT, std::string(kLibrary) + " is not to be had; install libcurl (Debian: libcurl4)"};
  CURL* handle = curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl.easy_init() : nullptr;
  if (handle == nullptr) return Error{ENOMEM, std::string(kLibrary) + " cannot be started"};
  auto client = std::make_unique<CurlClient>(curl, handle);
  client->prepare(request);
  return std::unique_ptr<HttpClient>(std::move(client));
}

}  // namespace watcher

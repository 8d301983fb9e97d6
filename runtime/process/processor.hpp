// plugin.h for C++: derive from watcher::Processor, and name the class once in WATCHER_PROCESSOR.
//
//     struct Quiet final : watcher::Processor {
//       watcher::Response process(const watcher::Event& event) override {
//         if (event.deltas().size() > 100) return watcher::drop();
//         return watcher::annotate(R"({"risk_level":"medium"})");
//       }
//     };
//     WATCHER_PROCESSOR(Quiet)
//
//     c++ -std=c++17 -shared -fPIC quiet.cpp -o quiet.so
//
// A constructor that takes `const watcher::Arguments&` gets the table's args. An exception is a failure of its event.
#pragma once

#include <watcher/plugin.h>

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace watcher {

using Arguments = std::vector<std::string>;

class Event {
 public:
  explicit Event(const watcher_processor_event& event) : event_(event) {}

  std::string_view event_id() const { return event_.event_id; }
  std::string_view variable_id() const { return event_.variable_id; }
  std::string_view variable_name() const { return event_.variable_name; }
  std::string_view symbol() const { return event_.symbol; }
  std::string_view file() const { return event_.file; }
  std::string_view scope() const { return event_.scope; }
  std::string_view op() const { return event_.op; }
  std::string_view sql_statement() const { return event_.sql_statement; }
  std::string_view json() const { return {event_.json, event_.json_length}; }
  int line() const { return event_.line; }
  std::uint64_t ts_ns() const { return event_.ts_ns; }
  std::uint64_t tid() const { return event_.tid; }
  std::uint64_t pid() const { return event_.pid; }
  std::size_t change_count() const { return event_.change_count; }

  struct Deltas {
    const watcher_delta* first;
    std::size_t count;
    const watcher_delta* begin() const { return first; }
    const watcher_delta* end() const { return first + count; }
    std::size_t size() const { return count; }
  };
  Deltas deltas() const { return {event_.deltas, event_.delta_count}; }

 private:
  const watcher_processor_event& event_;
};

struct Response {
  watcher_action action = WATCHER_ACTION_PASS;
  std::string object;
};

inline Response pass() {
  return {};
}
inline Response drop() {
  return {WATCHER_ACTION_DROP, {}};
}
inline Response annotate(std::string object) {
  return {WATCHER_ACTION_ANNOTATE, std::move(object)};
}
inline Response enrich(std::string object) {
  return {WATCHER_ACTION_ENRICH, std::move(object)};
}

class Processor {
 public:
  virtual ~Processor() = default;
  virtual Response process(const Event& event) = 0;
};

namespace plugin {

struct Holder {
  std::unique_ptr<Processor> processor;
  std::string object;  // of the last response

  static void process(void* state, const watcher_processor_event* event, watcher_response* response) {
    auto& self = *static_cast<Holder*>(state);
    try {
      Response given = self.processor->process(Event(*event));
      self.object = std::move(given.object);
      response->action = given.action;
    } catch (const std::exception& error) {
      self.object = error.what();
      response->action = WATCHER_ACTION_FAIL;
    }
    response->object = self.object.empty() ? nullptr : self.object.c_str();
  }
  static void destroy(void* state) { delete static_cast<Holder*>(state); }
};

template <class Class>
const char* create(std::uint32_t abi, std::size_t count, const char* const* arguments, watcher_processor* processor) {
  static std::string fault;
  if (abi != WATCHER_PROCESSOR_ABI) return "it was made for another version of Watcher";
  try {
    const Arguments given(arguments, arguments + count);
    auto holder = std::make_unique<Holder>();
    if constexpr (std::is_constructible_v<Class, const Arguments&>)
      holder->processor = std::make_unique<Class>(given);
    else
      holder->processor = std::make_unique<Class>();
    *processor = {holder.release(), Holder::process, Holder::destroy};
  } catch (const std::exception& error) {
    fault = error.what();
    return fault.c_str();
  }
  return nullptr;
}

}  // namespace plugin
}  // namespace watcher

#define WATCHER_PROCESSOR(Class)                                                                          \
  extern "C" WATCHER_PROCESSOR_EXPORT const char* watcher_processor_create(                               \
      std::uint32_t abi, std::size_t count, const char* const* arguments, watcher_processor* processor) { \
    return watcher::plugin::create<Class>(abi, count, arguments, processor);                              \
  }

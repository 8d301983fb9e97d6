// A processor as a shared object: leaves out what happens in files below a directory, and says how risky the rest is.
//
//     c++ -std=c++17 -shared -fPIC risk.cpp -o risk.so       # with the installed headers
//
//     [[processor]]
//     type = "plugin"
//     path = "risk.so"
//     args = ["/usr/lib/"]
#include <watcher/processor.hpp>

namespace {

class Risk final : public watcher::Processor {
 public:
  explicit Risk(const watcher::Arguments& arguments) : ignored_(arguments) {}

  watcher::Response process(const watcher::Event& event) override {
    for (const std::string& directory : ignored_)
      if (event.file().substr(0, directory.size()) == directory) return watcher::drop();
    if (event.change_count() > 10) return watcher::annotate(R"({"risk_level":"high"})");
    if (!event.sql_statement().empty()) return watcher::annotate(R"({"risk_level":"medium"})");
    return watcher::pass();
  }

 private:
  watcher::Arguments ignored_;
};

}  // namespace

WATCHER_PROCESSOR(Risk)

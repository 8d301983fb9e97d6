// What the tests of the collector share: one on a directory, and the JSON that it leaves there.
#pragma once

#include <doctest/doctest.h>
#include <rapidjson/document.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/collect/collector.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {

inline std::unique_ptr<Collector> open_collector(const std::string& directory, std::uint64_t run_id = kRunId,
                                                 std::vector<std::pair<const char*, const char*>> settings = {}) {
  Options options;
  REQUIRE(options.set("output", directory, "test"));
  for (const auto& [key, value] : settings) REQUIRE(options.set(key, value, "test"));
  auto collector = Collector::open(options, run_id);
  REQUIRE(collector);
  return std::move(collector.value());
}

inline rapidjson::Document parse(const std::string& text) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  REQUIRE_FALSE(document.HasParseError());
  return document;
}

inline rapidjson::Document summary_of(const TempDirectory& directory) {
  return parse(read_text(directory.file("summary.json")));
}

}  // namespace watcher::test

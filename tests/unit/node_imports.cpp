// Imports led elsewhere while the program calls through them.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <atomic>
#include <thread>
#include <vector>

#include "probes/node/host/import_table.h"

namespace watcher::test {
namespace {

long led_random() {
  return -1;
}

}  // namespace

TEST_CASE("workers lead the same import at the same time") {
  const auto* inside = reinterpret_cast<const void*>(&led_random);
  std::atomic<int> led = 0;
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      for (int lap = 0; lap < 2000; ++lap)
        led += node::lead_import(inside, "random", reinterpret_cast<void*>(led_random)) ? 1 : 0;
    });
  for (auto& worker : workers) worker.join();
  CHECK(led == 4 * 2000);
  CHECK(random() == -1);
  CHECK_FALSE(node::lead_import(inside, "no such function", reinterpret_cast<void*>(led_random)));
}

}  // namespace watcher::test

// Which thread writes which reading? An array on pages of its own, and a rollback to an earlier state.
//
//   c++ -std=c++20 sensors.cpp $(pkg-config --cflags --libs watcher) -o sensors && ./sensors
#include <cstdio>
#include <thread>
#include <vector>
#include <watcher/watcher.hpp>

namespace core = watcher::core;

int main() {
  core::initialize("watcher_output");  // false, with core::lastError(): then all below runs unwatched

  constexpr std::size_t kReadings = 8;
  void* memory = watcher_allocate(kReadings * sizeof(double));
  if (memory == nullptr) memory = new double[kReadings]();
  // volatile: so that the optimizer makes a store of every change
  auto* readings = static_cast<volatile double*>(memory);
  const std::string id = core::registerPage(memory, kReadings * sizeof(double), "readings",
                                            core::EventFlags::kFloat64 | core::EventFlags::kLocal);
  core::start();

  std::vector<std::thread> threads;
  for (std::size_t sensor = 0; sensor < 4; ++sensor)
    threads.emplace_back([=] {
      for (int second = 1; second <= 5; ++second) readings[sensor] = 20.0 + static_cast<double>(sensor) + second / 10.0;
    });
  for (std::thread& thread : threads) thread.join();

  const std::vector<std::uint8_t> good = core::readSnapshot(id);
  readings[2] = -273.15;
  core::writeSnapshot(id, good);  // told as one change of reading 2
  if (good.empty()) readings[2] = 22.5;

  for (std::size_t i = 0; i < 4; ++i) std::printf("sensor %zu: %.2f\n", i, readings[i]);
  core::stop();
}

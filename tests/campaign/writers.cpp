// Native threads for forks.py, as any extension might have them: each stores to its own word of a buffer that somebody
// else watches, and keeps the allocator busy.
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

constexpr int kMost = 64;
std::atomic<bool> stopping;
pthread_t threads[kMost];
volatile std::uint64_t* words;

void* write_on(void* argument) {
  const auto own = reinterpret_cast<std::uintptr_t>(argument);
  const timespec pause = {0, 3'000'000};
  for (std::uint64_t i = 1; !stopping; ++i) {
    words[own] = i;
    void* block = malloc(16 + i * 37 % 5000);
    void* larger = realloc(block, 32 + i * 53 % 9000);
    free(larger != nullptr ? larger : block);
    nanosleep(&pause, nullptr);
  }
  return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int writers_start(void* memory, int count) {
  words = static_cast<volatile std::uint64_t*>(memory);
  for (int i = 0; i < count && i < kMost; ++i)
    if (pthread_create(&threads[i], nullptr, write_on, reinterpret_cast<void*>(static_cast<std::uintptr_t>(i))) != 0)
      return -1;
  return 0;
}

extern "C" __attribute__((visibility("default"))) void writers_stop(int count) {
  stopping = true;
  for (int i = 0; i < count && i < kMost; ++i) pthread_join(threads[i], nullptr);
}

#include "tests/behaviour/shim/host.h"

#include <fcntl.h>
#include <sys/mman.h>

alignas(4096) unsigned char shim_watched[kWatchedBytes];

// What makes the shim take this program for Python.
extern "C" __attribute__((visibility("default"))) int Py_BytesMain(int, char**) {
  return 0;
}

namespace {

constexpr unsigned char kPattern = 0xA5;

struct Scenario {
  const char* name;
  void (*run)();
};

constexpr Scenario kScenarios[] = {
    {"reading", reading_scenario},
    {"scatter", scatter_scenario},
    {"receiving", receiving_scenario},
    {"stream", stream_scenario},
    {"line", line_scenario},
    {"interruption", interruption_scenario},
    {"memory", memory_scenario},
    {"mask", mask_scenario},
    {"handler", handler_scenario},
    {"handler_mask", handler_mask_scenario},
    {"old_names", old_names_scenario},
    {"process", process_scenario},
    {"let_through", let_through_scenario},
};

}  // namespace

void prepare_region() {
  mprotect(shim_watched, kWatchedBytes, PROT_READ | PROT_WRITE);
  memset(shim_watched, kPattern, kWatchedBytes);
  if (getenv("SHIM_TEST_PROTECT") != nullptr) mprotect(shim_watched, kWatchedBytes, PROT_READ);
}

void show(const char* what, long result) {
  const int error = result < 0 ? errno : 0;
  size_t changed = 0, first = 0;
  uint64_t checksum = 1469598103934665603u;
  for (size_t i = 0; i < kWatchedBytes; ++i) {
    if (shim_watched[i] == kPattern) continue;
    if (changed++ == 0) first = i;
    checksum = (checksum ^ (shim_watched[i] + i * 256)) * 1099511628211u;
  }
  printf("%s: %ld errno %d, %zu bytes from %zu, %016lx\n", what, result, error, changed, first, checksum);
  fflush(stdout);
  prepare_region();
}

int content_fd(size_t bytes) {
  const int fd = memfd_create("content", 0);
  uint32_t state = 12345;
  char block[4096];
  for (size_t done = 0; done < bytes; done += sizeof block) {
    for (char& byte : block) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<char>(state >> 24);
    }
    const size_t here = bytes - done < sizeof block ? bytes - done : sizeof block;
    if (write(fd, block, here) < 0) abort();
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

int pipe_fd(const char* text, size_t bytes) {
  int ends[2];
  if (pipe(ends) != 0 || write(ends[1], text, bytes) < 0) abort();
  close(ends[1]);
  return ends[0];
}

int main(int count, char** arguments) {
  prepare_region();
  for (const Scenario& scenario : kScenarios)
    if (count > 1 && strcmp(arguments[1], scenario.name) == 0) scenario.run();
  fflush(stdout);
  _exit(5);
}

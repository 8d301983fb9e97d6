// Native code addresses named a second: from the cache, and by libdw, in files with debug information and without.
// Arguments: [FILE …]; without any, libc.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <string>
#include <vector>

#include "runtime/enrich/native_symbols.h"

namespace watcher {
namespace {

constexpr int kCachedRounds = 3'000'000;
constexpr int kAddresses = 20'000;

double now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Code {
  std::string path;
  std::string build_id;
  std::vector<std::uint64_t> addresses;  // evenly over what can be executed
};

/// The mapped object's own account of itself.
int describe(dl_phdr_info* object, std::size_t, void* argument) {
  auto& code = *static_cast<Code*>(argument);
  if (code.path != object->dlpi_name) return 0;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0)
      for (std::uint64_t n = 0; n < kAddresses; ++n)
        code.addresses.push_back(segment.p_vaddr + n * segment.p_memsz / kAddresses);
    if (segment.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);
    const auto& note = *reinterpret_cast<const ElfW(Nhdr)*>(at);
    if (note.n_type == NT_GNU_BUILD_ID) code.build_id.assign(at + sizeof note + 4, note.n_descsz);
  }
  return 1;
}

void measure(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  link_map* map = nullptr;
  if (library == nullptr || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) {
    printf("  %s: %s\n", path, dlerror());
    return;
  }
  Code code{map->l_name, {}, {}};
  dl_iterate_phdr(describe, &code);
  const NativeModule module{0, code.path, code.build_id};

  NativeSymbols symbols({.cache_size = 0});
  double start = now_s();
  symbols.resolve(1, module, code.addresses[0]);
  const double first = now_s() - start;
  int functions = 0, lines = 0;
  start = now_s();
  for (const std::uint64_t address : code.addresses) {
    const auto symbol = symbols.resolve(1, module, address);
    functions += !symbol->place.function.empty();
    lines += !symbol->place.file.empty();
  }
  const double uncached = now_s() - start;

  NativeSymbols cached({.cache_size = 1000});
  start = now_s();
  for (int i = 0; i < kCachedRounds; ++i) cached.resolve(1, module, code.addresses[static_cast<std::size_t>(i % 500)]);
  const double known = now_s() - start;
  const auto count = static_cast<double>(code.addresses.size());
  printf("  %s: %.0f/s uncached (%.0f%% with function, %.0f%% with line; %.1f ms to open), %.0f/s cached\n", path,
         count / uncached, 100 * functions / count, 100 * lines / count, first * 1e3, kCachedRounds / known);
}

}  // namespace
}  // namespace watcher

int main(int count, char** files) {
  printf("native symbols\n");
  if (count == 1) watcher::measure("libc.so.6");
  for (int i = 1; i < count; ++i) watcher::measure(files[i]);
  return 0;
}

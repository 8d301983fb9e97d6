#include <dlfcn.h>
#include <doctest/doctest.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "runtime/enrich/native_symbols.h"

namespace watcher::test {
namespace {

SymbolCache::Symbol made(std::uint32_t id) {
  auto symbol = std::make_shared<NativeSymbol>();
  symbol->id = id;
  return symbol;
}

std::string temporary_path() {
  char path[] = "/tmp/watcher-map.XXXXXX";
  close(mkstemp(path));
  return path;
}

void append(const std::string& path, const char* text) {
  FILE* file = fopen(path.c_str(), "a");
  REQUIRE(file != nullptr);
  fputs(text, file);
  fclose(file);
}

struct Loaded {
  std::string path;
  std::string build_id;
  std::uint64_t bias;
};

/// libc, as the loader has it.
Loaded libc() {
  Loaded loaded{};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* argument) {
        auto& found = *static_cast<Loaded*>(argument);
        if (std::string(object->dlpi_name).find("/libc.so.6") == std::string::npos) return 0;
        found.path = object->dlpi_name;
        found.bias = object->dlpi_addr;
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto* at = reinterpret_cast<const char*>(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
          if (object->dlpi_phdr[i].p_type != PT_NOTE) continue;
          const auto& note = *reinterpret_cast<const ElfW(Nhdr)*>(at);
          if (note.n_type == NT_GNU_BUILD_ID) found.build_id.assign(at + sizeof note + 4, note.n_descsz);
        }
        return 1;
      },
      &loaded);
  return loaded;
}

}  // namespace

TEST_CASE("the symbol cache forgets what was not used longest") {
  SymbolCache cache(2, 100);
  cache.put({nullptr, 1}, made(1), 0);
  cache.put({nullptr, 2}, made(2), 0);
  CHECK(cache.get({nullptr, 1}, 0)->id == 1);
  cache.put({nullptr, 3}, made(3), 0);
  CHECK(cache.size() == 2);
  CHECK(cache.get({nullptr, 2}, 0) == nullptr);
  CHECK(cache.get({nullptr, 1}, 0)->id == 1);
  CHECK(cache.get({nullptr, 3}, 0)->id == 3);
  CHECK(cache.hits() == 3);
  CHECK(cache.misses() == 1);
}

TEST_CASE("the symbol cache forgets what is too old, and takes it anew") {
  SymbolCache cache(2, 10);
  cache.put({nullptr, 1}, made(1), 5);
  CHECK(cache.get({nullptr, 1}, 14) != nullptr);
  CHECK(cache.get({nullptr, 1}, 15) == nullptr);
  cache.put({nullptr, 1}, made(2), 15);
  CHECK(cache.size() == 1);
  CHECK(cache.get({nullptr, 1}, 24)->id == 2);
}

TEST_CASE("a cache of no size keeps nothing") {
  SymbolCache cache(0, 10);
  cache.put({nullptr, 1}, made(1), 0);
  CHECK(cache.size() == 0);
  CHECK(cache.get({nullptr, 1}, 0) == nullptr);
}

TEST_CASE("a perf map is read on as it grows, later functions over earlier ones") {
  const std::string path = temporary_path();
  PerfMap map(path);
  CHECK(map.find(0x1000) == nullptr);
  append(path, "1000 100 first\n2000 10 second function\nnonsense\n3000 0 empty\n40");
  CHECK(map.find(0x1000)->name == "first");
  CHECK(map.find(0x10ff)->name == "first");
  CHECK(map.find(0x1100) == nullptr);
  CHECK(map.find(0x200f)->name == "second function");
  CHECK(map.find(0x3000) == nullptr);
  CHECK(map.find(0x4000) == nullptr);
  append(path, "00 10 third\n0x1080 0x10 over it\n");
  CHECK(map.find(0x4000)->name == "third");
  CHECK(map.find(0x1088)->name == "over it");
  CHECK(map.find(0x1000) == nullptr);
  unlink(path.c_str());
}

TEST_CASE("a perf map of somebody else's is not read") {
  if (geteuid() != 0) return;
  const std::string path = temporary_path();
  append(path, "1000 100 first\n");
  REQUIRE(chown(path.c_str(), 65534, 65534) == 0);
  CHECK(PerfMap(path).find(0x1000) == nullptr);
  unlink(path.c_str());
}

TEST_CASE("a function is named by its file, and only when it is the one that was loaded") {
  const Loaded loaded = libc();
  REQUIRE(!loaded.path.empty());
  const auto code = reinterpret_cast<std::uint64_t>(dlsym(RTLD_DEFAULT, "qsort"));
  NativeSymbols symbols({});
  const auto symbol = symbols.resolve(1, {loaded.bias, loaded.path, loaded.build_id}, code);
  CHECK(symbol->module == loaded.path);
  CHECK(symbol->offset == code - loaded.bias);
  CHECK(symbol->text().find("qsort") != std::string::npos);
  CHECK(symbols.resolve(1, {loaded.bias, loaded.path, loaded.build_id}, code) == symbol);
  CHECK(symbols.hits() == 1);

  char offset[32];
  snprintf(offset, sizeof offset, "libc.so.6+0x%llx", static_cast<unsigned long long>(code - loaded.bias));
  const auto other = symbols.resolve(1, {loaded.bias, loaded.path, "another build"}, code);
  CHECK(other->place.function.empty());
  CHECK(other->text() == offset);
  CHECK(symbols.resolve(1, {}, 0x1234)->text() == "0x1234");
  CHECK(symbols.resolve(1, {0, "/nowhere/lib.so", ""}, 0x10)->text() == "lib.so+0x10");
  CHECK(symbols.resolve(1, {0, "/dev/zero", ""}, 0x10)->text() == "zero+0x10");
  CHECK(symbols.resolve(1, {0, "/etc/passwd", ""}, 0x10)->text() == "passwd+0x10");
}

}  // namespace watcher::test

// Stores that are to be told by name: inlined, overloaded, in libraries that come and go at one address, in the
// kernel's page of code, in code made at run time.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <watcher/watcher.h>

static volatile int64_t total = 0;
static time_t now = 0;

static inline __attribute__((always_inline)) void add(int64_t amount) {
  total = total + amount;
}
static inline __attribute__((always_inline)) void add_twice(int64_t amount) {
  add(amount);
  add(2 * amount);
}

namespace bank {
struct Account {
  __attribute__((noinline)) void pay(int64_t amount) { add_twice(amount); }
  __attribute__((noinline)) void pay(const char* text) { total = total + static_cast<int64_t>(strlen(text)); }
};
}  // namespace bank

// The return address leads nowhere while it stores.
__attribute__((noinline)) static void with_damaged_stack() {
  volatile auto* frame = static_cast<uint64_t*>(__builtin_frame_address(0));
  const uint64_t back = frame[1];
  frame[1] = 0x10;
  add(1000);
  frame[1] = back;
}

static void in_library(const char* path) {
  void* library = dlopen(path, RTLD_NOW);
  if (library == nullptr) return;
  reinterpret_cast<void (*)(volatile int64_t*)>(dlsym(library, "entry"))(&total);
  dlclose(library);
}

static char map_path[64];

static void in_made_code() {
  static const unsigned char code[] = {0x48, 0x83, 0x07, 0x05, 0xc3};  // addq $5,(%rdi); ret
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  memcpy(page, code, sizeof code);
  snprintf(map_path, sizeof map_path, "/tmp/perf-%d.map", static_cast<int>(getpid()));
  if (FILE* map = fopen(map_path, "w")) {
    fprintf(map, "%lx %zx made by hand\n", reinterpret_cast<unsigned long>(page), sizeof code);
    fclose(map);
  }
  reinterpret_cast<void (*)(volatile int64_t*)>(page)(&total);
}

// Past libc, whose own calls are led around the watched page.
static void in_kernels_page() {
  void* page = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (page != nullptr) reinterpret_cast<time_t (*)(time_t*)>(dlsym(page, "__vdso_time"))(&now);
}

static void watch(volatile void* memory, size_t bytes, const char* name) {
  char id[WATCHER_ID_BYTES];
  watcher_register(const_cast<void*>(memory), bytes, name, WATCHER_INT64 | WATCHER_GLOBAL, WATCHER_FULL_DEPTH, id);
}

int main(int count, char** arguments) {
  watcher_initialize("watcher_output", 0);
  watch(&total, sizeof total, "total");
  watch(&now, sizeof now, "now");
  watcher_start();
  bank::Account account;
  account.pay(10);
  account.pay("seven");
  for (int i = 1; i < count; ++i) in_library(arguments[i]);
  in_made_code();
  with_damaged_stack();
  in_kernels_page();
  watcher_stop();
  unlink(map_path);
  return 0;
}

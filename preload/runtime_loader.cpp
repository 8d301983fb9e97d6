#include "preload/runtime_loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/attached_runtime.h"
#include "preload/real_functions.h"

namespace watcher {

constinit struct watcher_runtime_hooks hooks = {};

namespace {

// Lives for ever: the runtime keeps the pointer.
constinit struct watcher_real_functions real_functions = {};

// Installed: in the shim's own directory. In a build tree: in its neighbour.
constexpr const char* kPlaces[] = {"/libwatcher_runtime.so", "/../runtime/libwatcher_runtime.so"};

void debug_line(const char* what, const char* detail) {
  const char* level = getenv("WATCHER_LOG_LEVEL");
  if (level == nullptr || strcmp(level, "DEBUG") != 0) return;
  const iovec parts[] = {{const_cast<char*>("watcher: "), 9},
                         {const_cast<char*>(what), strlen(what)},
                         {const_cast<char*>(detail), strlen(detail)},
                         {const_cast<char*>("\n"), 1}};
  if (writev(STDERR_FILENO, parts, 4) < 0) return;  // nobody listens: nothing to be done
}

/// The directory of this shared object, as the loader found it; false when it does not fit.
bool own_directory(char (&directory)[PATH_MAX]) {
  Dl_info info = {};
  if (dladdr(&hooks, &info) == 0 || info.dli_fname == nullptr) return false;
  const char* slash = strrchr(info.dli_fname, '/');
  const size_t bytes = slash == nullptr ? 0 : static_cast<size_t>(slash - info.dli_fname);
  if (bytes == 0 || bytes >= sizeof directory) return false;
  memcpy(directory, info.dli_fname, bytes);
  directory[bytes] = '\0';
  return true;
}

/// Null when the file is not there, or does not fit into a path.
void* open_runtime(const char* directory, const char* place) {
  char path[PATH_MAX];
  const size_t directory_bytes = strlen(directory);
  const size_t place_bytes = strlen(place) + 1;
  if (directory_bytes + place_bytes > sizeof path) return nullptr;
  memcpy(path, directory, directory_bytes);
  memcpy(path + directory_bytes, place, place_bytes);
  if (access(path, F_OK) != 0) return nullptr;

  void* runtime = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (runtime == nullptr) {
    const char* reason = dlerror();  // and takes it away, so that the host does not find it
    debug_line("cannot load the runtime: ", reason == nullptr ? path : reason);
  }
  return runtime;
}

template <class Function>
Function* next(RealFunction<Function>& function) {
  return reinterpret_cast<Function*>(function.address());
}

bool fill_tables() {
  hooks.version = WATCHER_RUNTIME_HOOKS_VERSION;
  hooks.bytes = sizeof hooks;
  hooks.owner = getpid();
  real_functions = {.version = WATCHER_RUNTIME_HOOKS_VERSION,
                    .bytes = sizeof real_functions,
                    .free_ = next(real::free),
                    .realloc_ = next(real::realloc),
                    .sigaction_ = next(real::sigaction),
                    .pthread_sigmask_ = next(real::pthread_sigmask),
                    .read_ = next(real::read)};
  return real_functions.free_ != nullptr && real_functions.realloc_ != nullptr &&
         real_functions.sigaction_ != nullptr && real_functions.pthread_sigmask_ != nullptr &&
         real_functions.read_ != nullptr;
}

void attach(void* runtime, watcher_host host, const char* directory) {
  auto entry = reinterpret_cast<watcher_runtime_attach_fn>(dlsym(runtime, "watcher_runtime_attach"));
  if (entry == nullptr) {
    dlerror();
    return debug_line("the runtime has no entry: ", directory);
  }
  if (!fill_tables()) return debug_line("libc lacks a function that the runtime needs", "");
  if (entry(host, directory, &hooks, &real_functions) != 0) debug_line("the runtime does not serve this process", "");
}

}  // namespace

WATCHER_INTERPOSER int watcher_shim_tables(watcher_runtime_hooks** shim_hooks, const watcher_real_functions** real) {
  if (!fill_tables()) return -1;
  *shim_hooks = &hooks;
  *real = &real_functions;
  return 0;
}

void load_runtime(watcher_host host) {
  char directory[PATH_MAX];
  if (!own_directory(directory)) return debug_line("cannot tell where the shim is", "");
  void* runtime = nullptr;
  for (const char* place : kPlaces)
    if (runtime == nullptr) runtime = open_runtime(directory, place);
  if (runtime == nullptr) return debug_line("no runtime beside the shim in ", directory);
  attach(runtime, host, directory);
}

}  // namespace watcher

#include "preload/host_program.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

// Weak references: the loader, which relocates us anyway, leaves null for what the program and its libraries do not
// export. A failing dlsym would allocate an error message, before the host's own first allocation.
extern "C" {
__attribute__((weak)) int Py_Main(int, wchar_t**);
__attribute__((weak)) int Py_BytesMain(int, char**);
__attribute__((weak)) void Py_InitializeFromConfig();
__attribute__((weak)) int napi_create_function();
}

namespace watcher {

watcher_host recognised_host() {
  // Node first: a node that embeds Python is still a node.
  if (napi_create_function != nullptr) return WATCHER_HOST_NODE;
  if (Py_Main != nullptr || Py_BytesMain != nullptr || Py_InitializeFromConfig != nullptr) return WATCHER_HOST_PYTHON;
  return kUnknownHost;
}

bool watching_forbidden() {
  if (getauxval(AT_SECURE) != 0) return true;
  const char* disable = getenv("WATCHER_DISABLE");
  return disable != nullptr && strcmp(disable, "1") == 0;
}

}  // namespace watcher

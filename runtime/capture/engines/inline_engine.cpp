// Write protection by mprotect: no privilege, no descriptor, no thread; the storing thread takes the SIGSEGV itself.
//
// The SIGBUS feature of userfaultfd would do the same, but costs more on its way into the handler (engine-facts.md: 4.7
// against 4.5 µs), and a descriptor; so there is nothing to choose by timing.
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"

namespace watcher {
namespace {

int start() {
  return 0;
}

int protect(std::uintptr_t address, std::size_t bytes, int protection) {
  return static_cast<int>(-raw_syscall(SYS_mprotect, address, bytes, protection));
}

int arm(std::uintptr_t address, std::size_t bytes, int protection) {
  return protect(address, bytes, without_write(protection));
}

}  // namespace

constinit const Engine inline_engine = {
    .name = "inline", .start = start, .arm = arm, .disarm = protect, .watch = nullptr, .unwatch = nullptr};

}  // namespace watcher

// A runtime for testing the shim alone: everything that goes into the host's region takes a detour over a bounce
// buffer, of which only the bytes the shim reports are copied back. Each hook spoils errno. What was called goes to a
// report file.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/runtime_hooks.h"

namespace {

constexpr size_t kRegionBytes = 1u << 20;
constexpr unsigned char kUnwritten = 0xEE;

watcher_runtime_hooks* hooks;
const watcher_real_functions* real;
unsigned char* region;
struct sigaction user2 = {};  // what the host believes of SIGUSR2
unsigned calls[512];          // by system call number
unsigned begun;
unsigned actions;

bool inside(const void* pointer) {
  return region != nullptr && pointer >= region && pointer < region + kRegionBytes;
}

void* begin(void* buffer, size_t bytes, uint64_t* token) {
  errno = 4712;
  if (!inside(buffer)) return buffer;
  ++begun;
  void* bounce = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(bounce, kUnwritten, bytes);
  *token = reinterpret_cast<uint64_t>(bounce);
  return bounce;
}

void end(void* buffer, size_t written, uint64_t token, int call_number) {
  ++calls[call_number];
  mprotect(region, kRegionBytes, PROT_READ | PROT_WRITE);
  memcpy(buffer, reinterpret_cast<void*>(token), written);
  mprotect(region, kRegionBytes, PROT_READ);
  errno = 4713;
}

int set_action(int signal_number, const struct sigaction* action, struct sigaction* previous, int* result) {
  ++actions;
  errno = 4714;
  if (signal_number != SIGUSR2) return 0;
  if (previous != nullptr) *previous = user2;
  if (action != nullptr) user2 = *action;
  *result = 0;
  return 1;
}

void filter_mask(sigset_t* set) {
  sigdelset(set, SIGUSR1);
  errno = 4715;
}

int free_memory(void* pointer) {
  errno = 4716;
  return inside(pointer);
}

int realloc_memory(void* pointer, size_t bytes, void** result) {
  if (!inside(pointer)) return 0;
  *result = memcpy(malloc(bytes), pointer, bytes);
  return 1;
}

size_t memory_size(void* pointer) {
  return inside(pointer) ? 4096 : 0;
}

void leaving(int status) {
  const char* path = getenv("SHIM_TEST_REPORT");
  const int fd = path == nullptr ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (fd < 0) return;
  dprintf(fd, "leaving %d begun %u actions %u calls", status, begun, actions);
  for (unsigned i = 0; i < 512; ++i)
    if (calls[i] != 0) dprintf(fd, " %u:%u", i, calls[i]);
  dprintf(fd, "\n");
  close(fd);
}

void own_child() {
  __atomic_store_n(&hooks->owner, getpid(), __ATOMIC_RELAXED);
}

template <class Hook>
void set(Hook* slot, Hook hook) {
  __atomic_store_n(slot, hook, __ATOMIC_RELEASE);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int watcher_runtime_attach(watcher_host host, const char* directory,
                                                                             watcher_runtime_hooks* table,
                                                                             const watcher_real_functions* functions) {
  if (const char* path = getenv("SHIM_TEST_REPORT"); path != nullptr) {
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    dprintf(fd, "attached host %d directory %s version %u %u sizes %d\n", host, directory, table->version,
            functions->version, table->bytes == sizeof *table && functions->bytes == sizeof *functions);
    close(fd);
  }
  region = static_cast<unsigned char*>(dlsym(RTLD_DEFAULT, "shim_watched"));
  if (region == nullptr) return 1;
  hooks = table;
  real = functions;
  pthread_atfork(nullptr, nullptr, own_child);
  set(&table->kernel_write_end, &end);
  set(&table->kernel_write_begin, &begin);
  set(&table->set_action, &set_action);
  set(&table->filter_mask, &filter_mask);
  set(&table->free_memory, &free_memory);
  set(&table->realloc_memory, &realloc_memory);
  set(&table->memory_size, &memory_size);
  set(&table->leaving, &leaving);
  return 0;
}

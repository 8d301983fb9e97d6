// How a page is made to trap: the interface that the engines implement, one file each.
//
// A function table instead of a class: its objects are constants, and what may run in a signal handler is visible.
// An engine turns a store to an armed page into a call of store_faulted (store.h) on the storing thread.
#pragma once

#include <signal.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace watcher {

struct Page;
struct Region;

struct Engine {
  const char* name;

  /// Gets what the engine needs: 0 or an errno. Also called again in a forked child.
  int (*start)();

  // Engines that make pages trap. Page-aligned ranges whose `protection` is the host's; 0 or an errno. Any context.
  // Null in an engine that watches regions.

  /// Stores trap from now on.
  int (*arm)(std::uintptr_t address, std::size_t bytes, int protection);
  int (*disarm)(std::uintptr_t address, std::size_t bytes, int protection);

  // Engines that watch a region as it is, without a page of it being touched. 0 or an errno (EINVAL: not this size or
  // alignment; ENOSPC: no more of them); stores held off, normal context. Null in an engine that arms pages.

  int (*watch)(Region* region);
  void (*unwatch)(Region* region);
};

/// The protection with which stores trap, and nothing else: where a page may be written, it may be read.
constexpr int without_write(int protection) {
  return (protection & PROT_WRITE) != 0 ? (protection & ~PROT_WRITE) | PROT_READ : protection;
}

/// mprotect: the storing thread takes SIGSEGV.
extern const Engine inline_engine;
/// userfaultfd write protection: a handler is told and signals the storing thread.
extern const Engine uffd_engine;
/// Debug registers: up to four aligned words of at most 8 bytes, trapping behind the store.
extern const Engine hwbp_engine;
/// Dirty pages looked for from time to time: what changed, not who changed it.
extern const Engine sampled_engine;
/// How often; before it starts.
void sampled_engine_every(int milliseconds);
/// Pages have been taken away, and their marks with them. Stores held off.
void sampled_engine_look_again();
/// Waits until what has changed so far is told.
void sampled_engine_flush();

/// The real-time signal of the uffd engine, 0 while it is not running.
int uffd_signal();
/// Did the handler process send this signal? Then `address` is where the store trapped.
bool uffd_message(const siginfo_t* info, std::uintptr_t* address);

}  // namespace watcher

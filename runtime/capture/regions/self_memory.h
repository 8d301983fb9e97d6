// The process's own address space seen from outside: what is mapped where, and writes that pass a write protection.
//
// `describe` is for normal context; `write_protected_memory` for any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

struct Mapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  int protection = 0;  // PROT_*
  bool shared = false;
  bool stack = false;  // the main thread's
  std::uint64_t inode = 0;
};

/// The mapping that holds `address`, from /proc/self/maps. False when there is none.
bool describe_mapping(std::uintptr_t address, Mapping* mapping);

/// Opens /proc/self/mem ahead of the first store. Failing is no error: stores then open their page.
void open_self_memory();

/// Copies into private memory that is mapped read-only, without opening it. False when the kernel refuses.
bool write_protected_memory(std::uintptr_t address, const std::byte* from, std::size_t bytes);

}  // namespace watcher

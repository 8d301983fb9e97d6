// Which bytecode an instruction of Sparkplug's belongs to: its code has no positions, but a table of where the code of
// each bytecode ends.
//
// Fault handlers of the thread whose isolate the code is of, not under the code map's lock: what they read is V8's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher::node {

/// A place in a function's bytecode.
struct BytecodeSpot {
  std::uintptr_t first = 0;  // the address of the first bytecode; 0: not to be found
  std::size_t bytes = 0;     // of all bytecodes
  std::size_t offset = 0;
};

/// `pc` is of an instruction, not where a call returns to.
BytecodeSpot bytecode_at(std::uintptr_t code_start, std::size_t code_bytes, std::uintptr_t pc);

/// What a bytecode does, as far as Maglev's positions need it.
struct BytecodeKind {
  std::size_t back = 0;    // how far it goes back in a loop
  bool may_store = false;  // into an array's element, when Maglev makes machine code of it
};
/// While V8 tells of the bytecode.
BytecodeKind kind_of_bytecode(std::uintptr_t first, std::size_t bytes, std::size_t offset);

}  // namespace watcher::node

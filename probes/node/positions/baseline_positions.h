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

}  // namespace watcher::node

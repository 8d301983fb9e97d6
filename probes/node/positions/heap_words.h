// Where V8's objects of code keep their tables, and how these are read. Nothing here is a handle: whoever reads has
// V8's collector held, as code that runs has, or an event of V8's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace watcher::node {

/// Of the objects, in words. Within a minor version of V8 that does not change.
struct HeapLayout {
  const char* version;
  int code;            // before the first instruction: the pointer to the Code object; 0: the object itself ends there
  int entry;           // in the Code object, the address of the first instruction; 0: not kept
  int deoptimization;  // or, in baseline code, the bytecode; behind it the table of positions or of bytecodes
  int literals;        // in the deoptimization data
  int inlinings;
  std::size_t bytecode_header;  // bytes before the first bytecode
  int bytecode_positions;       // the table of positions in these, and the array of handlers
  int bytecode_handlers;
  // a letter a bytecode: six times how many bytes of operands never grow, plus how many operands grow with a prefix
  std::string_view bytecode_sizes;
  bool maglev;  // its table of positions is known, too
};
/// Null: not known for this V8.
const HeapLayout* heap_layout();

using Words = const std::uintptr_t*;

/// An object of V8's heap; null where the word is a small integer.
inline Words heap_object(std::uintptr_t word) {
  return (word & 3) == 1 ? reinterpret_cast<Words>(word - 1) : nullptr;
}

/// Arrays of words or of bytes: a map, a length, the elements.
inline std::size_t length_of(Words array) {
  return array[1] >> 32;
}
inline Words elements(Words array) {
  return array + 2;
}

/// The Code object of a piece of machine code; null where there is none.
Words code_object(std::uintptr_t code_start);

}  // namespace watcher::node

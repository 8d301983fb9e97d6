// What V8's events of code leave out and the code's own table of positions has: whose source a position in optimised
// code is in, when functions were inlined; all positions of Maglev's code, and of bytecode that was there before us.
//
// Threads of V8's that announce code, under the code map's lock.
#pragma once

#include <cstdint>
#include <vector>

#include "probes/node/positions/code_map.h"

namespace watcher::node {

/// A function's SharedFunctionInfo, as a word of V8's heap.
using FunctionWord = std::uintptr_t;

/// The function that each position belongs to; `own` is the one that was compiled. Empty: this V8's tables are not
/// known, or they do not say what V8's events said.
std::vector<FunctionWord> inlined_functions(std::uintptr_t code_start, FunctionWord own,
                                            const std::vector<CodePosition>& positions);

/// Does V8's data of optimised code name functions that are inlined? Where they are not known it does not.
bool has_inlined(std::uintptr_t code_start);

/// The positions of bytecode that V8 told without them, because it was there before we listened or came from a cache.
/// None: V8 has not made them, or this V8's are not known.
std::vector<CodePosition> bytecode_positions(std::uintptr_t first, std::size_t bytes);

/// The positions of Maglev's code; none: this V8's are not known.
std::vector<CodePosition> maglev_positions(std::uintptr_t code_start, std::size_t code_bytes);

}  // namespace watcher::node

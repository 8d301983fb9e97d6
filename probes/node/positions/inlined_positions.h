// Whose source a position in optimised code is in, when functions were inlined: V8's events leave that out, the code's
// own table of positions has it. Of Maglev's code they leave out the positions, too.
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

/// The positions of Maglev's code; none: this V8's are not known.
std::vector<CodePosition> own_positions(std::uintptr_t code_start, std::size_t code_bytes);

}  // namespace watcher::node

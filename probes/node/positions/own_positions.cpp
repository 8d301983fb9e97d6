#include "probes/node/positions/own_positions.h"

#include <string.h>

#include "probes/node/positions/heap_words.h"

namespace watcher::node {
namespace {

constexpr std::int64_t kEntry = -1;  // the place of what a function does before its first bytecode

/// V8's table of positions: differences, signed, in groups of seven bits.
class PositionReader {
 public:
  explicit PositionReader(Words table)
      : at_(reinterpret_cast<const std::uint8_t*>(elements(table))), end_(at_ + length_of(table)) {}

  bool done() const { return at_ == end_; }
  void next() {
    const std::int64_t step = number();
    offset_ += step < 0 ? -(step + 1) : step;
    position_ += number();
  }
  std::int64_t offset() const { return offset_; }
  std::int32_t script_position() const { return static_cast<std::int32_t>(position_ >> 1 & 0x3fffffff) - 1; }
  int inlining() const { return static_cast<int>(position_ >> 31 & 0xffff) - 1; }

 private:
  std::int64_t number() {
    std::uint64_t bits = 0;
    for (int shift = 0; at_ != end_ && shift < 64; shift += 7) {
      const std::uint8_t byte = *at_++;
      bits |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return static_cast<std::int64_t>(bits >> 1 ^ (0 - (bits & 1)));
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::int64_t offset_ = kEntry;
  std::int64_t position_ = 0;
};

/// None where one would not be in the code.
std::vector<CodePosition> positions_in(Words table, std::size_t code_bytes) {
  std::vector<CodePosition> positions;
  for (PositionReader reader(table); !reader.done();) {
    reader.next();
    if (reader.offset() == kEntry) continue;
    if (reader.offset() < 0 || static_cast<std::size_t>(reader.offset()) > code_bytes) return {};
    positions.push_back({static_cast<std::uint32_t>(reader.offset()), reader.script_position()});
  }
  return positions;
}

/// The functions inlined into a code, by the numbers of inlinings.
class Inlinings {
 public:
  Inlinings(Words deoptimization, const HeapLayout& layout, FunctionWord own) : own_(own) {
    if (length_of(deoptimization) <= static_cast<std::size_t>(layout.inlinings)) return;
    literals_ = heap_object(elements(deoptimization)[layout.literals]);
    inlinings_ = heap_object(elements(deoptimization)[layout.inlinings]);
  }

  std::size_t count() const { return inlinings_ != nullptr ? length_of(inlinings_) / sizeof(Inlining) : 0; }

  /// 0: not to be found.
  FunctionWord function(int inlining) const {
    if (inlining < 0) return own_;
    if (literals_ == nullptr || inlinings_ == nullptr) return 0;
    const auto at = static_cast<std::size_t>(inlining);
    if (at >= count()) return 0;
    Inlining entry;
    memcpy(&entry, reinterpret_cast<const Inlining*>(elements(inlinings_)) + at, sizeof entry);
    if (entry.function == -1) return own_;
    if (entry.function < 0 || static_cast<std::size_t>(entry.function) >= length_of(literals_)) return 0;
    const FunctionWord word = elements(literals_)[entry.function];
    const bool is_function =
        heap_object(word) != nullptr && *heap_object(word) == *heap_object(own_);  // the maps are the same
    return is_function ? word : 0;
  }

 private:
  struct Inlining {
    std::int64_t position;
    std::int32_t function;
  };
  static_assert(sizeof(Inlining) == 16);

  FunctionWord own_;
  Words literals_ = nullptr;
  Words inlinings_ = nullptr;
};

}  // namespace

std::vector<FunctionWord> inlined_functions(std::uintptr_t code_start, FunctionWord own,
                                            const std::vector<CodePosition>& positions) {
  const Words code = code_object(code_start);
  if (code == nullptr || heap_object(own) == nullptr) return {};
  const HeapLayout* known = heap_layout();
  const Words deoptimization = heap_object(code[known->deoptimization]);
  const Words table = heap_object(code[known->deoptimization + 1]);
  if (deoptimization == nullptr || table == nullptr) return {};
  std::vector<FunctionWord> functions;
  const Inlinings inlinings(deoptimization, *known, own);
  PositionReader reader(table);
  for (const CodePosition& position : positions) {
    if (reader.done()) return {};
    reader.next();
    if (reader.offset() != position.offset || reader.script_position() != position.position) return {};
    functions.push_back(inlinings.function(reader.inlining()));
  }
  if (!reader.done()) return {};
  return functions;
}

bool has_inlined(std::uintptr_t code_start) {
  const Words code = code_object(code_start);
  if (code == nullptr) return false;
  const Words deoptimization = heap_object(code[heap_layout()->deoptimization]);
  return deoptimization != nullptr && Inlinings(deoptimization, *heap_layout(), 0).count() != 0;
}

std::vector<CodePosition> bytecode_positions(std::uintptr_t first, std::size_t bytes) {
  const HeapLayout* known = heap_layout();
  if (known == nullptr) return {};
  const Words bytecode = reinterpret_cast<Words>(first - known->bytecode_header);
  const Words table = heap_object(bytecode[known->bytecode_positions]);
  const Words handlers = heap_object(bytecode[known->bytecode_handlers]);
  // what is no array of bytes is V8's `undefined`: positions are made when they are asked for
  if (length_of(bytecode) != bytes || table == nullptr || handlers == nullptr || *table != *handlers) return {};
  return positions_in(table, bytes);
}

std::vector<CodePosition> maglev_positions(std::uintptr_t code_start, std::size_t code_bytes) {
  constexpr std::size_t kMostForByte = 16;  // what is no table claims a length far beyond
  const Words code = code_object(code_start);
  if (code == nullptr || !heap_layout()->maglev) return {};
  const Words table = heap_object(code[heap_layout()->deoptimization + 1]);
  if (table == nullptr || length_of(table) > code_bytes * kMostForByte) return {};
  return positions_in(table, code_bytes);
}

}  // namespace watcher::node

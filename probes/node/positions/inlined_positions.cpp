#include "probes/node/positions/inlined_positions.h"

#include <string.h>

namespace watcher::node {
namespace {

/// Where optimised code keeps its tables, in words. Within a minor version of V8 that does not change.
struct Layout {
  const char* version;
  int code_word;       // before the first instruction: the pointer to the Code object; 0: the object itself ends there
  int deoptimization;  // in the Code object, the table of positions behind it
  int literals;        // in the deoptimization data
  int inlinings;
};
constexpr Layout kLayouts[] = {
    {"10.2.", 0, -14, 2, 7}, {"11.3.", -1, 2, 2, 7}, {"12.4.", -3, 1, 2, 7}, {"13.6.", -3, 1, 3, 8}};

const Layout* layout() {
  static const Layout* const known = []() -> const Layout* {
    for (const Layout& row : kLayouts)
      if (v8.version != nullptr && strncmp(v8.version(), row.version, strlen(row.version)) == 0) return &row;
    return nullptr;
  }();
  return known;
}

using Words = const std::uintptr_t*;

/// An object of V8's heap; null where the word is a small integer.
Words object(std::uintptr_t word) {
  return (word & 3) == 1 ? reinterpret_cast<Words>(word - 1) : nullptr;
}

/// Arrays of words or of bytes: a map, a length, the elements.
std::size_t length_of(Words array) {
  return array[1] >> 32;
}
Words elements(Words array) {
  return array + 2;
}

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
  std::int64_t offset_ = -1;
  std::int64_t position_ = 0;
};

/// The functions inlined into a code, by the numbers of inlinings.
class Inlinings {
 public:
  Inlinings(Words deoptimization, const Layout& layout, FunctionWord own) : own_(own) {
    if (length_of(deoptimization) <= static_cast<std::size_t>(layout.inlinings)) return;
    literals_ = object(elements(deoptimization)[layout.literals]);
    inlinings_ = object(elements(deoptimization)[layout.inlinings]);
  }

  /// 0: not to be found.
  FunctionWord function(int inlining) const {
    if (inlining < 0) return own_;
    if (literals_ == nullptr || inlinings_ == nullptr) return 0;
    const auto at = static_cast<std::size_t>(inlining);
    if (at >= length_of(inlinings_) / sizeof(Inlining)) return 0;
    Inlining entry;
    memcpy(&entry, reinterpret_cast<const Inlining*>(elements(inlinings_)) + at, sizeof entry);
    if (entry.function == -1) return own_;
    if (entry.function < 0 || static_cast<std::size_t>(entry.function) >= length_of(literals_)) return 0;
    const FunctionWord word = elements(literals_)[entry.function];
    const bool is_function = object(word) != nullptr && *object(word) == *object(own_);  // the maps are the same
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
  const Layout* known = layout();
  if (known == nullptr || object(own) == nullptr) return {};
  const auto* start = reinterpret_cast<Words>(code_start);
  const Words code = known->code_word == 0 ? start : object(start[known->code_word]);
  const Words deoptimization = code != nullptr ? object(code[known->deoptimization]) : nullptr;
  const Words table = code != nullptr ? object(code[known->deoptimization + 1]) : nullptr;
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

}  // namespace watcher::node

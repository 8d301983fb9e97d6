#include "probes/node/positions/baseline_positions.h"

#include "probes/node/positions/heap_words.h"

namespace watcher::node {
namespace {

constexpr std::uint8_t kWide = 0, kExtraWide = 1;

/// Of the bytecode there, with its prefix and its operands; 0: this V8 has no such one.
std::size_t size_of_bytecode(const std::uint8_t* at, std::size_t left, std::string_view sizes) {
  const std::size_t prefix = *at == kWide || *at == kExtraWide ? 1 : 0;
  const std::size_t scale = prefix == 0 ? 1 : *at == kWide ? 2 : 4;
  if (prefix == left || at[prefix] >= sizes.size()) return 0;
  const auto operands = static_cast<std::size_t>(sizes[at[prefix]] - 'a');
  return prefix + 1 + operands / 6 + operands % 6 * scale;
}

/// Sizes of code: groups of seven bits, the low ones first.
class SizeReader {
 public:
  explicit SizeReader(Words table)
      : at_(reinterpret_cast<const std::uint8_t*>(elements(table))), end_(at_ + length_of(table)) {}

  bool done() const { return at_ == end_; }
  std::size_t next() {
    std::size_t size = 0;
    for (unsigned shift = 0; at_ != end_ && shift < 32; shift += 7) {
      const std::uint8_t byte = *at_++;
      size |= std::size_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return size;
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace

// The whole table is read: only when it fits the bytecodes to the last is it what we take it for.
BytecodeSpot bytecode_at(std::uintptr_t code_start, std::size_t code_bytes, std::uintptr_t pc) {
  const HeapLayout* layout = heap_layout();
  const Words code = code_object(code_start);
  if (code == nullptr) return {};
  const Words bytecode = heap_object(code[layout->deoptimization]);
  const Words table = heap_object(code[layout->deoptimization + 1]);
  if (bytecode == nullptr || table == nullptr || length_of(table) > code_bytes) return {};
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytecode) + layout->bytecode_header;
  const std::size_t bytes = length_of(bytecode);
  BytecodeSpot found;
  SizeReader sizes(table);
  std::size_t end = sizes.next();  // of what comes before the first bytecode
  std::size_t offset = 0;
  while (offset < bytes && !sizes.done()) {
    const std::size_t begin = end;
    end += sizes.next();
    if (pc - code_start >= begin && pc - code_start < end)
      found = {reinterpret_cast<std::uintptr_t>(first), bytes, offset};
    const std::size_t step = size_of_bytecode(first + offset, bytes - offset, layout->bytecode_sizes);
    if (step == 0) return {};
    offset += step;
  }
  return offset == bytes && sizes.done() && end <= code_bytes ? found : BytecodeSpot{};
}

}  // namespace watcher::node

// Elements of a watched buffer, by its PEP 3118 format: what their bytes mean as numbers.
//
// One thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace watcher {

enum class ItemKind : std::uint8_t { kSigned, kUnsigned, kFloat, kBool, kChar, kRaw };

struct ItemFormat {
  ItemKind kind = ItemKind::kRaw;  // kRaw: a record, or a format we do not read
  std::uint32_t size = 1;
  bool swapped = false;  // big-endian

  /// A format whose size is not `item_size`, or that is no single number, is kRaw of that size.
  static ItemFormat parse(std::string_view format, std::uint32_t item_size);

  /// Name of the elements' type in the output: "int", "float", "bool" or "bytes".
  std::string_view type_name() const;

  /// `bytes` holds at least one item. For kSigned, kUnsigned (as two's complement), kBool.
  std::uint64_t integer(const char* bytes) const;
  /// For kFloat: half, single and double precision.
  double real(const char* bytes) const;

 private:
  std::uint64_t load(const char* bytes) const;
};

}  // namespace watcher

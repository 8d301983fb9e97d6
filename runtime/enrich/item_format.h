// Elements of a watched buffer, by its PEP 3118 format, or numpy's for times: what their bytes mean.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace watcher {

enum class ItemKind : std::uint8_t {
  kSigned,
  kUnsigned,
  kFloat,
  kBool,
  kChar,
  kComplex,
  kText,
  kTime,
  kDuration,
  kRaw
};

struct ItemFormat {
  ItemKind kind = ItemKind::kRaw;  // kRaw: a record, or a format we do not read
  std::uint32_t size = 1;
  bool swapped = false;   // big-endian
  std::string_view unit;  // kTime, kDuration: numpy's, such as "ms"

  /// A format whose size is not `item_size`, or that is no single number, is kRaw of that size.
  static ItemFormat parse(std::string_view format, std::uint32_t item_size);

  /// Name of the elements' type in the output: "int", "float", "bool", "complex", "str", "datetime64", "timedelta64"
  /// or "bytes".
  std::string_view type_name() const;

  /// `bytes` holds at least one item. For kSigned, kUnsigned (as two's complement), kBool, kTime, kDuration.
  std::uint64_t integer(const char* bytes) const;
  /// For kFloat: half, single and double precision.
  double real(const char* bytes) const;
  /// For kText: UTF-8, without the zeros at its end.
  std::string text(const char* bytes) const;
  /// For kComplex and kTime: as Python and numpy show them.
  std::string shown(const char* bytes) const;

 private:
  std::uint64_t load(const char* bytes) const;
};

}  // namespace watcher

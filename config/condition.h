// A condition on a change, such as `new > 100 and old <= 100`: a small part of Python's expressions, checked and
// compiled once. It has no calls but len(), abs() and type(), no attributes and no names beyond those of ConditionName,
// so a configuration can never run code.
//
//   or and not  == != < <= > >= (chains)  in, not in  is, is not (None, True, False)  + - * / // %  ( ) [1, 2]
//
// Compiling allocates. A compiled condition is read-only: any thread, no allocation; not for signal handlers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

/// What a condition may ask about a change.
enum class ConditionName : std::uint8_t { kOld, kNew, kName, kPath, kThread, kLine, kFunction, kFile, kOp, kScope };
inline constexpr std::size_t kConditionNames = 10;

/// A value as a condition sees it. Whole numbers beyond 64 bits come as kFloat, what is no plain value as kOther.
struct ConditionValue {
  enum class Kind : std::uint8_t { kNone, kBool, kInt, kFloat, kText, kOther };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;  // of kBool and kInt
  double real = 0;
  std::string_view text;  // of kText; of kOther its bounded repr
  std::string_view type;  // "int", "str", …: what type() gives; empty: the kind's own

  static ConditionValue of(std::int64_t value) {
    return {.kind = Kind::kInt, .integer = value, .text = {}, .type = {}};
  }
  static ConditionValue of(double value) { return {.kind = Kind::kFloat, .real = value, .text = {}, .type = {}}; }
  static ConditionValue of(std::string_view value) { return {.kind = Kind::kText, .text = value, .type = {}}; }
  static ConditionValue boolean(bool value) { return {.kind = Kind::kBool, .integer = value, .text = {}, .type = {}}; }
};

/// Asked only for what the condition mentions.
using ConditionLookup = ConditionValue (*)(ConditionName name, const void* change);

class Condition {
 public:
  /// The error names the column and what would be right.
  static Result<Condition> compile(std::string_view source);

  /// kUnknown where Python would raise: `None > 3`, a division by zero. A change is recorded then, not lost.
  enum class Verdict : std::uint8_t { kFalse, kTrue, kUnknown };
  Verdict test(ConditionLookup lookup, const void* change) const;

  bool mentions(ConditionName name) const { return (mentioned_ >> static_cast<unsigned>(name) & 1) != 0; }
  const std::string& source() const { return source_; }

 private:
  friend class ConditionParser;
  friend class ConditionRun;

  enum class NodeKind : std::uint8_t { kConstant, kName, kNot, kMinus, kArithmetic, kCompare, kAnd, kOr, kCall, kList };
  /// Children by index; a comparison's chain, a list's items and a call's argument are linked by `next`.
  struct Node {
    NodeKind kind;
    std::uint8_t detail = 0;  // ConditionName, operator or function
    std::int32_t first = -1;
    std::int32_t second = -1;
    std::int32_t next = -1;
    ConditionValue constant = {};
    std::uint32_t text_at = 0;  // a text constant lies in texts_
  };

  std::string source_;
  std::string texts_;
  std::vector<Node> nodes_;
  std::int32_t root_ = -1;
  std::uint32_t mentioned_ = 0;
};

}  // namespace watcher

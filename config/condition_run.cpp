// The evaluation of a condition: Python's rules for the few types there are.
#include <cmath>
#include <optional>

#include "config/condition_tokens.h"

namespace watcher {
namespace {

using Value = ConditionValue;
using Kind = ConditionValue::Kind;
using Outcome = std::optional<Value>;  // empty: Python would raise

bool is_whole(const Value& value) {
  return value.kind == Kind::kBool || value.kind == Kind::kInt;
}
bool is_number(const Value& value) {
  return is_whole(value) || value.kind == Kind::kFloat;
}
double as_real(const Value& value) {
  return value.kind == Kind::kFloat ? value.real : static_cast<double>(value.integer);
}

/// What no plain value is, is taken for true: an object is, unless its class says otherwise.
bool is_true(const Value& value) {
  switch (value.kind) {
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer != 0;
    case Kind::kFloat:
      return value.real != 0;
    case Kind::kText:
      return !value.text.empty();
    case Kind::kOther:
      break;
  }
  return true;
}

template <class T>
int order(const T& left, const T& right) {
  return left < right ? -1 : left > right ? 1 : 0;
}

/// -1, 0, 1; empty when the two have no order (a NaN, or different types).
std::optional<int> order_of(const Value& left, const Value& right) {
  if (is_whole(left) && is_whole(right)) return order(left.integer, right.integer);
  if (is_number(left) && is_number(right)) {
    const double a = as_real(left), b = as_real(right);
    if (std::isnan(a) || std::isnan(b)) return std::nullopt;
    return order(a, b);
  }
  if (left.kind == Kind::kText && right.kind == Kind::kText) return order(left.text, right.text);
  return std::nullopt;
}

bool equal(const Value& left, const Value& right) {
  if (left.kind == Kind::kNone || right.kind == Kind::kNone) return left.kind == right.kind;
  const auto compared = order_of(left, right);
  return compared && *compared == 0;
}

/// `None`, `True` and `False` are the only values of which `is` means something here.
bool identical(const Value& left, const Value& right) {
  return left.kind == right.kind && equal(left, right);
}

std::int64_t floor_divide(std::int64_t left, std::int64_t right) {
  const std::int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

/// Of the divisor's sign, as Python has it.
std::int64_t floor_remainder(std::int64_t left, std::int64_t right) {
  const std::int64_t remainder = left % right;
  return remainder != 0 && (left < 0) != (right < 0) ? remainder + right : remainder;
}

Outcome whole(char what, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  const bool overflow = what == '+'   ? __builtin_add_overflow(left, right, &result)
                        : what == '-' ? __builtin_sub_overflow(left, right, &result)
                                      : __builtin_mul_overflow(left, right, &result);
  if (!overflow) return Value::of(result);
  const double a = static_cast<double>(left), b = static_cast<double>(right);
  return Value::of(what == '+' ? a + b : what == '-' ? a - b : a * b);
}

Outcome divided(char what, const Value& left, const Value& right) {
  const double divisor = as_real(right);
  if (divisor == 0) return std::nullopt;
  if (what == '/') return Value::of(as_real(left) / divisor);
  const bool whole_numbers = is_whole(left) && is_whole(right) && right.integer != -1;
  if (whole_numbers)
    return Value::of(what == 'd' ? floor_divide(left.integer, right.integer)
                                 : floor_remainder(left.integer, right.integer));
  const double quotient = std::floor(as_real(left) / divisor);
  return Value::of(what == 'd' ? quotient : as_real(left) - quotient * divisor);
}

Outcome arithmetic(char what, const Value& left, const Value& right) {
  if (!is_number(left) || !is_number(right)) return std::nullopt;
  if (what == '/' || what == 'd' || what == '%') return divided(what, left, right);
  if (is_whole(left) && is_whole(right)) return whole(what, left.integer, right.integer);
  const double a = as_real(left), b = as_real(right);
  return Value::of(what == '+' ? a + b : what == '-' ? a - b : a * b);
}

std::string_view type_of(const Value& value) {
  constexpr std::string_view kTypes[] = {"NoneType", "bool", "int", "float", "str", "object"};
  return value.type.empty() ? kTypes[static_cast<std::size_t>(value.kind)] : value.type;
}

Outcome call(std::uint8_t function, const Value& argument) {
  enum { kLen, kAbs, kType };
  if (function == kType) return Value::of(type_of(argument));
  if (function == kAbs) {
    if (argument.kind == Kind::kFloat) return Value::of(std::fabs(argument.real));
    if (!is_whole(argument)) return std::nullopt;
    return argument.integer < 0 ? whole('-', 0, argument.integer) : Value::of(argument.integer);
  }
  if (argument.kind != Kind::kText) return std::nullopt;
  std::int64_t characters = 0;
  for (const char c : argument.text) characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // UTF-8
  return Value::of(characters);
}

}  // namespace

class ConditionRun {
 public:
  ConditionRun(const Condition& condition, ConditionLookup lookup, const void* change)
      : condition_(condition), lookup_(lookup), change_(change) {}

  Outcome value(std::int32_t index) const {
    const Condition::Node& here = node(index);
    switch (here.kind) {
      case Condition::NodeKind::kConstant:
        return constant(here);
      case Condition::NodeKind::kName:
        return lookup_(static_cast<ConditionName>(here.detail), change_);
      case Condition::NodeKind::kNot:
        if (const Outcome inner = value(here.first)) return Value::boolean(!is_true(*inner));
        return std::nullopt;
      case Condition::NodeKind::kMinus:
        if (const Outcome inner = value(here.first)) return arithmetic('-', Value::of(std::int64_t{0}), *inner);
        return std::nullopt;
      case Condition::NodeKind::kAnd:
      case Condition::NodeKind::kOr:
        return logical(here);
      case Condition::NodeKind::kCompare:
        return compared(here);
      case Condition::NodeKind::kCall:
        if (const Outcome argument = value(here.first)) return call(here.detail, *argument);
        return std::nullopt;
      case Condition::NodeKind::kArithmetic: {
        const Outcome left = value(here.first);
        const Outcome right = left ? value(here.second) : Outcome{};
        return right ? arithmetic(static_cast<char>(here.detail), *left, *right) : Outcome{};
      }
      case Condition::NodeKind::kList:
        break;  // only at the right of `in`
    }
    return std::nullopt;
  }

 private:
  const Condition::Node& node(std::int32_t index) const { return condition_.nodes_[static_cast<std::size_t>(index)]; }

  Value constant(const Condition::Node& here) const {
    Value value = here.constant;
    if (value.kind == Kind::kText)
      value.text = std::string_view(condition_.texts_).substr(here.text_at, static_cast<std::size_t>(value.integer));
    return value;
  }

  Outcome logical(const Condition::Node& here) const {
    const Outcome left = value(here.first);
    if (!left || is_true(*left) == (here.kind == Condition::NodeKind::kOr)) return left;
    return value(here.second);
  }

  std::optional<bool> contained(const Value& item, std::int32_t container) const {
    if (node(container).kind == Condition::NodeKind::kList) {
      for (std::int32_t link = node(container).second; link >= 0; link = node(link).next) {
        const Outcome candidate = value(node(link).first);
        if (!candidate) return std::nullopt;
        if (equal(item, *candidate)) return true;
      }
      return false;
    }
    const Outcome whole_text = value(container);
    if (!whole_text || item.kind != Kind::kText || whole_text->text.data() == nullptr) return std::nullopt;
    return whole_text->text.find(item.text) != std::string_view::npos;
  }

  std::optional<bool> holds(Comparison comparison, const Value& left, std::int32_t operand, Outcome* right) const {
    if (comparison == Comparison::kIn || comparison == Comparison::kNotIn) {
      const auto inside = contained(left, operand);
      *right = Value{};
      return inside ? std::optional(*inside == (comparison == Comparison::kIn)) : std::nullopt;
    }
    *right = value(operand);
    if (!*right) return std::nullopt;
    if (comparison == Comparison::kEqual) return equal(left, **right);
    if (comparison == Comparison::kNotEqual) return !equal(left, **right);
    if (comparison == Comparison::kIs) return identical(left, **right);
    if (comparison == Comparison::kIsNot) return !identical(left, **right);
    const auto compared = order_of(left, **right);
    if (!compared) return is_number(left) && is_number(**right) ? std::optional(false) : std::nullopt;
    if (comparison == Comparison::kLess) return *compared < 0;
    if (comparison == Comparison::kLessEqual) return *compared <= 0;
    return comparison == Comparison::kGreater ? *compared > 0 : *compared >= 0;
  }

  Outcome compared(const Condition::Node& here) const {
    Outcome left = value(here.first);
    for (std::int32_t link = here.second; link >= 0 && left; link = node(link).next) {
      Outcome right;
      const auto result = holds(static_cast<Comparison>(node(link).detail), *left, node(link).first, &right);
      if (!result) return std::nullopt;
      if (!*result) return Value::boolean(false);
      left = right;
    }
    return left ? Outcome(Value::boolean(true)) : std::nullopt;
  }

  const Condition& condition_;
  const ConditionLookup lookup_;
  const void* const change_;
};

Condition::Verdict Condition::test(ConditionLookup lookup, const void* change) const {
  const Outcome outcome = ConditionRun(*this, lookup, change).value(root_);
  if (!outcome) return Verdict::kUnknown;
  return is_true(*outcome) ? Verdict::kTrue : Verdict::kFalse;
}

}  // namespace watcher

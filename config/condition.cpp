#include "config/condition.h"

#include <optional>
#include <utility>

#include "config/condition_tokens.h"

namespace watcher {
namespace {

constexpr int kMaxDepth = 32;  // of nesting; bounds the recursion of parser and evaluation
constexpr std::size_t kMaxSource = 4096;

constexpr std::string_view kNames[kConditionNames] = {"old",  "new",      "name", "path", "thread",
                                                      "line", "function", "file", "op",   "scope"};
constexpr std::string_view kFunctions[] = {"len", "abs", "type"};

template <std::size_t N>
std::optional<std::uint8_t> index_of(const std::string_view (&words)[N], std::string_view word) {
  for (std::size_t i = 0; i < N; ++i)
    if (words[i] == word) return static_cast<std::uint8_t>(i);
  return std::nullopt;
}

}  // namespace

/// Recursive descent, one function a level of precedence. -1 is an error that has been noted.
class ConditionParser {
 public:
  explicit ConditionParser(std::string_view source) : tokens_(source) { condition_.source_ = source; }

  Result<Condition> parse() {
    condition_.root_ = disjunction();
    if (condition_.root_ >= 0 && !tokens_.at_end()) fail("expected 'and', 'or', a comparison or the end");
    if (!error_.empty()) return Error{0, std::move(error_)};
    return std::move(condition_);
  }

 private:
  using Kind = Condition::NodeKind;

  std::int32_t fail(std::string_view expected) {
    if (!error_.empty()) return -1;
    error_.append("column ").append(std::to_string(tokens_.column())).append(": ");
    error_.append(expected).append(", not ").append(tokens_.describe());
    return -1;
  }

  std::int32_t add(Condition::Node node) {
    condition_.nodes_.push_back(node);
    return static_cast<std::int32_t>(condition_.nodes_.size() - 1);
  }

  std::int32_t add(Kind kind, std::uint8_t detail, std::int32_t first, std::int32_t second = -1) {
    if (first < 0) return -1;
    return add({.kind = kind, .detail = detail, .first = first, .second = second});
  }

  template <class Level>
  std::int32_t joined(std::string_view word, Kind kind, Level level) {
    std::int32_t left = level();
    while (left >= 0 && tokens_.take(word)) {
      const std::int32_t right = level();
      if (right < 0) return -1;
      left = add(kind, 0, left, right);
    }
    return left;
  }

  std::int32_t disjunction() {
    if (++depth_ > kMaxDepth) return fail("nested too deeply: expected something simpler");
    const std::int32_t node = joined("or", Kind::kOr, [this] { return conjunction(); });
    --depth_;
    return node;
  }

  std::int32_t conjunction() {
    return joined("and", Kind::kAnd, [this] { return negation(); });
  }

  std::int32_t negation() {
    int count = 0;
    while (tokens_.take("not")) ++count;
    const std::int32_t node = comparison();
    if (count == 0) return node;
    const std::int32_t once = add(Kind::kNot, 0, node);
    return count % 2 != 0 ? once : add(Kind::kNot, 0, once);  // twice makes a truth value
  }

  std::optional<Comparison> comparison_operator() {
    if (tokens_.take("not")) {
      if (tokens_.take("in")) return Comparison::kNotIn;
      fail("expected 'in'");
      return std::nullopt;
    }
    if (tokens_.take("is")) return tokens_.take("not") ? Comparison::kIsNot : Comparison::kIs;
    for (const auto& [word, comparison] : kComparisons)
      if (tokens_.take(word)) return comparison;
    return std::nullopt;
  }

  /// A chain `a < b < c` is one node: `first` is a, its links hang on `second`.
  std::int32_t comparison() {
    const std::int32_t first = sum();
    std::int32_t chain = -1;
    std::int32_t last = -1;
    while (first >= 0) {
      const auto wanted = comparison_operator();
      if (!wanted) break;
      const std::int32_t operand = sum();
      if (operand < 0) return -1;
      const std::int32_t link = add(Kind::kCompare, static_cast<std::uint8_t>(*wanted), operand);
      (last < 0 ? chain : condition_.nodes_[static_cast<std::size_t>(last)].next) = link;
      last = link;
    }
    if (!error_.empty()) return -1;
    return chain < 0 ? first : add(Kind::kCompare, 0, first, chain);
  }

  template <std::size_t N, class Level>
  std::int32_t arithmetic(const std::string_view (&words)[N], Level level) {
    std::int32_t left = level();
    for (bool more = true; more && left >= 0;) {
      more = false;
      for (const std::string_view word : words) {
        if (!tokens_.take(word)) continue;
        const std::int32_t right = level();
        if (right < 0) return -1;
        left = add(Kind::kArithmetic, static_cast<std::uint8_t>(word == "//" ? 'd' : word[0]), left, right);
        more = true;
        break;
      }
    }
    return left;
  }

  std::int32_t sum() {
    static constexpr std::string_view kWords[] = {"+", "-"};
    return arithmetic(kWords, [this] { return product(); });
  }
  std::int32_t product() {
    static constexpr std::string_view kWords[] = {"*", "//", "/", "%"};
    return arithmetic(kWords, [this] { return sign(); });
  }

  std::int32_t sign() {
    bool negative = false;
    bool any = false;
    for (;; any = true)
      if (tokens_.take("-"))
        negative = !negative;
      else if (!tokens_.take("+"))
        break;
    const std::int32_t node = primary();
    if (!any) return node;
    const std::int32_t minus = add(Kind::kMinus, 0, node);
    return negative ? minus : add(Kind::kMinus, 0, minus);
  }

  std::int32_t list(std::string_view close) {
    std::int32_t head = -1;
    std::int32_t last = -1;
    while (!tokens_.take(close)) {
      const std::int32_t item = disjunction();
      if (item < 0) return -1;
      const std::int32_t link = add(Kind::kList, 0, item);
      (last < 0 ? head : condition_.nodes_[static_cast<std::size_t>(last)].next) = link;
      last = link;
      if (!tokens_.take(",") && !tokens_.is(close)) return fail("expected ',' or the end of the list");
    }
    return add({.kind = Kind::kList, .second = head});
  }

  /// `(x)` is x, `(x,)` and `(x, y)` are lists.
  std::int32_t parenthesis() {
    if (tokens_.take(")")) return add({.kind = Kind::kList});
    const std::int32_t inner = disjunction();
    if (inner < 0 || tokens_.take(")")) return inner;
    if (!tokens_.take(",")) return fail("expected ')'");
    const std::int32_t head = add(Kind::kList, 0, inner);
    const std::int32_t rest = list(")");
    if (rest < 0) return -1;
    condition_.nodes_[static_cast<std::size_t>(head)].next = condition_.nodes_[static_cast<std::size_t>(rest)].second;
    condition_.nodes_[static_cast<std::size_t>(rest)].second = head;
    return rest;
  }

  std::int32_t call(std::uint8_t function) {
    if (!tokens_.take("(")) return fail("expected '('");
    const std::int32_t argument = disjunction();
    if (argument < 0) return -1;
    return tokens_.take(")") ? add(Kind::kCall, function, argument) : fail("expected ')'");
  }

  std::int32_t constant(ConditionValue value) { return add({.kind = Kind::kConstant, .constant = value}); }

  std::int32_t primary() {
    if (tokens_.take("(")) return parenthesis();
    if (tokens_.take("[")) return list("]");
    if (tokens_.take("None")) return constant({});
    if (tokens_.take("True")) return constant(ConditionValue::boolean(true));
    if (tokens_.take("False")) return constant(ConditionValue::boolean(false));
    if (const auto number = tokens_.take_number()) return constant(*number);
    if (tokens_.is_text()) {
      const auto at = static_cast<std::uint32_t>(condition_.texts_.size());
      if (!tokens_.take_text(&condition_.texts_)) return fail("expected a plain text");
      ConditionValue value = ConditionValue::of(std::string_view{});
      value.integer = static_cast<std::int64_t>(condition_.texts_.size() - at);
      return add({.kind = Kind::kConstant, .constant = value, .text_at = at});
    }
    if (const auto name = index_of(kNames, tokens_.word())) {
      tokens_.skip();
      condition_.mentioned_ |= 1u << *name;
      return add({.kind = Kind::kName, .detail = *name});
    }
    if (const auto function = index_of(kFunctions, tokens_.word())) {
      tokens_.skip();
      return call(*function);
    }
    return fail("expected old, new, name, path, thread, line, function, file, op, scope, a number or a text");
  }

  ConditionTokens tokens_;
  Condition condition_;
  std::string error_;
  int depth_ = 0;
};

Result<Condition> Condition::compile(std::string_view source) {
  if (source.size() > kMaxSource) return Error{0, "a condition is at most 4096 characters long"};
  return ConditionParser(source).parse();
}

}  // namespace watcher

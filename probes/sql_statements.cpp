#include "probes/sql_statements.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace watcher {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word(char c) {
  return is_letter(c) || is_digit(c) || c == '_' || c == '$' || (c & 0x80) != 0;
}

/// Length of what opens the text and is no SQL: a comment or quoted text (up to the end when it is not closed); 0:
/// neither.
std::size_t opaque_length(std::string_view text, bool* literal) {
  *literal = false;
  const auto up_to = [&](std::string_view end, std::size_t from) {
    const std::size_t at = text.find(end, from);
    return at == text.npos ? text.size() : at + end.size();
  };
  if (text.starts_with("--")) return up_to("\n", 2);
  if (text.starts_with("/*")) return up_to("*/", 2);
  if (text.starts_with('"') || text.starts_with('`')) return up_to(text.substr(0, 1), 1);
  if (!text.starts_with('\'')) return 0;
  *literal = true;
  return up_to("'", 1);
}

/// One step through a statement: a word, a literal, or a single other character.
struct Token {
  std::size_t length;
  bool word = false, literal = false, blank = false;
};
Token token_at(std::string_view text) {
  Token token{.length = 1};
  if (const std::size_t opaque = opaque_length(text, &token.literal); opaque > 0) {
    token.length = opaque;
    token.blank = !token.literal && (text[0] == '-' || text[0] == '/');
    return token;
  }
  if (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')) token.blank = true;
  if (!is_word(text[0])) return token;
  token.literal = is_digit(text[0]);
  token.word = !token.literal;
  while (token.length < text.size() && (is_word(text[token.length]) || (token.literal && text[token.length] == '.')))
    ++token.length;
  return token;
}

std::string_view upper_case(std::string_view word, char (&room)[16]) {
  const std::size_t length = std::min(word.size(), sizeof room);
  for (std::size_t i = 0; i < length; ++i)
    room[i] = word[i] >= 'a' && word[i] <= 'z' ? static_cast<char>(word[i] - 32) : word[i];
  return {room, length};
}

/// The verb outside the brackets of `WITH a AS (…), b AS (…) verb …`.
std::string_view verb_behind_with(std::string_view text, char (&room)[16]) {
  static constexpr std::string_view kVerbs[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "VALUES"};
  int depth = 0;
  while (!text.empty()) {
    const Token token = token_at(text);
    if (token.word && depth == 0)
      for (std::string_view verb : kVerbs)
        if (upper_case(text.substr(0, token.length), room) == verb) return verb;
    if (text[0] == '(') ++depth;
    if (text[0] == ')') --depth;
    text.remove_prefix(token.length);
  }
  return "WITH";
}

/// The statement with `?` for each literal: what an application that writes values into its SQL executes over and over.
std::string without_literals(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Token token = token_at(text);
    token.literal ? out += '?' : out += text.substr(0, token.length);
    text.remove_prefix(token.length);
  }
  return out;
}

// Budgets of different statements; contexts beyond them are told shorter. Statements known by the hash of all they
// hold.
struct Budget {
  int statements;
  int bytes;
  bool take(std::size_t size) {
    if (statements <= 0 || bytes < static_cast<int>(size)) return false;
    --statements;
    bytes -= static_cast<int>(size);
    return true;
  }
};
constinit Budget whole{.statements = 3072, .bytes = 1 << 20};
constinit Budget with_params{.statements = 2048, .bytes = 1 << 19};
constinit Budget shortened{.statements = 512, .bytes = 1 << 17};
constinit int databases_left = 512;

struct Known {
  DictionaryRef ref;
  bool cut;  // for lack of room, to be counted each time
};
auto& known_statements() {
  static auto* table = new std::unordered_map<std::uint64_t, Known>;  // process-lifetime
  return *table;
}

struct Parts {
  std::string_view driver;
  std::string_view statement;
  DictionaryRef operation;
  DictionaryRef database;
  std::string_view params;
  bool cut;
};

DictionaryRef make_blob(EventRing& ring, const Parts& parts) {
  const SqlBlob blob{.statement = parts.statement.empty() ? 0 : ring.dictionary().intern(parts.statement),
                     .operation = parts.operation,
                     .driver = ring.dictionary().intern(parts.driver),
                     .database = parts.database,
                     .params = parts.params.empty() ? 0 : ring.dictionary().intern(parts.params),
                     .flags = parts.cut ? kSqlCut : 0u};
  return ring.dictionary().intern(BlobKind::kSql, blob);
}

std::uint64_t hash_of(const Parts& parts) {
  const std::uint64_t seed = static_cast<std::uint64_t>(parts.database) << 1 | static_cast<std::uint64_t>(parts.cut);
  const std::uint64_t driver = XXH64(parts.driver.data(), parts.driver.size(), seed);
  std::uint64_t hash = XXH64(parts.statement.data(), parts.statement.size(), driver);
  if (!parts.params.empty()) hash = XXH64(parts.params.data(), parts.params.size(), hash);
  return hash;
}

Known make_known(EventRing& ring, Parts parts) {
  char room[16];
  parts.operation = ring.dictionary().intern(operation_of(parts.statement, room));
  Budget& budget = parts.params.empty() ? whole : with_params;
  if (budget.take(parts.statement.size() + parts.params.size())) return {make_blob(ring, parts), false};
  const std::string general = without_literals(parts.statement);
  parts.params = {};
  parts.cut = true;
  parts.statement = general;
  const std::uint64_t hash = hash_of(parts);
  const auto found = known_statements().find(hash);
  if (found != known_statements().end()) return {found->second.ref, true};
  if (shortened.take(general.size())) {
    const DictionaryRef ref = make_blob(ring, parts);
    known_statements().emplace(hash, Known{ref, true});
    return {ref, true};
  }
  parts.statement = {};
  return {make_blob(ring, parts), true};
}

// What is executed again is mostly the same text at the same place. The text is compared: other texts come to lie
// there.
struct Recent {
  std::string statement, driver;
  DictionaryRef database = 0;
  DictionaryRef ref = 0;  // 0: unused
  bool cut = false;
};
constexpr std::size_t kRecent = 64;
Recent& recent_at(const char* statement) {
  static auto* slots = new Recent[kRecent];  // process-lifetime
  return slots[(reinterpret_cast<std::uintptr_t>(statement) * 0x9e3779b97f4a7c15u >> 32) % kRecent];
}

}  // namespace

std::string_view operation_of(std::string_view statement, char (&room)[16]) {
  while (!statement.empty()) {
    const Token token = token_at(statement);
    if (token.word) {
      const std::string_view word = upper_case(statement.substr(0, token.length), room);
      return word == "WITH" ? verb_behind_with(statement.substr(token.length), room) : word;
    }
    if (!token.blank && statement[0] != '(' && statement[0] != ';') return {};
    statement.remove_prefix(token.length);
  }
  return {};
}

DictionaryRef intern_sql_database(EventRing& ring, std::string_view name) {
  constexpr std::size_t kMaxName = 1024;
  name = name.substr(0, kMaxName);
  if (name.empty()) return 0;
  const DictionaryRef known =
      ring.dictionary().lookup(BlobKind::kString, name.data(), static_cast<std::uint32_t>(name.size()));
  if (known != 0 || databases_left <= 0) return known;
  --databases_left;
  return ring.dictionary().intern(name);
}

DictionaryRef intern_sql(EventRing& ring, const SqlText& sql) {
  Recent& recent = recent_at(sql.statement.data());
  if (recent.ref != 0 && recent.statement == sql.statement && recent.database == sql.database &&
      recent.driver == sql.driver && recent.cut == sql.cut && sql.params.empty())
    return recent.ref;
  const Parts parts{.driver = sql.driver,
                    .statement = sql.statement,
                    .operation = 0,
                    .database = sql.database,
                    .params = sql.params,
                    .cut = sql.cut};
  const std::uint64_t hash = hash_of(parts);
  const auto found = known_statements().find(hash);
  const Known known = found != known_statements().end() ? found->second : make_known(ring, parts);
  if (found == known_statements().end() && !known.cut) known_statements().emplace(hash, known);
  if (known.cut)
    ring.header()->contexts_cut.fetch_add(1, std::memory_order_relaxed);
  else if (sql.params.empty())
    recent = {std::string(sql.statement), std::string(sql.driver), sql.database, known.ref, sql.cut};
  return known.ref;
}

}  // namespace watcher

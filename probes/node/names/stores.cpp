#include "probes/node/names/stores.h"

#include <math.h>
#include <string.h>

#include <array>
#include <atomic>
#include <mutex>

#include "probes/node/events/emit.h"
#include "probes/node/events/values.h"
#include "probes/node/host/fast_function.h"
#include "probes/node/host/napi_values.h"

namespace watcher::node {
namespace {

/// A store in transformed code: what it stores to and where it stands.
struct Site {
  DictionaryRef variable;
  DictionaryRef place;
  Scope scope;
};

/// All sites of the process: code transformed in one thread runs in others. Written under the lock, read without; the
/// number of a site is published by being compiled into code.
class SiteTable {
 public:
  std::uint32_t add(const Site& site) {
    const std::lock_guard<std::mutex> guard(lock_);
    const std::uint32_t number = used_;
    if (number >= kChunks * kChunk) return 0;
    std::atomic<Site*>& chunk = chunks_[number / kChunk];
    if (chunk.load(std::memory_order_relaxed) == nullptr) chunk.store(new Site[kChunk], std::memory_order_relaxed);
    chunk.load(std::memory_order_relaxed)[number % kChunk] = site;
    ++used_;
    return number;
  }
  const Site* find(std::uint32_t number) const {
    if (number == 0 || number >= kChunks * kChunk) return nullptr;
    const Site* chunk = chunks_[number / kChunk].load(std::memory_order_relaxed);
    return chunk != nullptr ? &chunk[number % kChunk] : nullptr;
  }

 private:
  static constexpr std::uint32_t kChunk = 1024;
  static constexpr std::uint32_t kChunks = 4096;
  std::mutex lock_;
  std::uint32_t used_ = 1;  // 0 is no site
  std::array<std::atomic<Site*>, kChunks> chunks_{};
};

SiteTable& sites() {
  static auto* table = new SiteTable;  // process-lifetime
  return *table;
}

Scope scope_of(std::string_view name) {
  return name == "local" ? Scope::kLocal : name == "global" ? Scope::kGlobal : Scope::kUnknown;
}

const char* const kScopeNames[] = {"unknown", "local", "global", "both"};

/// rules(path): [{ name, scope, when, sample, maxPerSecond }] for a source file.
napi_value give_rules(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const watcher_rule* rules = nullptr;
  const std::size_t count = runtime->rules(text_of(env, arguments.values[0]).c_str(), &rules);
  napi_value list = nullptr;
  napi_create_array(env, &list);
  for (std::size_t i = 0; i < count; ++i) {
    napi_value rule = nullptr;
    napi_create_object(env, &rule);
    const auto put = [&](const char* name, napi_value value) { napi_set_named_property(env, rule, name, value); };
    put("name", make_text(env, rules[i].name));
    put("scope", make_text(env, kScopeNames[rules[i].scope]));
    put("when", make_text(env, rules[i].when != nullptr ? rules[i].when : ""));
    put("sample", make_number(env, rules[i].sample));
    put("maxPerSecond", make_number(env, rules[i].max_per_second));
    napi_set_element(env, list, static_cast<std::uint32_t>(i), rule);
  }
  return list;
}

/// site(name, scope, owner, function, file, line, when, sample, maxPerSecond): a number for record(); 0: no session.
napi_value make_site(napi_env env, napi_callback_info info) {
  const Arguments<9> arguments(env, info);
  const auto text = [&](int at) { return text_of(env, arguments.values[at]); };
  if (!ensure_session()) return make_number(env, 0);
  const std::string when = text(6);
  const VariableTerms terms{.format = {},
                            .item_bytes = 0,
                            .mutation_depth = 0,
                            .when = when,
                            .sample = number_of(env, arguments.values[7], 1),
                            .max_per_second = static_cast<std::uint32_t>(number_of(env, arguments.values[8]))};
  const Scope scope = scope_of(text(1));
  const Site site{.variable = intern_variable(text(0), text(2), scope, terms),
                  .place = intern_place(text(3), text(4), static_cast<int>(number_of(env, arguments.values[5]))),
                  .scope = scope};
  return make_number(env, sites().add(site));
}

Subject subject_of(const Site& site) {
  return {.variable = site.variable, .place = site.place, .scope = site.scope};
}

void store_values(napi_env env, napi_value number, napi_value before, std::string_view before_type, napi_value after,
                  std::string_view after_type) {
  std::uint32_t which = 0;
  napi_get_value_uint32(env, number, &which);
  const Site* site = sites().find(which);
  if (site == nullptr) return;
  Scratch& values = scratch();
  encode(env, before, before_type, &values.before);
  encode(env, after, after_type, &values.after);
  const Claim claim =
      claim_event(Op::kStore, subject_of(*site), values.before.payload_bytes() + values.after.payload_bytes());
  if (!claim) return;
  put_values(claim, claim.payload(), values.before, values.after);
  claim.commit();
}

/// store(site, before, after): of values that need no description.
void store(const CallInfo& info) {
  store_values(thread_env, info.argument(0), info.argument(1), {}, info.argument(2), {});
}

/// storeDescribed(site, before, beforeType, after, afterType): types are '' for values themselves.
napi_value store_described(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  store_values(env, arguments.values[0], arguments.values[1], text_of(env, arguments.values[2]), arguments.values[3],
               text_of(env, arguments.values[4]));
  return nullptr;
}

ValueKind put_word(std::uint32_t kind, double value, std::uint64_t* word) {
  if (kind == static_cast<std::uint32_t>(ValueKind::kFloat)) return put_number(value, word);
  *word = kind == static_cast<std::uint32_t>(ValueKind::kBool) && value != 0 ? 1 : 0;
  return static_cast<ValueKind>(kind);
}

/// Called by optimised code as it stands here: nothing of V8's may be touched.
void store_words(void*, std::uint32_t number, std::uint32_t kinds, double before, double after) {
  const Site* site = sites().find(number);
  if (site == nullptr) return;
  const Claim claim = claim_event(Op::kStore, subject_of(*site), 0);
  if (!claim) return;
  claim.head->before_kind = put_word(kinds & 0xff, before, &claim.head->before);
  claim.head->after_kind = put_word(kinds >> 8 & 0xff, after, &claim.head->after);
  claim.commit();
}

/// storeWords(site, kinds, before, after): of numbers, booleans, null, and of no value. `kinds` are ValueKinds, the one
/// before in the lowest byte; kFloat stands for any number.
void store_words_slowly(const CallInfo& info) {
  const auto number = [&info](int at) { return number_of(thread_env, info.argument(at)); };
  store_words(nullptr, static_cast<std::uint32_t>(number(0)), static_cast<std::uint32_t>(number(1)), number(2),
              number(3));
}

}  // namespace

void add_stores(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {
      {"rules", give_rules}, {"site", make_site}, {"storeDescribed", store_described}};
  add_functions(env, binding, kFunctions);
  add_function(binding, "store", store);
  add_function(binding, "storeWords", store_words_slowly, FastCall(store_words));
}

}  // namespace watcher::node

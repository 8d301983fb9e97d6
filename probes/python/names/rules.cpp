#include "probes/python/names/rules.h"

#include <fnmatch.h>
#include <string.h>

#include <memory>
#include <unordered_map>

#include "probes/python/events/emit.h"

namespace watcher::python {
namespace {

/// "Worker.run.<locals>.helper" → "Worker.run.helper"
std::string without_locals(std::string_view scope) {
  std::string out(scope);
  static constexpr std::string_view kLocals = ".<locals>";
  for (std::size_t at; (at = out.find(kLocals)) != std::string::npos;) out.erase(at, kLocals.size());
  return out;
}

bool fits(const char* pattern, const std::string& text) {
  return fnmatch(pattern, text.c_str(), 0) == 0;
}

/// `track_locals`: all locals of the files that have rules.
bool tracks_locals() {
  static const bool wanted = [] {
    const char* value = runtime->option("track_locals");
    return value != nullptr && value[0] == 't';
  }();
  return wanted;
}

}  // namespace

RuleSet::RuleSet(std::string_view path, const watcher_rule* rules, std::size_t count)
    : path_(path), rules_(rules), count_(count) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view text(rules[i].name);
    names_.push_back({text, text.find('.') != text.npos, text.find_first_of("*?[\\") != text.npos});
  }
}

bool RuleSet::names_locals() const {
  for (std::size_t i = 0; i < count_; ++i)
    if (tracks_locals() || rules_[i].scope != WATCHER_SCOPE_GLOBAL) return true;
  return false;
}

bool RuleSet::names_globals() const {
  for (std::size_t i = 0; i < count_; ++i)
    if (rules_[i].scope != WATCHER_SCOPE_LOCAL) return true;
  return false;
}

bool RuleSet::breaks() const {
  for (std::size_t i = 0; i < count_; ++i)
    if (rules_[i].breaks != 0) return true;
  return false;
}

std::vector<std::string> RuleSet::attributes_of(std::string_view global) const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count_; ++i) {
    const std::string_view name(rules_[i].name);
    const std::size_t dot = name.find('.');
    if (rules_[i].scope == WATCHER_SCOPE_LOCAL || dot == name.npos) continue;
    if (fits(std::string(name.substr(0, dot)).c_str(), std::string(global))) out.emplace_back(name.substr(dot + 1));
  }
  return out;
}

std::vector<std::string> RuleSet::plain_globals() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count_; ++i)
    if (rules_[i].scope != WATCHER_SCOPE_LOCAL) {
      const std::string name(rules_[i].name, strcspn(rules_[i].name, "."));
      if (name.find_first_of("*?[") == name.npos) out.push_back(name);
    }
  return out;
}

bool RuleSet::wants(std::string_view name, std::string_view scope, bool global) const {
  return (!global && count_ > 0 && tracks_locals()) || match(name, scope, global) != nullptr;
}

const watcher_rule* RuleSet::match(std::string_view name, std::string_view scope, bool global) const {
  std::string plain, qualified;
  for (std::size_t i = 0; i < count_; ++i) {
    const watcher_rule& rule = rules_[i];
    if (rule.scope == (global ? WATCHER_SCOPE_LOCAL : WATCHER_SCOPE_GLOBAL)) continue;
    if (names_[i].text == name) return &rule;
    const bool dotted = names_[i].dotted;
    if (!dotted && !names_[i].is_glob) continue;
    if (plain.empty()) plain = name;
    if (!dotted && fits(rule.name, plain)) return &rule;
    if (dotted && name.find('.') != name.npos && fits(rule.name, plain)) return &rule;  // an attribute
    if (dotted && !scope.empty()) {
      if (qualified.empty()) qualified = without_locals(scope) + "." + plain;
      if (fits(rule.name, qualified)) return &rule;
    }
  }
  return nullptr;
}

const RuleSet* rules_for(std::string_view path) {
  static auto* known =
      new std::unordered_map<std::string, std::unique_ptr<RuleSet>>;  // process-lifetime: sites refer to it
  std::unique_ptr<RuleSet>& set = (*known)[std::string(path)];
  if (set == nullptr) {
    const watcher_rule* rules = nullptr;
    // 3.13.0 numbers what is typed at the prompt: "<stdin>-0"
    const bool numbered = path.substr(0, 8) == "<stdin>-";
    const std::size_t count = runtime->rules(std::string(path.substr(0, numbered ? 7 : path.npos)).c_str(), &rules);
    set = std::make_unique<RuleSet>(path, rules, count);
  }
  return set.get();
}

bool has_rules(std::string_view path) {
  return runtime->has_rules() != 0 && !rules_for(path)->empty();
}

}  // namespace watcher::python

// The rules that apply to one source file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "probes/probe_abi.h"

namespace watcher::python {

/// Lives for ever once made (sites refer to it).
class RuleSet {
 public:
  RuleSet(std::string_view path, const watcher_rule* rules, std::size_t count);

  /// Is the name watched there? `scope` is the qualified name of the function or class around it, "" for a module.
  /// A rule without a dot is matched with the name, one with a dot with `scope.name`; both may be globs.
  bool wants(std::string_view name, std::string_view scope, bool global) const;
  /// A global that is watched, or attributes of which are.
  bool wants_global(std::string_view name) const { return wants(name, "", true) || !attributes_of(name).empty(); }
  /// The first rule that names it; null: none does (track_locals watches without one).
  const watcher_rule* match(std::string_view name, std::string_view scope, bool global) const;
  bool empty() const { return count_ == 0; }
  /// May any local be watched?
  bool names_locals() const;
  bool names_globals() const;
  /// May a change enter the debugger?
  bool breaks() const;
  /// Globals that are named as they are, without wildcards; those whose attributes are named, too.
  std::vector<std::string> plain_globals() const;
  /// What rules name of a global's attributes: "retries" for "config.retries", patterns as they stand.
  /// See attribute_paths.h.
  std::vector<std::string> attributes_of(std::string_view global) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const watcher_rule* rules_;
  std::size_t count_;
  struct Name {
    std::string_view text;
    bool dotted;
    bool is_glob;
  };
  std::vector<Name> names_;  // of the rules: every name of a file is matched with all of them
};

/// The rules for a path as the interpreter spells it; never null, the same object for the same path.
const RuleSet* rules_for(std::string_view path);

/// Does any rule name that path?
bool has_rules(std::string_view path);

}  // namespace watcher::python

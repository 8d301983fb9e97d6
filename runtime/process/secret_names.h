// Which names look as if their values were secret: `password`, `API_KEY`, `dbPassword`, `x-auth-token`, ….
//
// Compared are names in lower case without `_-$@`. What is known of a name is remembered: one thread.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace watcher {

class SecretNames {
 public:
  /// Both are lists of names with commas between, in which `*` stands for anything: more names that are secret, and
  /// names that are not, whatever else says so.
  SecretNames(std::string_view names, std::string_view allow);

  /// A name, or a path of names (`user.api_token`): secret when one of them is.
  bool matches(std::string_view text);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  bool look_at(std::string_view text) const;
  bool is_secret(std::string_view bare) const;

  std::vector<std::string> names_;
  std::vector<std::string> allow_;
  std::unordered_map<std::string, bool, Hash, std::equal_to<>> known_;
};

}  // namespace watcher

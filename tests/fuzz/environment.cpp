// Option values from the environment: whatever is accepted, is accepted again as it is kept.
//
// The input is a list of lines: a byte that chooses the option, or a name of its own, and the value behind it.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/environment.h"

namespace {

bool names_a_file_to_read(std::string_view key) {
  return key == "config" || key == "files_scope";
}

std::string variable_of(std::string_view line) {
  const auto rows = watcher::option_table();
  const auto chosen = static_cast<std::uint8_t>(line.front());
  if (chosen >= rows.size() || names_a_file_to_read(rows[chosen].key)) return "WATCHER_" + std::string(line.substr(1));
  return watcher::environment_name(rows[chosen].key) + "=" + std::string(line.substr(1));
}

bool reads_a_file(std::string_view variable) {
  return variable.starts_with("WATCHER_") && names_a_file_to_read([&] {
           std::string key(variable.substr(8, variable.find('=') - 8));
           for (char& c : key)
             if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
           return key;
         }());
}

std::vector<std::string> variables_in(std::string_view text) {
  std::vector<std::string> variables;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\0'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
    if (line.empty()) continue;
    variables.push_back(variable_of(line));
    if (reads_a_file(variables.back())) variables.pop_back();
  }
  return variables;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> variables = variables_in({reinterpret_cast<const char*>(data), size});
  std::vector<const char*> environment;
  for (const std::string& variable : variables) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  bool asked = false;
  const auto options = watcher::load_from_environment(environment.data(), &asked);
  if (!options) {
    if (!options.error().message.starts_with("WATCHER_")) abort();
    return 0;
  }
  watcher::Options again;
  for (const watcher::OptionRow& row : watcher::option_table()) {
    const std::string& value = options.value().get(row.key);
    if (!options.value().is_set(row.key)) continue;
    if (!again.set(row.key, value, "again") || again.get(row.key) != value) abort();
  }
  return 0;
}

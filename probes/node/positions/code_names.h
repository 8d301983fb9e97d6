// What V8 calls a piece of code: "LazyCompile:*total /app/cart.js:12:20".
#pragma once

#include <string>
#include <string_view>

#include "probes/node/positions/code_map.h"

namespace watcher::node {

struct CodeName {
  std::string function;
  std::string file;
  int line = 0;
  Tier tier = Tier::kBytecode;
};
CodeName parse_code_name(std::string_view name);

}  // namespace watcher::node

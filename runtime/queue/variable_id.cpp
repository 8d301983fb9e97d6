#include "runtime/queue/variable_id.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace watcher {

std::uint64_t variable_id(std::string_view name, std::string_view owner, Scope scope) {
  const std::uint64_t of_name = XXH64(name.data(), name.size(), static_cast<std::uint64_t>(scope));
  return XXH64(owner.data(), owner.size(), of_name);
}

}  // namespace watcher

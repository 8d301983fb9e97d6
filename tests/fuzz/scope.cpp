// The scope file: what is accepted, written out again, is accepted and says the same; what is not, is told with its
// place.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "config/scope_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  watcher::Options options;
  if (const auto parsed = watcher::parse_scope_text(options, text, "scope.txt"); !parsed) {
    if (!parsed.error().message.starts_with("scope.txt:")) abort();
    return 0;
  }
  watcher::Options again;
  if (!watcher::parse_scope_text(again, watcher::to_scope_file(options), "scope.txt")) abort();
  if (again.rules() != options.rules()) abort();
  return 0;
}

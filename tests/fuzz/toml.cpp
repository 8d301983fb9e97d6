// watcher.toml: what is accepted, written out again, is accepted and says the same; what is not, is told with its
// place.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "config/toml_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  watcher::Options options;
  if (const auto parsed = watcher::parse_toml_text(options, text, "w.toml"); !parsed) {
    if (!parsed.error().message.starts_with("w.toml:")) abort();
    return 0;
  }
  const std::string written = watcher::to_toml(options);
  watcher::Options again;
  if (!watcher::parse_toml_text(again, written, "w.toml")) abort();
  if (watcher::to_toml(again) != written || again.rules() != options.rules()) abort();
  return 0;
}

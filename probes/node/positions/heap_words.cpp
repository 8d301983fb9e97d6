#include "probes/node/positions/heap_words.h"

#include <dlfcn.h>
#include <string.h>

#include "probes/node/host/v8_api.h"

namespace watcher::node {
namespace {

/// With compressed pointers, as nobody's official node has them, all is different.
bool has_whole_pointers() {
  const auto* bytes = static_cast<const int*>(dlsym(RTLD_DEFAULT, "v8dbg_TaggedSize"));
  return bytes == nullptr || *bytes == sizeof(void*);
}

// As V8's own table of sizes says; node --print-bytecode agrees.
constexpr std::string_view kSizes10 =
    "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbbddbddhddcccdddddjbccccccccccccccccccccccccbbbbaaabbbeedefecdeeopiieeccc"
    "cccccbbbbaiiabiaicibccccaaacbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa";
constexpr std::string_view kSizes11 =
    "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbbddbddhddcccdddjdjccccccccccccccccccccccccbbbbaaabbbdeedefecdeeopiieeccc"
    "cccccbbbbaoiabiaicibccccaaadbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa";
constexpr std::string_view kSizes12 =
    "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbdbbddbddhddceccdddjdjccccccccccccccccccccccccbbbbaaabbbdeedefecdeeopiiee"
    "cccccccccabbbaaoiabiaicibccccaaadbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa";
constexpr std::string_view kSizes13 =
    "aaaaabcdeopbabaaaaabdddbbbbcbbbaaagcccdbdbbdddbdddhddceccdddjdjccccccccccccccccccccccccbbbbaabbbbdeedefecdeeop"
    "iieecccccccccabbbaaoiabiaicibccccaaadbbbbbbbbbbdbbbbbbbbbbbbddbcebaaaabaabdeddabbaaaaaaaaaaaaaaaaa";

constexpr HeapLayout kLayouts[] = {{"10.2.", 0, 0, -14, 2, 7, 56, 4, 3, kSizes10, false},
                                   {"11.3.", -1, 5, 2, 2, 7, 54, 4, 3, kSizes11, false},
                                   {"12.4.", -3, 5, 1, 2, 7, 64, 3, 4, kSizes12, false},
                                   {"13.6.", -3, 5, 1, 3, 8, 64, 3, 4, kSizes13, true}};

}  // namespace

const HeapLayout* heap_layout() {
  static const HeapLayout* const known = []() -> const HeapLayout* {
    if (v8.version == nullptr || !has_whole_pointers()) return nullptr;
    for (const HeapLayout& row : kLayouts)
      if (strncmp(v8.version(), row.version, strlen(row.version)) == 0) return &row;
    return nullptr;
  }();
  return known;
}

Words code_object(std::uintptr_t code_start) {
  const HeapLayout* layout = heap_layout();
  if (layout == nullptr) return nullptr;
  const auto start = reinterpret_cast<Words>(code_start);
  if (layout->code == 0) return start;
  const Words code = heap_object(start[layout->code]);
  return code != nullptr && code[layout->entry] == code_start ? code : nullptr;
}

}  // namespace watcher::node

#include "probes/node/positions/heap_words.h"

#include <string.h>

#include "probes/node/host/v8_api.h"

namespace watcher::node {
namespace {

constexpr HeapLayout kLayouts[] = {
    {"10.2.",
     0,
     0,
     -14,
     2,
     7,
     56,
     "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbbddbddhddcccdddddjbccccccccccccccccccccccccbbbbaaabbbeedefecdeeopiieecccccc"
     "cc"
     "bbbbaiiabiaicibccccaaacbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa",
     0,
     {},
     {}},
    {"11.3.",
     -1,
     5,
     2,
     2,
     7,
     54,
     "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbbddbddhddcccdddjdjccccccccccccccccccccccccbbbbaaabbbdeedefecdeeopiieecccccc"
     "cc"
     "bbbbaoiabiaicibccccaaadbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa",
     0,
     {},
     {}},
    {"12.4.",
     -3,
     5,
     1,
     2,
     7,
     64,
     "aaaaabcdeopbabaaaaabddbbbcbbbaaagcccdbdbbddbddhddceccdddjdjccccccccccccccccccccccccbbbbaaabbbdeedefecdeeopiieeccc"
     "cc"
     "ccccabbbaaoiabiaicibccccaaadbbbbbbbbbbbbbbbbbbbbbbdbccebaaaabaabdeddabbaaaaaaaaaaaaaaaaa",
     0,
     {},
     {}},
    {"13.6.",
     -3,
     5,
     1,
     3,
     8,
     64,
     "aaaaabcdeopbabaaaaabdddbbbbcbbbaaagcccdbdbbdddbdddhddceccdddjdjccccccccccccccccccccccccbbbbaabbbbdeedefecdeeopiie"
     "ec"
     "ccccccccabbbaaoiabiaicibccccaaadbbbbbbbbbbdbbbbbbbbbbbbddbcebaaaabaabdeddabbaaaaaaaaaaaaaaaaa",
     0x92,
     {0x39, 0x3e},
     {0x61, 0x72}},
};

}  // namespace

const HeapLayout* heap_layout() {
  static const HeapLayout* const known = []() -> const HeapLayout* {
    for (const HeapLayout& row : kLayouts)
      if (v8.version != nullptr && strncmp(v8.version(), row.version, strlen(row.version)) == 0) return &row;
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

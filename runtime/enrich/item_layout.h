// Which elements of an array, and which fields of records, lie at a place in its memory: from the layout in front of
// the elements' format (probes/python/buffers/array_layout.h) and from PEP 3118 record formats.
//
// One thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/enrich/decode.h"

namespace watcher {

/// Takes the layout off `event->item_format` and says by it where the event's bytes lie: `path`, `in_item`, and
/// whether they are `beside_items`. Of a record with one field stored to, format and size become the field's.
/// Where the elements lie one after the other the event stays as it is.
void place_items(EventView* event);

}  // namespace watcher

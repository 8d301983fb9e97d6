// Which stores are known to be part of bulk statements: learnt by instruction and line of the language, so that the
// next execution is one event from its first store on.
//
// Any thread, any context. A lost or mistaken entry costs a window or some single events, nothing else.
#pragma once

#include <cstdint>

#include "runtime/capture/store/instruction.h"
#include "runtime/queue/event.h"

namespace watcher {

using BulkSite = std::uint64_t;

BulkSite bulk_site(std::uintptr_t ip, DictionaryRef place);

/// `continues`: the instruction itself goes on beyond what it stores now.
bool expects_bulk(BulkSite site, const StoreForm& form, bool continues);
/// A call with this store did, or a window opened for it saw little.
void learn_bulk(BulkSite site, bool was_bulk);

}  // namespace watcher

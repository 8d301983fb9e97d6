// The slots through which one loaded object calls functions of others. Normal context, any thread.
#pragma once

namespace watcher::node {

/// Lets the object that holds `inside` call `replacement` where it imports `name`. False: it does not import it.
bool lead_import(const void* inside, const char* name, void* replacement);

}  // namespace watcher::node

// Code that a C call returns through, in place of its return address: the light stub only marks the call as one that
// has been seen, the heavy one says that the call is over. Stubs know nothing but where to go on, one a distinct return
// address, so that nesting, stack switching and forks need no cleaning up.
//
// Any thread, any context. Not under shadow stacks: they would end the process at the return.
#pragma once

#include <cstdint>

namespace watcher {

/// The light stub that goes on at `return_address`; 0 when there are no more.
std::uintptr_t light_stub(std::uintptr_t return_address);
/// The heavy one that goes on where `stub` does.
std::uintptr_t heavy_stub(std::uintptr_t stub);
/// Where a stub goes on; 0 when the address is none.
std::uintptr_t stub_target(std::uintptr_t address);
bool is_heavy_stub(std::uintptr_t address);

/// Called by the heavy stub, on the returning thread, in the host's context: `slot` held the return address.
extern "C" void watcher_call_returned(std::uintptr_t slot);

}  // namespace watcher

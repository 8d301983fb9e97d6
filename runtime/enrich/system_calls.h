// The names of the kernel's calls.
//
// Any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace watcher {

/// "read" for 0; empty for a number that was unknown when we were built.
std::string_view system_call_name(std::uint32_t number);

}  // namespace watcher

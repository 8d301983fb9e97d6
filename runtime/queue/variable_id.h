// The id of a variable, the same in every process and run.
//
// Any thread, any context.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/queue/event.h"

namespace watcher {

/// `owner` is where the name belongs to: file and function, or the program.
std::uint64_t variable_id(std::string_view name, std::string_view owner, Scope scope);

}  // namespace watcher

// Which bytes of its operand a store really stores. Zone: fault handlers.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "runtime/capture/store/instruction.h"

namespace watcher {

/// Bit n: byte n of the operand. All bits where no register decides; those that lie behind the operand mean nothing.
std::uint64_t enabled_bytes(const StoreForm& form, const ucontext_t& ucontext);
/// Would a cmpxchg find what it expects in `there`?
bool compare_succeeds(const StoreForm& form, const gregset_t& registers, const std::byte* there);

}  // namespace watcher

#include "runtime/enrich/system_calls.h"

#include <iterator>

namespace watcher {
namespace {

#include "system_call_names.inc"  // made by system_call_names.py

}  // namespace

std::string_view system_call_name(std::uint32_t number) {
  return number < std::size(kSystemCallNames) ? kSystemCallNames[number] : std::string_view{};
}

}  // namespace watcher

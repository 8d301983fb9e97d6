// numpy's datetime64: a count of a unit since 1970, as the text that numpy shows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace watcher {

/// `unit` as in "M8[25s]": "25s", "ns", "D", …; a unit that we do not know gives the plain count.
std::string calendar_time(std::int64_t count, std::string_view unit);

}  // namespace watcher

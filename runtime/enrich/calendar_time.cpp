#include "runtime/enrich/calendar_time.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>

namespace watcher {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t seconds;      // 0: smaller than a second
  std::int64_t in_a_second;  // 0: larger
  int shown;                 // characters of "1970-01-01T00:00:00", with decimals beyond it
};
constexpr Unit kUnits[] = {{"W", 604'800, 0, 10},
                           {"D", 86'400, 0, 10},
                           {"h", 3'600, 0, 13},
                           {"m", 60, 0, 16},
                           {"s", 1, 0, 19},
                           {"ms", 0, 1'000, 3},
                           {"us", 0, 1'000'000, 6},
                           {"ns", 0, 1'000'000'000, 9},
                           {"ps", 0, 1'000'000'000'000, 12},
                           {"fs", 0, 1'000'000'000'000'000, 15},
                           {"as", 0, 1'000'000'000'000'000'000, 18}};

constexpr std::int64_t kCalendarDays = 30'000 * 365;  // std::chrono::year holds 16 bits

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

template <class... Parts>
std::string printed(const char* format, Parts... parts) {
  char text[64];
  return {text, static_cast<std::size_t>(std::snprintf(text, sizeof text, format, parts...))};
}

std::string shown(std::int64_t seconds, std::int64_t fraction, const Unit& unit) {
  const std::int64_t days = floor_divide(seconds, 86'400);
  const std::int64_t in_day = seconds - days * 86'400;
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  const std::string whole =
      printed("%04d-%02u-%02uT%02lld:%02lld:%02lld", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
              static_cast<unsigned>(date.day()), static_cast<long long>(in_day / 3'600),
              static_cast<long long>(in_day / 60 % 60), static_cast<long long>(in_day % 60));
  if (unit.in_a_second != 0) return whole + printed(".%0*lld", unit.shown, static_cast<long long>(fraction));
  return whole.substr(0, whole.size() - 19 + static_cast<std::size_t>(unit.shown));
}

}  // namespace

std::string calendar_time(std::int64_t count, std::string_view unit) {
  if (count == std::numeric_limits<std::int64_t>::min()) return "NaT";
  std::int64_t multiple = 1;
  const auto [end, error] = std::from_chars(unit.data(), unit.data() + unit.size(), multiple);
  if (error == std::errc()) unit.remove_prefix(static_cast<std::size_t>(end - unit.data()));
  std::int64_t ticks = 0;
  if (__builtin_mul_overflow(count, multiple, &ticks)) return std::to_string(count);
  if (unit == "Y") return printed("%04lld", 1970ll + ticks);
  if (unit == "M")
    return printed("%04lld-%02lld", 1970ll + floor_divide(ticks, 12), 1ll + ticks - 12 * floor_divide(ticks, 12));
  for (const Unit& known : kUnits) {
    if (known.name != unit) continue;
    std::int64_t seconds = 0;
    if (known.in_a_second != 0)
      seconds = floor_divide(ticks, known.in_a_second);
    else if (__builtin_mul_overflow(ticks, known.seconds, &seconds))
      break;
    if (seconds / 86'400 > kCalendarDays || seconds / 86'400 < -kCalendarDays) break;
    return shown(seconds, known.in_a_second != 0 ? ticks - seconds * known.in_a_second : 0, known);
  }
  return std::to_string(count);
}

}  // namespace watcher

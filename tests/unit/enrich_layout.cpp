#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "runtime/enrich/calendar_time.h"
#include "runtime/enrich/item_format.h"
#include "runtime/enrich/item_layout.h"

namespace watcher::test {
namespace {

using Numbers = std::vector<std::int64_t>;

std::string list_text(const Numbers& numbers) {
  std::string text;
  for (const std::int64_t number : numbers) text.append(text.empty() ? "" : ",").append(std::to_string(number));
  return text;
}

EventView write_to(std::string_view format, std::uint32_t item_size, std::uint64_t offset, std::uint64_t bytes) {
  EventView event;
  event.is_memory = true;
  event.item_format = format;
  event.item_size = item_size;
  event.memory_offset = offset;
  event.before.total = event.after.total = bytes;
  place_items(&event);
  return event;
}

std::string path_of(const EventView& event) {
  std::string text;
  for (const PathPart& part : event.path) {
    if (!text.empty()) text += ' ';
    if (part.kind == PathKind::kText) text += part.text;
    if (part.kind != PathKind::kText) text += std::to_string(part.value);
    if (part.kind == PathKind::kRange) text.append(":").append(std::to_string(part.end));
  }
  return text;
}

/// An array in any order of its axes, backwards or with gaps.
struct Array {
  Numbers lengths, strides;
  std::uint64_t bytes = 0;

  explicit Array(std::mt19937* random, std::int64_t item) {
    lengths.resize(1 + (*random)() % 4);
    strides.resize(lengths.size());
    std::vector<std::size_t> order(lengths.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), *random);
    std::int64_t step = item;
    std::int64_t last = 0;
    for (const std::size_t axis : order) {
      lengths[axis] = static_cast<std::int64_t>(1 + (*random)() % 5);
      step += (*random)() % 3 == 0 ? static_cast<std::int64_t>((*random)() % 20) : 0;
      strides[axis] = (*random)() % 4 == 0 ? -step : step;
      last += (lengths[axis] - 1) * step;
      step *= lengths[axis];
    }
    bytes = static_cast<std::uint64_t>(last + item);
  }
  std::string format(const char* code) const {
    return std::string(1, '{')
        .append(list_text(lengths))
        .append("|")
        .append(list_text(strides))
        .append("}")
        .append(code);
  }
  std::uint64_t offset_of(const Numbers& index) const {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < index.size(); ++i)
      offset += (strides[i] < 0 ? index[i] - (lengths[i] - 1) : index[i]) * strides[i];
    return static_cast<std::uint64_t>(offset);
  }
  bool next(Numbers* index) const {
    for (std::size_t i = index->size(); i-- > 0;) {
      if (++(*index)[i] < lengths[i]) return true;
      (*index)[i] = 0;
    }
    return false;
  }
};

}  // namespace

TEST_CASE("each element of any array is found by its place, and nothing between them") {
  constexpr std::uint32_t kItem = 8;
  std::mt19937 random(5);
  for (int round = 0; round < 2'000; ++round) {
    const Array array(&random, kItem);
    const std::string format = array.format("d");
    std::vector<bool> covered(array.bytes);
    Numbers index(array.lengths.size());
    do {
      const std::uint64_t offset = array.offset_of(index);
      const EventView whole = write_to(format, kItem, offset, kItem);
      std::string wanted = list_text(index);
      std::replace(wanted.begin(), wanted.end(), ',', ' ');
      INFO(format, " at ", offset);
      REQUIRE(path_of(whole) == wanted);
      REQUIRE(whole.item_format == "d");
      REQUIRE((whole.in_item == 0 && !whole.items_apart && !whole.beside_items));
      REQUIRE(write_to(format, kItem, offset + 3, 2).in_item == 3);
      for (std::uint64_t at = offset; at < offset + kItem; ++at) covered[at] = true;
    } while (array.next(&index));
    for (std::uint64_t at = 0; at < array.bytes; ++at) {
      INFO(format, " at ", at);
      REQUIRE(write_to(format, kItem, at, 1).beside_items == !covered[at]);
    }
  }
}

TEST_CASE("several elements are the smallest slice that holds them") {
  constexpr std::string_view kRows = "{4,5|40,8}q", kColumns = "{4,5|8,32}q", kEverySecond = "{4|16}q";
  CHECK(path_of(write_to(kRows, 8, 48, 16)) == "1 1:3");
  CHECK(path_of(write_to(kRows, 8, 40, 40)) == "1");
  CHECK(path_of(write_to(kRows, 8, 48, 80)) == "1:4");
  CHECK(path_of(write_to(kRows, 8, 0, 160)) == "0:4");
  CHECK(path_of(write_to(kColumns, 8, 32, 32)) == "0:4 1");
  CHECK(path_of(write_to(kColumns, 8, 32, 64)) == "0:4 1:3");
  CHECK(path_of(write_to(kEverySecond, 8, 8, 16)) == "1");
  CHECK(write_to(kEverySecond, 8, 0, 24).items_apart);
  CHECK(path_of(write_to(kEverySecond, 8, 0, 24)) == "0:2");
  CHECK(path_of(write_to("q", 8, 8, 8)).empty());  // as it is: the writer counts
}

TEST_CASE("one field of a record is told by its name, and by its type") {
  constexpr std::string_view kRecord = "T{i:x:xxxx=d:y:(3)=h:v:T{>h:a:b:c:}:n:}";
  const auto check = [&](std::uint64_t offset, std::uint64_t bytes, const char* path, const char* format) {
    const EventView event = write_to(kRecord, 25, 25 * 2 + offset, bytes);
    CHECK(path_of(event) == path);
    CHECK(event.item_format == format);
  };
  check(0, 4, "2 x", "i");
  check(8, 8, "2 y", "=d");
  check(16, 6, "2 v", "(3)=h");
  check(18, 2, "2 v 1", "=h");
  check(22, 2, "2 n a", ">h");
  check(24, 1, "2 n c", "b");
  check(0, 16, "2", kRecord.data());
  CHECK(path_of(write_to("{2,2|50,25}T{i:x:xxxx=d:y:9s:z:}", 25, 75 + 8, 8)) == "1 1 y");
  for (const char* damaged : {"T{", "T{}", "T{i", "T{i:x}", "T{(:x:}", "T{(2", "T{T{:x:}",
                              "T{99999999999999999999i:x:}", "{", "{1", "{1|", "{1,2|3}d", "{-1|1}d", "{|}d"})
    write_to(damaged, 8, 16, 8);
}

TEST_CASE("complex numbers, fixed-width text and times are shown as their languages show them") {
  const auto complex_number = [](double real, double imaginary) {
    const double parts[] = {real, imaginary};
    return ItemFormat::parse("Zd", 16).shown(reinterpret_cast<const char*>(parts));
  };
  CHECK(complex_number(1, 2) == "(1+2j)");
  CHECK(complex_number(0, -2.5) == "-2.5j");
  CHECK(complex_number(-0.0, 1) == "(-0+1j)");
  CHECK(complex_number(1e22, NAN) == "(1e+22+nanj)");
  const char32_t text[] = {U'ä', U'€', U'😀', 0, 0};
  CHECK(ItemFormat::parse("5w", 20).text(reinterpret_cast<const char*>(text)) == "ä€😀");
  CHECK(ItemFormat::parse("4w", 20).kind == ItemKind::kRaw);
  CHECK(calendar_time(0, "D") == "1970-01-01");
  CHECK(calendar_time(-1, "s") == "1969-12-31T23:59:59");
  CHECK(calendar_time(1'577'836'800'123, "ms") == "2020-01-01T00:00:00.123");
  CHECK(calendar_time(18'321, "D") == "2020-02-29");
  CHECK(calendar_time(-1, "M") == "1969-12");
  CHECK(calendar_time(50, "Y") == "2020");
  CHECK(calendar_time(2, "25s") == "1970-01-01T00:00:50");
  CHECK(calendar_time(INT64_MIN, "s") == "NaT");
  CHECK(calendar_time(INT64_MAX, "s") == std::to_string(INT64_MAX));
  CHECK(calendar_time(7, "parsec") == "7");
}

}  // namespace watcher::test

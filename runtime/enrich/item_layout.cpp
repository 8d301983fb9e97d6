#include "runtime/enrich/item_layout.h"

#include <algorithm>
#include <charconv>

namespace watcher {
namespace {

constexpr std::size_t kMaxDimensions = 64;

struct Axis {
  std::int64_t length = 0;
  std::int64_t stride = 0;  // bytes
  std::size_t position = 0;
};

/// Axes from the one with the widest steps to the one with the smallest.
struct Layout {
  std::vector<Axis> axes;
  bool together = true;  // the elements along the last of them follow each other without gaps
};

bool take_number(std::string_view* text, std::int64_t* number) {
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *number);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<std::size_t>(end - text->data()));
  return true;
}

bool take(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

/// "{3,4|32,8}" in front of a format.
bool take_layout(std::string_view* format, std::uint32_t item_size, Layout* layout) {
  std::string_view text = *format;
  if (!take(&text, '{')) return false;
  std::vector<Axis>& axes = layout->axes;
  do {
    Axis axis;
    axis.position = axes.size();
    if (axes.size() == kMaxDimensions || !take_number(&text, &axis.length) || axis.length <= 0) return false;
    axes.push_back(axis);
  } while (take(&text, ','));
  char between = '|';
  for (Axis& axis : axes) {
    if (!take(&text, between) || !take_number(&text, &axis.stride)) return false;
    between = ',';
  }
  if (!take(&text, '}')) return false;
  *format = text;
  // of axes with one element, or the same elements all along, the place says nothing
  const auto reach = [](const Axis& axis) { return axis.length == 1 ? 0 : std::abs(axis.stride); };
  std::stable_sort(axes.begin(), axes.end(), [&](const Axis& a, const Axis& b) { return reach(a) > reach(b); });
  std::int64_t smallest = item_size;
  for (const Axis& axis : axes)
    if (reach(axis) != 0) smallest = reach(axis);
  layout->together = smallest == item_size;
  return true;
}

/// The element at an offset, or the last one in front of it: a step along each axis, in the axes' order.
struct Element {
  std::int64_t steps[kMaxDimensions];
  std::uint64_t rest = 0;  // bytes from the element's begin
};

Element element_at(const Layout& layout, std::uint64_t offset) {
  Element element;
  bool beyond = false;  // in a gap behind a row: the row's last element
  for (std::size_t i = 0; i < layout.axes.size(); ++i) {
    const Axis& axis = layout.axes[i];
    const auto step = static_cast<std::uint64_t>(axis.length == 1 ? 0 : std::abs(axis.stride));
    const auto last = static_cast<std::uint64_t>(axis.length - 1);
    std::uint64_t index = step != 0 ? offset / step : 0;
    beyond = beyond || index > last;
    if (beyond) index = step != 0 ? last : 0;
    element.steps[i] = static_cast<std::int64_t>(index);
    if (!beyond) offset -= index * step;
  }
  element.rest = beyond ? ~std::uint64_t{0} : offset;
  return element;
}

/// The element behind, in memory. False: there is none.
bool advance(const Layout& layout, Element* element) {
  for (std::size_t i = layout.axes.size(); i-- > 0;) {
    const Axis& axis = layout.axes[i];
    if (axis.length > 1 && axis.stride != 0 && ++element->steps[i] < axis.length) return element->rest = 0, true;
    element->steps[i] = 0;
  }
  return false;
}

/// The smallest slice that holds all from `first` to `last`: the axes that they differ in are ranges.
void add_path(const Layout& layout, const Element& first, const Element& last, std::vector<PathPart>* path) {
  std::vector<PathPart> parts(layout.axes.size());
  bool same = true;
  for (std::size_t i = 0; i < layout.axes.size(); ++i) {
    const Axis& axis = layout.axes[i];
    PathPart& part = parts[axis.position];
    std::int64_t from = same ? first.steps[i] : 0;
    std::int64_t to = same ? last.steps[i] : axis.length - 1;
    if (axis.stride < 0) {
      const std::int64_t end = axis.length - 1;
      const std::int64_t flipped = end - to;
      to = end - from;
      from = flipped;
    }
    part = {.kind = from == to ? PathKind::kIndex : PathKind::kRange, .value = from, .end = to + 1, .text = {}};
    same = same && first.steps[i] == last.steps[i];
  }
  const auto whole = [&](const PathPart& part) {
    const auto at = static_cast<std::size_t>(&part - parts.data());
    const auto axis =
        std::find_if(layout.axes.begin(), layout.axes.end(), [at](const Axis& a) { return a.position == at; });
    return part.kind == PathKind::kRange && part.value == 0 && part.end == axis->length;
  };
  while (parts.size() > 1 && whole(parts.back())) parts.pop_back();
  path->insert(path->end(), parts.begin(), parts.end());
}

// --- records

struct Field {
  std::string_view name, format;
  std::uint64_t offset = 0, size = 0;
};

std::uint64_t size_of_code(char code, bool standard) {
  switch (code) {
    case 'h':
    case 'H':
    case 'e':
      return 2;
    case 'i':
    case 'I':
    case 'f':
      return 4;
    case 'l':
    case 'L':
      return standard ? 4 : 8;
    case 'q':
    case 'Q':
    case 'd':
    case 'n':
    case 'N':
    case 'P':
      return 8;
    case 'w':
      return 4;
    case 'g':
      return 16;
    default:
      return std::string_view("xcbB?sp").find(code) != std::string_view::npos ? 1 : 0;
  }
}

/// The closing brace of the record that begins `text`; npos: none.
std::size_t end_of_record(std::string_view text) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i;
  }
  return std::string_view::npos;
}

std::uint64_t size_of_item(std::string_view* format, std::string_view* code);

/// Visits the fields between the braces of "T{…}" until one answers true; the bytes of all it went over.
template <class Visit>
std::uint64_t visit_fields(std::string_view fields, Visit visit) {
  std::uint64_t offset = 0;
  while (!fields.empty()) {
    Field field;
    field.offset = offset;
    field.size = size_of_item(&fields, &field.format);
    if (field.size == 0 && field.format.empty()) return 0;
    if (take(&fields, ':')) {
      const std::size_t end = fields.find(':');
      if (end == std::string_view::npos) return 0;
      field.name = fields.substr(0, end);
      fields.remove_prefix(end + 1);
    }
    if (visit(field)) return offset;
    offset += field.size;
  }
  return offset;
}

bool take_order(std::string_view* format, bool* standard) {
  if (format->empty() || std::string_view("@=<>!^").find((*format)[0]) == std::string_view::npos) return false;
  *standard = (*format)[0] != '@' && (*format)[0] != '^';
  format->remove_prefix(1);
  return true;
}

/// "(2,3)" of an array within a record.
bool take_shape(std::string_view* format, std::vector<std::uint64_t>* shape) {
  std::int64_t length = 0;
  if (!take(format, '(')) return false;
  do {
    if (!take_number(format, &length) || length < 0) return false;
    shape->push_back(static_cast<std::uint64_t>(length));
  } while (take(format, ','));
  return take(format, ')');
}

/// Takes one item's format, count and shape included; 0: one that we do not read.
std::uint64_t size_of_item(std::string_view* format, std::string_view* code) {
  const std::string_view all = *format;
  std::uint64_t count = 1;
  bool standard = false;
  take_order(format, &standard);
  std::vector<std::uint64_t> shape;
  std::int64_t number = 0;
  if (format->starts_with('(')) {
    if (!take_shape(format, &shape)) return 0;
    for (const std::uint64_t length : shape) count *= length;
    take_order(format, &standard);
  } else if (take_number(format, &number) && number >= 0) {
    count = static_cast<std::uint64_t>(number);
  }
  std::uint64_t size = 0;
  if (format->starts_with("T{")) {
    const std::size_t end = end_of_record(*format);
    if (end == std::string_view::npos) return 0;
    size = visit_fields(format->substr(2, end - 2), [](const Field&) { return false; });
    format->remove_prefix(end + 1);
  } else {
    size = take(format, 'Z') ? 2 : 1;
    if (format->empty()) return 0;
    size *= size_of_code((*format)[0], standard);
    format->remove_prefix(1);
  }
  *code = all.substr(0, all.size() - format->size());
  return size * count;
}

/// Steps into an array within a record, when all is in one element.
void place_in_subarray(EventView* event) {
  std::string_view format = event->item_format;
  std::vector<std::uint64_t> shape;
  if (!take_shape(&format, &shape)) return;
  std::uint64_t count = 1;
  for (const std::uint64_t length : shape) count *= length;
  const std::uint64_t size = count != 0 ? event->item_size / count : 0;
  if (size == 0 || event->in_item / size != (event->in_item + event->before.total - 1) / size) return;
  std::uint64_t index = event->in_item / size;
  const std::size_t begin = event->path.size();
  for (std::size_t i = shape.size(); i-- > 0; index /= shape[i])
    event->path.insert(event->path.begin() + static_cast<std::ptrdiff_t>(begin),
                       {.value = static_cast<std::int64_t>(index % shape[i]), .end = 0, .text = {}});
  event->in_item = static_cast<std::uint32_t>(event->in_item % size);
  event->item_size = static_cast<std::uint32_t>(size);
  event->item_format = format;
}

/// Steps into the record, and records in it, as long as one field holds the whole change.
void place_in_record(EventView* event) {
  const std::uint64_t bytes = event->before.total;
  while (event->item_format.starts_with("T{") && event->item_format.size() > 3) {
    Field found;
    const std::string_view fields = event->item_format.substr(2, event->item_format.size() - 3);
    visit_fields(fields, [&](const Field& field) {
      if (field.name.empty() || event->in_item < field.offset || event->in_item + bytes > field.offset + field.size)
        return false;
      found = field;
      return true;
    });
    if (found.name.empty()) return;
    event->path.push_back({.kind = PathKind::kText, .value = 0, .end = 0, .text = found.name});
    event->in_item -= static_cast<std::uint32_t>(found.offset);
    event->item_size = static_cast<std::uint32_t>(found.size);
    event->item_format = found.format;
    place_in_subarray(event);
  }
}

void place_in_array(const Layout& layout, EventView* event) {
  Element first = element_at(layout, event->memory_offset);
  const Element last = element_at(layout, event->memory_offset + event->before.total - 1);
  const bool in_gap = first.rest >= event->item_size;
  const bool same = std::equal(first.steps, first.steps + layout.axes.size(), last.steps);
  if (in_gap && (same || !advance(layout, &first))) {
    event->beside_items = true;
    return;
  }
  add_path(layout, first, last, &event->path);
  event->in_item = static_cast<std::uint32_t>(first.rest);
  const bool one = std::equal(first.steps, first.steps + layout.axes.size(), last.steps);
  event->items_apart = in_gap || (!one && !layout.together) || last.rest >= event->item_size;
}

PathPart items_in_a_row(const EventView& event, std::uint32_t size) {
  const auto first = static_cast<std::int64_t>(event.memory_offset / size);
  const auto end = first + static_cast<std::int64_t>((event.in_item + event.before.total + size - 1) / size);
  return {.kind = end == first + 1 ? PathKind::kIndex : PathKind::kRange, .value = first, .end = end, .text = {}};
}

}  // namespace

void place_items(EventView* event) {
  const std::uint32_t size = event->item_size != 0 ? event->item_size : 1;
  event->in_item = static_cast<std::uint32_t>(event->memory_offset % size);
  const bool part = !event->path.empty();
  if (event->before.total == 0) return;
  Layout layout;
  const bool laid_out = event->item_format.starts_with('{') && take_layout(&event->item_format, size, &layout);
  if (laid_out) place_in_array(layout, event);
  const bool record = !event->is_bulk && event->item_format.starts_with("T{");
  const bool in_record = !event->beside_items && record && event->in_item + event->before.total <= size;
  if (!laid_out && (in_record || part)) event->path.push_back(items_in_a_row(*event, size));
  if (in_record) place_in_record(event);
}

}  // namespace watcher

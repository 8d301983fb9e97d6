#include "runtime/enrich/decode.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#include "runtime/enrich/item_layout.h"

namespace watcher {
namespace {

constexpr std::string_view kOpNames[] = {"init",
                                         "store",
                                         "delete",
                                         "setitem",
                                         "delitem",
                                         "append",
                                         "extend",
                                         "insert",
                                         "pop",
                                         "remove",
                                         "clear",
                                         "sort",
                                         "reverse",
                                         "imul",
                                         "update",
                                         "setdefault",
                                         "popitem",
                                         "add",
                                         "discard",
                                         "intersection_update",
                                         "difference_update",
                                         "symmetric_difference_update",
                                         "init_call",
                                         "appendleft",
                                         "extendleft",
                                         "popleft",
                                         "rotate",
                                         "move_to_end",
                                         "setattr",
                                         "delattr",
                                         "change",
                                         "write",
                                         "kernel_write",
                                         "moved",
                                         "freed",
                                         "resumed"};
static_assert(std::size(kOpNames) == static_cast<std::size_t>(Op::kCount));

constexpr std::string_view kScopeNames[] = {"unknown", "local", "global", "both"};

/// Takes parts off the front of a payload; a part that is not there makes everything after it fail.
class PayloadCursor {
 public:
  explicit PayloadCursor(std::span<const std::byte> payload)
      : rest_(reinterpret_cast<const char*>(payload.data()), payload.size()) {}

  template <class T>
  bool read(T* out) {
    if (rest_.size() < sizeof *out) return false;
    std::memcpy(out, rest_.data(), sizeof *out);
    rest_.remove_prefix(sizeof *out);
    return true;
  }
  bool take(std::uint64_t length, std::string_view* out) {
    if (rest_.size() < length) return false;
    *out = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return true;
  }
  /// The last part of a payload may come without its padding.
  bool take_padded(std::uint32_t length, std::string_view* out) {
    if (!take(length, out)) return false;
    rest_.remove_prefix(std::min<std::size_t>(rest_.size(), padded8(length) - length));
    return true;
  }

 private:
  std::string_view rest_;
};

bool read_path(PayloadCursor& cursor, std::vector<PathPart>* path) {
  PathHeader header{};
  std::string_view bytes;
  if (!cursor.read(&header) || header.bytes > kMaxPayloadBytes) return false;
  if (!cursor.take_padded(header.bytes, &bytes)) return false;
  PayloadCursor elements(std::span(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  for (std::uint32_t i = 0; i < header.count; ++i) {
    PathElement element{};
    if (!elements.read(&element) || element.kind > PathKind::kRange) return false;
    PathPart part{.kind = element.kind, .value = element.value, .end = element.extra, .text = {}};
    const bool has_text = element.kind == PathKind::kText;
    if (has_text && (element.value < 0 || !elements.take(static_cast<std::uint64_t>(element.value), &part.text)))
      return false;
    path->push_back(part);
  }
  return true;
}

PathPart short_path(const Dictionary& dictionary, std::uint64_t step) {
  PathPart part;
  part.kind = (step & 1) == 0 ? PathKind::kIndex : PathKind::kText;
  if (part.kind == PathKind::kIndex)
    part.value = static_cast<std::int64_t>(step) >> 1;
  else
    part.text = dictionary.string(static_cast<DictionaryRef>(step >> 1));
  return part;
}

bool read_value(PayloadCursor& cursor, const Dictionary& dictionary, ValueView* value) {
  ValueBlob blob{};
  if (!cursor.read(&blob) || blob.stored > kMaxPayloadBytes) return false;
  if (!cursor.take_padded(blob.stored, &value->bytes)) return false;
  value->total = std::max<std::uint64_t>(blob.total, blob.stored);
  value->type_name = dictionary.string(blob.type_name);
  return true;
}

NativeModule module_at(const Dictionary& dictionary, DictionaryRef ref) {
  ModuleBlob blob{};
  if (!dictionary.read(BlobKind::kModule, ref, &blob)) return {};
  return {blob.bias, dictionary.string(blob.path), dictionary.string(blob.build_id)};
}

bool read_callers(PayloadCursor& cursor, const Dictionary& dictionary, std::uint32_t frames, EventView* view) {
  if (frames > kMaxNativeFrames) return false;
  for (std::uint32_t i = 0; i < frames; ++i) {
    NativeFrame frame{};
    if (!cursor.read(&frame)) return false;
    view->callers.push_back({frame.return_address, module_at(dictionary, frame.module)});
  }
  return true;
}

bool read_memory(PayloadCursor& cursor, const Dictionary& dictionary, EventView* view) {
  MemoryBlob blob{};
  if (!cursor.read(&blob) || blob.length > kMaxPayloadBytes) return false;
  if (!read_callers(cursor, dictionary, blob.frames, view)) return false;
  view->module = module_at(dictionary, blob.module);
  if (!cursor.take_padded(blob.length, &view->before.bytes)) return false;
  if (!cursor.take_padded(blob.length, &view->after.bytes)) return false;
  view->before.total = view->after.total = blob.length;
  view->is_memory = true;
  view->system_call = blob.system_call;
  return true;
}

bool read_bulk(PayloadCursor& cursor, const Dictionary& dictionary, EventView* view) {
  BulkBlob blob{};
  if (!cursor.read(&blob) || blob.ranges > kMaxBulkRanges || blob.kept_bytes > kMaxBulkBytes) return false;
  std::uint64_t kept = 0;
  std::uint64_t end = 0;  // of the last range: they ascend, apart
  for (std::uint32_t i = 0; i < blob.ranges; ++i) {
    BulkRange range{};
    if (!cursor.read(&range) || range.offset < end || range.kept > range.length) return false;
    if (range.length == 0 || __builtin_add_overflow(range.offset, range.length, &end)) return false;
    kept += range.kept;
    view->ranges.push_back(range);
  }
  if (kept != blob.kept_bytes || !cursor.take_padded(blob.kept_bytes, &view->before.bytes)) return false;
  if (!cursor.take_padded(blob.kept_bytes, &view->after.bytes)) return false;
  view->system_call = blob.system_call;
  view->module = module_at(dictionary, blob.module);
  view->memory_offset = view->ranges.empty() ? 0 : view->ranges.front().offset;
  view->before.total = view->after.total = end - view->memory_offset;
  view->changed_bytes = blob.changed_bytes;
  view->is_memory = view->is_bulk = true;
  return true;
}

bool read_values(PayloadCursor& cursor, const EventHead& head, const Dictionary& dictionary, EventView* view) {
  if (view->before.kind == ValueKind::kMemory || view->after.kind == ValueKind::kMemory) {
    view->before.kind = view->after.kind = ValueKind::kMemory;
    view->memory_offset = head.before;
    view->instruction = head.after;
    view->code = (head.flags & kBehindStore) != 0 ? head.after - 1 : head.after;
    return (head.flags & kBulk) != 0 ? read_bulk(cursor, dictionary, view) : read_memory(cursor, dictionary, view);
  }
  view->before.word = head.before;
  view->after.word = head.after;
  for (ValueView* value : {&view->before, &view->after})
    if (!is_inline(value->kind) && !read_value(cursor, dictionary, value)) return false;
  return true;
}

bool read_stack(PayloadCursor& cursor, const Dictionary& dictionary, EventView* view) {
  StackHeader header{};
  if (!cursor.read(&header) || header.count > kMaxStack) return false;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    DictionaryRef ref = 0;
    PlaceBlob place{};
    if (!cursor.read(&ref)) return false;
    if (!dictionary.read(BlobKind::kPlace, ref, &place)) continue;  // the dictionary was full
    view->stack.push_back(
        {.function = dictionary.string(place.function), .file = dictionary.string(place.file), .line = place.line});
  }
  std::string_view padding;
  if (header.spans + header.frames == 0) return true;
  if (!cursor.take(header.count % 2 * sizeof(DictionaryRef), &padding)) return false;
  if (header.spans != 0 && !cursor.read(&view->span)) return false;
  return read_callers(cursor, dictionary, header.frames, view);
}

void resolve_sql(const Dictionary& dictionary, DictionaryRef ref, EventView* view) {
  SqlBlob sql{};
  if (ref == 0 || !dictionary.read(BlobKind::kSql, ref, &sql)) return;
  view->has_sql = true;
  view->sql_statement = dictionary.string(sql.statement);
  view->sql_operation = dictionary.string(sql.operation);
  view->sql_driver = dictionary.string(sql.driver);
  view->sql_database = dictionary.string(sql.database);
  view->sql_params = dictionary.string(sql.params);
  view->sql_cut = (sql.flags & kSqlCut) != 0;
}

void resolve(const Dictionary& dictionary, DictionaryRef context_ref, EventView* view) {
  VariableBlob variable{};
  if (dictionary.read(BlobKind::kVariable, view->variable_ref, &variable)) {
    view->variable_id = variable.id;
    view->variable_name = dictionary.string(variable.name);
    view->item_format = dictionary.string(variable.format);
    view->item_size = variable.item_size;
    if (variable.path != 0) {
      const std::string_view path = dictionary.string(variable.path);
      PayloadCursor cursor(std::span(reinterpret_cast<const std::byte*>(path.data()), path.size()));
      if (!read_path(cursor, &view->path)) view->path.clear();
    }
    view->filter_ref = variable.filter;
    view->mutation_depth = variable.mutation_depth;
    if ((variable.flags & kScopeGiven) != 0)
      view->scope = static_cast<Scope>(variable.flags / kGivenScope & kScopeMask);
  }
  PlaceBlob place{};
  if (dictionary.read(BlobKind::kPlace, view->place_ref, &place)) {
    view->has_place = true;
    view->function = dictionary.string(place.function);
    view->file = dictionary.string(place.file);
    // A damaged file may hold the one number that has no opposite.
    view->line = std::abs(std::max(place.line, -std::numeric_limits<std::int32_t>::max()));
    if (place.line < 0) view->exact_line = false;
  }
  ContextBlob context{};
  if (context_ref != 0 && dictionary.read(BlobKind::kContext, context_ref, &context)) {
    if ((variable.flags & kHidesThreads) == 0) {
      view->thread_name = dictionary.string(context.thread_name);
      view->task = dictionary.string(context.task);
    }
    if ((variable.flags & kHidesSql) == 0) resolve_sql(dictionary, context.sql, view);
  }
}

void reset(EventView* view) {
  static_cast<EventFields&>(*view) = {};
  view->stack.clear();
  view->path.clear();
  view->callers.clear();
  view->native.reset();
  view->native_callers.clear();
  view->ranges.clear();
}

}  // namespace

std::string_view op_name(Op op) {
  return op < Op::kCount ? kOpNames[static_cast<std::size_t>(op)] : "unknown";
}

std::string_view scope_name(Scope scope) {
  return kScopeNames[static_cast<std::size_t>(scope) & kScopeMask];
}

bool decode(const RingEvent& event, const Dictionary& dictionary, EventView* view) {
  reset(view);
  const EventHead& head = *event.head;
  view->ticket = event.ticket;
  view->tsc = head.tsc;
  view->op = head.op;
  view->thread_id = head.thread_id;
  view->coalesced = head.coalesced;
  view->variable_ref = head.variable;
  view->place_ref = head.place;
  view->before.kind = head.before_kind;
  view->after.kind = head.after_kind;
  if (view->op >= Op::kCount || view->before.kind >= ValueKind::kCount || view->after.kind >= ValueKind::kCount)
    return false;
  const std::uint8_t flags = head.flags;
  view->scope = static_cast<Scope>(flags & kScopeMask);
  view->exact = (flags & kInexact) == 0;
  view->exact_line = (flags & kInexactLine) == 0;

  PayloadCursor cursor(event.payload);
  const bool is_memory = view->before.kind == ValueKind::kMemory || view->after.kind == ValueKind::kMemory;
  if ((flags & kShortPath) != 0 && !is_memory)
    view->path.push_back(short_path(dictionary, std::exchange(view->coalesced, 0)));
  else if ((flags & kHasPath) != 0 && !read_path(cursor, &view->path))
    return false;
  if (!read_values(cursor, head, dictionary, view)) return false;
  if ((flags & kHasStack) != 0 && !read_stack(cursor, dictionary, view)) return false;
  resolve(dictionary, head.context, view);
  if (view->is_memory) place_items(view);
  return true;
}

}  // namespace watcher

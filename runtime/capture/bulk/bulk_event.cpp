#include "runtime/capture/bulk/bulk_event.h"

#include "runtime/capture/bulk/bulk_compare.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/store/code_modules.h"
#include "runtime/capture/store/store.h"

namespace watcher {

namespace {

constexpr int kTables = 4;
/// A range of its own costs more than that many bytes beside the changed ones.
constexpr std::uint64_t kSmallestGap = 16;

constinit BulkTable tables[kTables];

std::uint64_t load(const void* from, std::size_t bytes = sizeof(std::uint64_t)) {
  std::uint64_t word = 0;
  if (bytes == sizeof word)
    __builtin_memcpy(&word, from, sizeof word);
  else
    copy_bytes(&word, from, bytes);
  return word;
}

/// A 1 in each byte that is not 0.
std::uint64_t bytes_set(std::uint64_t word) {
  constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  return (((word & kLow) + kLow) | word) >> 7 & 0x0101010101010101;
}

std::uint64_t sum_of_bytes(std::uint64_t word) {
  return word * 0x0101010101010101 >> 56;
}

std::uintptr_t first_of(std::uint64_t difference) {
  return static_cast<std::uintptr_t>(__builtin_ctzll(difference)) / 8;
}
std::uintptr_t end_of(std::uint64_t difference) {
  return sizeof difference - static_cast<std::uintptr_t>(__builtin_clzll(difference)) / 8;
}

/// By the second mapping where there is one: a page that is read while it is protected leaves a translation behind that
/// costs its next store a fault, for the kernel does not flush when it gives rights.
const std::byte* memory_at(std::uintptr_t address) {
  if (alias_pages_contain(address)) address += static_cast<std::uintptr_t>(alias_distance());
  return reinterpret_cast<const std::byte*>(address);
}

/// What lies between two ranges is the same on both sides, so it can still be read where it is.
void append_gap(BulkTable& table, std::uint32_t bytes, std::uintptr_t address) {
  copy_bytes(table.before + table.kept, memory_at(address), bytes);
  copy_bytes(table.after + table.kept, memory_at(address), bytes);
}

std::uint32_t room_for(const BulkTable& table, std::uintptr_t bytes) {
  const std::uint32_t room = table.most_kept - table.kept;
  return bytes < room ? static_cast<std::uint32_t>(bytes) : room;
}

bool joins_last(const BulkTable& table, std::uint32_t i) {
  if (i == 0) return false;
  const BulkRange& last = table.ranges[i - 1];
  return table.ranges[i].offset - (last.offset + last.length) <= table.nearness;
}

/// How much is kept of each range, and of the gap before it, when ranges no further apart than `nearness` are one.
void plan_joining(BulkTable& table) {
  std::uint64_t room = table.most_kept;
  bool whole = true;  // of the joined range, up to here
  const auto take = [&](std::uint64_t wanted, std::uint64_t length) {
    const std::uint64_t taken = !whole ? 0 : wanted < room ? wanted : room;
    room -= taken;
    whole = whole && taken == length;
    return static_cast<std::uint32_t>(taken);
  };
  for (std::uint32_t i = 0; i < table.count; ++i) {
    const BulkRange& range = table.ranges[i];
    const bool joins = joins_last(table, i);
    const std::uint64_t gap = joins ? range.offset - (table.ranges[i - 1].offset + table.ranges[i - 1].length) : 0;
    whole = whole || !joins;
    table.gap_kept[i] = take(gap, gap);
    table.range_kept[i] = take(range.kept, range.length);
  }
}

/// What lies between two ranges is the same on both sides, so it can still be read where it is.
std::uint32_t join_side(BulkTable& table, std::byte* side) {
  std::uint32_t to = 0;
  std::uint64_t from = 0;
  for (std::uint32_t i = 0; i < table.count; ++i) {
    const BulkRange& range = table.ranges[i];
    if (table.gap_kept[i] != 0) {
      const BulkRange& last = table.ranges[i - 1];
      copy_bytes(table.joined + to, memory_at(last.offset + last.length), table.gap_kept[i]);
    }
    to += table.gap_kept[i];
    copy_bytes(table.joined + to, side + from, table.range_kept[i]);
    to += table.range_kept[i];
    from += range.kept;
  }
  copy_bytes(side, table.joined, to);
  return to;
}

void join_ranges(BulkTable& table) {
  std::uint32_t count = 0;
  BulkRange joined{};
  for (std::uint32_t i = 0; i < table.count; ++i) {
    const bool last_of_joined = i + 1 == table.count || !joins_last(table, i + 1);
    const BulkRange& range = table.ranges[i];
    if (joined.offset == 0) joined = {range.offset, 0, 0};
    joined.length = range.offset + range.length - joined.offset;
    joined.kept += table.gap_kept[i] + table.range_kept[i];
    if (!last_of_joined) continue;
    table.ranges[count++] = joined;
    joined = {};
  }
  table.count = count;
}

}  // namespace

struct BulkDifference::Piece {
  std::uintptr_t begin;  // what can be compared
  std::uintptr_t end;
  std::byte* before;  // of `begin`
  bool update;
};

void BulkDifference::reserve(const Region& region) {
  table_ = own_table_;
  for (int i = 0; table_ == nullptr; i = (i + 1) % kTables) {
    if (!tables[i].busy.exchange(true, std::memory_order_acquire)) table_ = &tables[i];
    if (table_ == nullptr && i == kTables - 1) yield_cpu();
  }
  // A quarter of the ring at most, or a small one would refuse it for ever.
  const std::size_t ring_bytes = memory_state.ring->header()->slot_count * kSlotBytes;
  const auto room = static_cast<std::uint32_t>(ring_bytes / 4 < kMaxPayloadBytes ? ring_bytes / 4 : kMaxPayloadBytes);
  const std::uint32_t depth = region.variable.mutation_depth != 0 ? region.variable.mutation_depth : kMaxBulkBytes;
  table_->most_ranges = room / 4 / sizeof(BulkRange) < kMaxBulkRanges
                            ? static_cast<std::uint32_t>(room / 4 / sizeof(BulkRange))
                            : kMaxBulkRanges;
  table_->most_kept = room / 4 < kMaxBulkBytes ? room / 4 : kMaxBulkBytes;
  if (depth < table_->most_kept) table_->most_kept = depth;
  table_->count = table_->kept = 0;
  const std::uint32_t item = region.variable.item_bytes;
  table_->item_bytes = item > kMaxWidening || item == 0 ? 1 : item;
  // No less than an item, so that none is shared by two ranges.
  table_->nearness = table_->item_bytes > kSmallestGap ? table_->item_bytes : kSmallestGap;
}

void BulkDifference::release() {
  if (table_ != nullptr && table_ != own_table_) table_->busy.store(false, std::memory_order_release);
  table_ = nullptr;
  changed_bytes_ = 0;
}

void BulkDifference::add(const Region& region, std::uintptr_t address, std::byte* before, std::size_t bytes,
                         bool update) {
  if (table_ == nullptr) reserve(region);
  const VisibleRange visible = visible_range(region);
  table_->item_origin = visible.begin;
  table_->visible_end = visible.end;
  const std::uintptr_t end = address + bytes;
  std::uintptr_t first = address > visible.begin ? address : visible.begin;
  std::uintptr_t last = end < visible.end ? end : visible.end;
  if (first >= last) first = last = end;
  if (first < last) compare({first, last, before + (first - address), update}, first, last);
  if (!update) return;
  copy_bytes(before, memory_at(address), first - address);
  copy_bytes(before + (last - address), memory_at(last), end - last);
}

void BulkDifference::compare(const Piece& piece, std::uintptr_t begin, std::uintptr_t end) {
  const auto part = [&](std::uintptr_t at, std::size_t bytes) {
    const std::uint64_t difference = load(memory_at(at), bytes) ^ load(piece.before + (at - piece.begin), bytes);
    if (difference == 0) return;
    compare_word(piece, difference, at);
    if (piece.update) copy_bytes(piece.before + (at - piece.begin), memory_at(at), bytes);
  };
  const Comparison compares = comparison();
  std::uintptr_t at = begin;
  const std::uintptr_t aligned = (begin + 7) & ~std::uintptr_t{7};
  if (aligned != begin && aligned < end) {
    part(begin, aligned - begin);
    at = aligned;
  }
  while (at + kCompareBlockBytes <= end) {
    const std::byte* now = memory_at(at);
    std::byte* then = piece.before + (at - piece.begin);
    const std::size_t blocks = (end - at) / kCompareBlockBytes;
    std::size_t done = compares.equal(now, then, blocks);
    at += done * kCompareBlockBytes;
    if (done != 0) continue;
    std::uint64_t changed = 0;
    done = compares.differing(now, then, blocks, &changed);
    changed_bytes_ += changed;
    if (done == 0) {
      compare_block(piece, at);
      done = 1;
    } else {
      const std::uintptr_t last = at + done * kCompareBlockBytes;
      record(piece, at + first_of(load(now) ^ load(then)),
             last - 8 + end_of(load(memory_at(last - 8)) ^ load(then + (last - 8 - at))));
    }
    if (piece.update) copy_bytes(then, now, done * kCompareBlockBytes);
    at += done * kCompareBlockBytes;
  }
  for (; at < end; at += 8) part(at, end - at < 8 ? end - at : 8);
}

void BulkDifference::compare_block(const Piece& piece, std::uintptr_t at) {
  const std::byte* then = piece.before + (at - piece.begin);
  for (std::size_t i = 0; i < kCompareBlockBytes; i += 8)
    if (const std::uint64_t difference = load(memory_at(at + i)) ^ load(then + i); difference != 0)
      compare_word(piece, difference, at + i);
}

void BulkDifference::compare_word(const Piece& piece, std::uint64_t difference, std::uintptr_t at) {
  changed_bytes_ += sum_of_bytes(bytes_set(difference));
  record(piece, at + first_of(difference), at + end_of(difference));
}

void BulkDifference::record(const Piece& piece, std::uintptr_t first, std::uintptr_t last) {
  BulkTable& table = *table_;
  const auto is_near = [&] {
    const BulkRange& range = table.ranges[table.count - 1];
    return first <= range.offset + range.length + table.nearness;
  };
  if (table.count != 0) {
    if (is_near()) return extend(piece, last);
    widen_end();
    if (table.count == table.most_ranges) join_nearest();
    if (is_near()) return extend(piece, last);
  }
  first = table.item_origin + (first - table.item_origin) / table.item_bytes * table.item_bytes;
  table.ranges[table.count++] = {first, 0, 0};
  extend(piece, last);
}

/// Makes the last range reach to `last`, and keeps what is new of it.
void BulkDifference::extend(const Piece& piece, std::uintptr_t last) {
  BulkTable& table = *table_;
  BulkRange& range = table.ranges[table.count - 1];
  std::uintptr_t at = range.offset + range.length;
  if (last <= at) return;
  const bool whole = range.kept == range.length;
  range.length = last - range.offset;
  if (!whole || table.kept == table.most_kept) return;
  const std::uint32_t bytes = room_for(table, last - at);
  const std::uintptr_t outside = at < piece.begin ? piece.begin - at : 0;  // of an earlier piece, or a cut item
  const std::uint32_t ahead = outside < bytes ? static_cast<std::uint32_t>(outside) : bytes;
  append_gap(table, ahead, at);
  copy_bytes(table.before + table.kept + ahead, piece.before + (at + ahead - piece.begin), bytes - ahead);
  copy_bytes(table.after + table.kept + ahead, memory_at(at + ahead), bytes - ahead);
  table.kept += bytes;
  range.kept += bytes;
}

/// The last range up to the end of its last item: bytes that do not differ.
void BulkDifference::widen_end() {
  BulkTable& table = *table_;
  if (table.count == 0) return;
  BulkRange& range = table.ranges[table.count - 1];
  const std::uintptr_t end = range.offset + range.length;
  std::uintptr_t last =
      table.item_origin + (end - table.item_origin + table.item_bytes - 1) / table.item_bytes * table.item_bytes;
  if (last > table.visible_end) last = table.visible_end;
  if (last <= end) return;
  const bool whole = range.kept == range.length;
  range.length = last - range.offset;
  const std::uint32_t bytes = whole ? room_for(table, last - end) : 0;
  append_gap(table, bytes, end);
  table.kept += bytes;
  range.kept += bytes;
}

void BulkDifference::join_nearest() {
  BulkTable& table = *table_;
  while (table.count > table.most_ranges / 2) {
    table.nearness *= 2;
    plan_joining(table);
    join_side(table, table.before);
    table.kept = join_side(table, table.after);
    join_ranges(table);
  }
}

void BulkDifference::publish(const Region& region, const BulkOrigin& origin) {
  if (table_ == nullptr) add(region, region.begin(), nullptr, 0, false);
  widen_end();
  const BulkTable& table = *table_;
  const std::uint32_t ranges_bytes = table.count * static_cast<std::uint32_t>(sizeof(BulkRange));
  const std::uint32_t side = padded8(table.kept);
  const std::uint32_t payload_bytes = static_cast<std::uint32_t>(sizeof(BulkBlob)) + ranges_bytes + 2 * side;
  const std::uint32_t frames = origin.callers != nullptr ? origin.callers->count : 0;
  const std::uint32_t frames_bytes = frames != 0 ? origin.callers->bytes() : 0;
  const auto frames_at =
      static_cast<std::uint32_t>(sizeof(StackHeader) + (origin.span.known != 0 ? sizeof(SpanBlob) : 0));
  const std::uint32_t stack_part = frames != 0 ? frames_at + frames_bytes : stack_bytes(0, origin.span);
  EventRing& ring = *memory_state.ring;
  const DictionaryRef module = module_of_code(origin.ip);
  if (const Claim claim = ring.claim(payload_bytes + stack_part)) {
    EventHead& head = *claim.head;
    head.tsc = ring.now();
    head.variable = region.variable.variable;
    head.place = origin.place;
    head.context = origin.context;
    head.thread_id = origin.thread_id;
    head.op = origin.op;
    head.before_kind = head.after_kind = ValueKind::kMemory;
    head.flags = (static_cast<std::uint8_t>(region.variable.scope) & kScopeMask) | kBulk;
    if (!origin.exact) head.flags |= kInexact;
    if (stack_part != 0) head.flags |= kHasStack;
    head.before = 0;
    head.after = origin.ip;
    head.coalesced = origin.coalesced;
    std::byte* to = claim.payload();
    *reinterpret_cast<BulkBlob*>(to) = {changed_bytes_, table.count, table.kept, origin.system_call, module};
    auto* ranges = reinterpret_cast<BulkRange*>(to + sizeof(BulkBlob));
    for (std::uint32_t i = 0; i < table.count; ++i) {
      ranges[i] = table.ranges[i];
      ranges[i].offset -= table.item_origin;
    }
    to += sizeof(BulkBlob) + ranges_bytes;
    copy_bytes(to, table.before, table.kept);
    copy_bytes(to + side, table.after, table.kept);
    if (stack_part != 0) {
      std::byte* stack = to + 2 * side;
      put_stack(stack, nullptr, 0, origin.span);
      reinterpret_cast<StackHeader*>(stack)->frames = static_cast<std::uint16_t>(frames);
      if (frames != 0) copy_bytes(stack + frames_at, origin.callers->frames, frames_bytes);
    }
    claim.commit();
  }
  release();
}

void bulk_tables_after_fork_child() {
  for (BulkTable& table : tables) table.busy.store(false, std::memory_order_relaxed);
}

}  // namespace watcher

// From a slot of the ring to a typed event: every reference resolved, every length checked. Whatever a damaged or
// hostile ring holds, decode() returns views inside the payload and the dictionary, or false.
//
// One thread. The views borrow the ring's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/queue/dictionary.h"
#include "runtime/queue/event.h"
#include "runtime/queue/ring_reader.h"

namespace watcher {

/// Spelling of an operation in the output.
std::string_view op_name(Op op);
std::string_view scope_name(Scope scope);

/// One side of an event.
struct ValueView {
  ValueKind kind = ValueKind::kUnbound;
  std::uint64_t word = 0;      // inline kinds
  std::string_view bytes;      // the others: what was kept of the value
  std::uint64_t total = 0;     // its full length
  std::string_view type_name;  // empty: the kind's own
  bool redacted = false;       // only the type may be told

  bool truncated() const { return total > bytes.size(); }
  std::int64_t as_int() const { return static_cast<std::int64_t>(word); }
  double as_float() const { return __builtin_bit_cast(double, word); }
};

struct PathPart {
  PathKind kind = PathKind::kIndex;
  std::int64_t value = 0;  // index, or first of a range
  std::int64_t end = 0;    // of a range, exclusive
  std::string_view text;
};

/// A file that code was loaded from.
struct NativeModule {
  std::uint64_t bias = 0;  // address = bias + what the file says
  std::string_view path;   // empty: in no file, or not known
  std::string_view build_id;
};

struct NativeSymbol;
struct NativeCaller {
  std::uint64_t return_address = 0;
  NativeModule module;
};

struct StackFrame {
  std::string_view function;
  std::string_view file;
  std::int32_t line = 0;
};

/// What an event is without the parts that need storage of their own.
struct EventFields {
  std::uint64_t ticket = 0;
  std::uint64_t tsc = 0;
  Op op = Op::kStore;
  Scope scope = Scope::kUnknown;
  bool exact = true;
  bool exact_line = true;
  std::uint32_t thread_id = 0;
  std::uint64_t coalesced = 0;

  DictionaryRef variable_ref = 0;  // for caches: the same reference is the same content, within one ring
  DictionaryRef place_ref = 0;
  std::uint64_t variable_id = 0;
  std::string_view variable_name;
  std::string_view item_format;  // memory
  std::uint32_t item_size = 0;
  DictionaryRef filter_ref = 0;
  std::uint32_t mutation_depth = 0;  // 0: as the session is configured
  bool has_place = false;
  std::string_view function;
  std::string_view file;
  std::int32_t line = 0;
  std::string_view thread_name;
  std::string_view task;
  bool has_sql = false;
  std::string_view sql_statement;
  std::string_view sql_operation;
  std::string_view sql_driver;
  std::string_view sql_database;
  std::string_view sql_params;
  bool sql_cut = false;

  SpanBlob span = {};
  ValueView before;
  ValueView after;

  bool is_memory = false;           // a write: what follows, and both values are kMemory
  std::uint64_t memory_offset = 0;  // in the variable, bytes
  std::uint32_t in_item = 0;        // bytes from the begin of the first element to there
  bool items_apart = false;         // there is something else between the elements that it covers
  bool beside_items = false;        // it covers none of them: the variable is a view with gaps
  std::uint64_t instruction = 0;    // 0: not known, or the kernel's
  std::uint64_t code = 0;           // an address within that instruction, in `module`
  NativeModule module;              // of the instruction
  std::uint32_t system_call = 0;    // number + 1 of the call that wrote; 0: none, or not known

  // A memory event of many stores: both values are what was kept of each range, in a row, and their `total` is how far
  // the ranges reach.
  bool is_bulk = false;
  std::uint64_t changed_bytes = 0;
};

struct EventView : EventFields {
  std::vector<StackFrame> stack;  // callers, innermost first
  std::vector<PathPart> path;
  std::vector<NativeCaller> callers;           // of the storing function
  std::shared_ptr<const NativeSymbol> native;  // NativeSymbols fills these two
  std::vector<std::shared_ptr<const NativeSymbol>> native_callers;
  std::vector<BulkRange> ranges;
};

/// Fills `view` (reused: its storage is kept). False when the event cannot be understood.
bool decode(const RingEvent& event, const Dictionary& dictionary, EventView* view);

}  // namespace watcher

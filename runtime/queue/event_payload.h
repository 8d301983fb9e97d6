// What follows the first slot of an event, and what its dictionary references refer to. Part of event.h: include that.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/queue/event.h"
#include "runtime/queue/event_stack.h"

namespace watcher {

/// Header of a payload value; `stored` bytes follow. `total` > `stored` when the value was longer than the bound.
struct ValueBlob {
  std::uint32_t stored;
  DictionaryRef type_name;  // of kObject, kText, kBytes; 0 means the kind's default ("str", "bytes")
  std::uint64_t total;
};
static_assert(sizeof(ValueBlob) == 16);

/// A memory event's payload is a MemoryBlob, `frames` NativeFrames, `length` bytes before, padded to 8, then `length`
/// bytes after.
struct MemoryBlob {
  std::uint32_t length;
  std::uint32_t system_call;  // number + 1 of the call that wrote (Op::kKernelWrite), else 0
  DictionaryRef module;       // ModuleBlob of the instruction; 0: in no file, or not known
  std::uint32_t frames;       // callers of the storing function
};
static_assert(sizeof(MemoryBlob) == 16);
/// A caller, innermost first.
struct NativeFrame {
  std::uint64_t return_address;
  DictionaryRef module;
  std::uint32_t reserved;
};
static_assert(sizeof(NativeFrame) == 16);
inline constexpr std::uint32_t kMaxNativeFrames = 64;
struct NativeCallers {
  NativeFrame frames[kMaxNativeFrames];
  std::uint32_t count;
  std::uint32_t bytes() const { return count * static_cast<std::uint32_t>(sizeof(NativeFrame)); }
};

/// With kBulk, a memory event's payload is a BulkBlob, `ranges` BulkRanges in order of offset, then the kept bytes
/// before of all ranges in a row, padded to 8, then those after. EventHead::before is 0 then.
struct BulkBlob {
  std::uint64_t changed_bytes;  // that differ, kept or not
  std::uint32_t ranges;
  std::uint32_t kept_bytes;   // a side: the sum of BulkRange::kept
  std::uint32_t system_call;  // as in MemoryBlob
  DictionaryRef module;       // likewise
};
static_assert(sizeof(BulkBlob) == 24);
/// Changed bytes, or several runs of them merged when there were too many.
struct BulkRange {
  std::uint64_t offset;  // in the variable
  std::uint64_t length;
  std::uint64_t kept;  // of its first bytes, before and after are in the payload
};
static_assert(sizeof(BulkRange) == 24);
inline constexpr std::uint32_t kMaxBulkRanges = 1024;
inline constexpr std::uint32_t kMaxBulkBytes = 64 * 1024;

/// Opens a path: `count` elements follow in `bytes` bytes, each a PathElement and its text, unpadded.
struct PathHeader {
  std::uint32_t count;
  std::uint32_t bytes;
};
enum class PathKind : std::uint8_t { kIndex, kText, kRange };
struct PathElement {  // kIndex: value is the index. kText: value bytes of UTF-8 follow. kRange: value is first, extra
                      // is end.
  PathKind kind;
  std::uint8_t reserved[7];
  std::int64_t value;
  std::int64_t extra;
};
static_assert(sizeof(PathElement) == 24);

constexpr std::uint32_t slots_for(std::uint32_t payload_bytes) {
  return 1 + static_cast<std::uint32_t>((payload_bytes + kSlotBytes - 1) / kSlotBytes);
}

/// Dictionary blobs. Strings are blobs of their own (UTF-8, no terminator).
struct VariableBlob {
  std::uint64_t id;  // stable over runs: XXH64 of name, file, function and scope
  DictionaryRef name;
  DictionaryRef format;          // memory: PEP 3118 format of one element, e.g. "q"; 0 for objects
  std::uint32_t item_size;       // memory: bytes of one element; 0 for objects
  std::uint32_t mutation_depth;  // bytes of a change to tell; 0: as the session is configured
  DictionaryRef filter;          // FilterBlob: which of its events are written; 0: all
  std::uint32_t flags;           // VariableFlag
  DictionaryRef path = 0;        // memory inside an object: the steps to it, as in an event (PathHeader); 0: none
  std::uint32_t reserved = 0;
};
enum VariableFlag : std::uint32_t {
  kHidesThreads = 1,  // who else asked for thread and task names, this variable's events do without
  kHidesSql = 2,
  kScopeGiven = 4,  // the two bits from kGivenScope on are the Scope that its events show
  kGivenScope = 8
};
struct FilterBlob {
  DictionaryRef when;            // source of a condition (config/condition.h), 0: none
  std::uint32_t max_per_second;  // 0: no limit
  double sample;                 // share of the events, 0 to 1
};
struct PlaceBlob {
  DictionaryRef function;
  DictionaryRef file;
  std::int32_t line;  // negative: it may be another one, "exact_line": false
};
/// Code that was loaded from a file, or is the kernel's. Events hold it, so that the code can be named when the process
/// is gone, and whatever was loaded in its place since.
struct ModuleBlob {
  std::uint64_t bias;      // address = bias + what the file says
  DictionaryRef path;      // absolute; "[vdso]"
  DictionaryRef build_id;  // raw bytes; 0: it has none
};
struct ContextBlob {
  DictionaryRef thread_name;
  DictionaryRef task;
  DictionaryRef sql;  // SqlBlob
};
struct SqlBlob {
  DictionaryRef statement;  // 0: left out, see kSqlCut
  DictionaryRef operation;  // its leading keyword, upper case
  DictionaryRef driver;
  DictionaryRef database;
  DictionaryRef params;  // 0: not recorded
  std::uint32_t flags;   // SqlFlag
};
enum SqlFlag : std::uint32_t { kSqlCut = 1 };  // the statement or its parameters are not as they were executed

}  // namespace watcher

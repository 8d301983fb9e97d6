// The event as a producer writes it: one 64-byte slot of the ring, longer ones continue in the slots after it.
//
// Producers are interpreter hooks (under the interpreter's lock) and fault handlers (signal context); the reader is the
// collector process, possibly after the writer was killed. So everything here is position-independent, trivially
// copyable, and any field read back is checked before it is used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace watcher {

/// What happened to the variable. The spelling in the output is `op_name()` (enrich/decode.h).
enum class Op : std::uint8_t {
  kInit,     // first binding: the initial state
  kStore,    // a name bound again
  kDelete,   // a name unbound
  kSetItem,  // containers
  kDelItem,
  kAppend,
  kExtend,
  kInsert,
  kPop,
  kRemove,
  kClear,
  kSort,
  kReverse,
  kRepeat,
  kUpdate,
  kSetDefault,
  kPopItem,
  kAdd,
  kDiscard,
  kIntersectionUpdate,
  kDifferenceUpdate,
  kSymmetricDifferenceUpdate,
  kReinit,  // container.__init__() called again
  kAppendLeft,
  kExtendLeft,
  kPopLeft,
  kRotate,
  kMoveToEnd,
  kSetAttr,  // attributes of instances, classes, modules
  kDelAttr,
  kChange,       // something else changed the container, past its own methods
  kWrite,        // memory, by a user-mode instruction
  kKernelWrite,  // memory, by a system call
  kMoved,        // the watched memory has a new address
  kFreed,        // the watched memory is gone
  kResumed,      // what changed while capture was paused
  kCount         // also: a claim given up, because the store it was for faulted; readers skip it
};

/// Where the name lives. `kBoth` and `kUnknown` occur in rules; an event says which one it was.
enum class Scope : std::uint8_t { kUnknown, kLocal, kGlobal, kBoth };

/// How a value of an event is encoded. Inline kinds sit in the slot's 8-byte word, the others in the payload.
enum class ValueKind : std::uint8_t {
  kUnbound,  // no value: the name was or is unbound
  kNone,
  kBool,    // inline, 0 or 1
  kInt,     // inline, two's complement
  kFloat,   // inline, IEEE-754 bits
  kBigInt,  // payload: minimal little-endian two's complement
  kText,    // payload: UTF-8
  kBytes,   // payload: raw bytes
  kObject,  // payload: UTF-8 of a bounded repr; ValueBlob::type_name names the type
  kMemory,  // payload: raw bytes of the watched memory (Op::kWrite and Op::kKernelWrite only)
  kCount
};

constexpr bool is_inline(ValueKind kind) {
  return kind <= ValueKind::kFloat;
}

/// Reference to a blob of the ring file's dictionary: 0 is "none".
using DictionaryRef = std::uint32_t;

enum EventFlag : std::uint8_t {
  kScopeMask = 0x03,    // a Scope
  kHasPath = 0x04,      // the payload opens with a PathHeader
  kInexact = 0x08,      // "exact": false
  kInexactLine = 0x10,  // "exact_line": false
  kBulk = 0x20,         // the payload is a BulkBlob
  kHasStack = 0x40,     // the payload ends with a StackHeader
  kBehindStore = 0x80,  // of memory: the instruction pointer is the next instruction's
  kShortPath = 0x80,    // of all else: the path is one step, and stands in EventHead::coalesced
};

inline constexpr std::size_t kSlotBytes = 64;
/// Longest payload of one event, bytes; producers bound values so that it is never exceeded.
inline constexpr std::uint32_t kMaxPayloadBytes = 256 * 1024;
/// Longest prefix of one value that is kept, bytes. `ValueBlob::total` has the full length.
inline constexpr std::uint32_t kMaxValueBytes = 64 * 1024;

/// First slot of an event. Payload, if any, follows directly behind it (slots are contiguous, also across the
/// ring's end, which is mapped twice), in this order: path, before, after, stack; each padded to 8 bytes.
struct EventHead {
  std::atomic<std::uint64_t> state;  // commit word, see EventRing: partner of the reader's acquire load
  std::uint64_t tsc;                 // time stamp counter, or CLOCK_REALTIME ns when RingHeader::clock says so
  DictionaryRef variable;            // VariableBlob
  DictionaryRef place;               // PlaceBlob
  DictionaryRef context;             // ContextBlob or 0
  std::uint32_t thread_id;           // gettid()
  Op op;
  ValueKind before_kind;
  ValueKind after_kind;
  std::uint8_t flags;  // EventFlag
  std::uint32_t payload_bytes;
  std::uint64_t before;     // inline value; memory events: byte offset in the variable
  std::uint64_t after;      // inline value; memory events: instruction pointer of the store
  std::uint64_t coalesced;  // memory: number of stores merged into this event, 0 for a single one; or a short_step()
};
static_assert(sizeof(EventHead) == kSlotBytes && std::is_standard_layout_v<EventHead>);

}  // namespace watcher

#include "runtime/queue/event_payload.h"

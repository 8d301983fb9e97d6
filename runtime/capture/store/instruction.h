// What a store instruction writes, and how to make it write elsewhere: decoded once, then served from a cache.
//
// Called by the fault handlers: no allocation; the decoder's large objects are static, under a lock.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

inline constexpr std::size_t kMaxInstructionBytes = 15;

enum class StoreKind : std::uint8_t {
  kUnsupported,  // writes in a way that only the processor itself can carry out: single-stepped
  kOperand,      // through an operand that `code` replaces by [scratch]
  kString,       // stos, movs: through rdi, which is moved for the time of the store
  kRegister      // maskmov, clzero: through a fixed register, moved likewise
};

/// Which bytes of the operand are stored, where that is for a register to say.
enum class StoreMask : std::uint8_t {
  kNone,
  kOpmask,      // a bit of k1…k7 an element
  kCompressed,  // as many elements from the start as the opmask has bits
  kVector,      // the sign bit of each element of an xmm or ymm register
  kMmx,         // the same of an mmx register
  kCompare,     // all of them or, where rax is not what is there, none
  kComparePair  // the same of rdx:rax
};

/// Where a plain move's value is; one that has to be computed is, by executing the instruction.
enum class StoreSource : std::uint8_t { kComputed, kImmediate, kGeneral, kVector };

inline constexpr std::uint8_t kNoRegister = 0xff;
inline constexpr std::uint8_t kInstructionPointer = 0xfe;  // as a base

/// Registers by their hardware numbers (rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 …).
struct StoreForm {
  StoreKind kind = StoreKind::kUnsupported;
  std::uint8_t length = 0;
  std::uint8_t scratch = kNoRegister;  // carries the address while the store runs out of line
  std::uint8_t base = kNoRegister;
  std::uint8_t index = kNoRegister;
  std::uint8_t scale = 0;
  std::uint8_t segment = 0;                 // 0, or 'f', or 'g'
  std::uint8_t bit_register = kNoRegister;  // bts & co.: selects a bit anywhere around the operand
  bool repeated = false;                    // kString with a rep prefix
  bool reads_source = false;                // movs
  bool address32 = false;
  bool in_loop = false;               // a jump back over it follows: more of its kind will come
  std::uint8_t stack_adjustment = 0;  // pop: rsp counts after the pop
  std::uint32_t bytes = 0;            // written; of kString per element
  std::uint32_t alignment = 1;        // clzero works on a whole line, wherever in it the register points
  std::int64_t displacement = 0;
  StoreMask mask = StoreMask::kNone;
  std::uint8_t mask_register = 0;
  std::uint8_t mask_element = 1;  // bytes
  StoreSource source = StoreSource::kComputed;
  std::uint8_t source_register = 0;
  std::uint8_t source_shift = 0;  // 8 for ah and its like
  std::uint64_t immediate = 0;
  std::uint32_t opmasks_at = 0;       // in an XSAVE area; 0: the processor has none
  std::uint32_t upper_halves_at = 0;  // of ymm registers, likewise
  std::uint8_t code[16] = {};         // to be executed out of line
  std::uint8_t code_bytes = 0;
};

/// Decodes the instruction at `bytes`, of which `available` can be read. Not reentrant: one caller at a time.
StoreForm decode_store(const std::uint8_t* bytes, std::size_t available);
/// Does the code from an instruction on soon jump back to it, or before it? Likewise.
bool is_in_loop(const std::uint8_t* code, std::size_t available);

}  // namespace watcher

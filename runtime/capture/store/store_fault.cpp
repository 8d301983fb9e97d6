#include <asm/prctl.h>
#include <sys/syscall.h>

#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/code_slots.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/store/store_mask.h"
#include "runtime/capture/store/store_value.h"

namespace watcher {
namespace {

constexpr greg_t kDirectionFlag = 0x400;
constexpr unsigned kRcx = 1, kRsi = 6, kRdi = 7;
constexpr int kGregOfHardware[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
/// A fault that comes back this often unchanged is not one of a page we have just released.
constexpr int kMaxRetries = 4;

std::uintptr_t value_of(gregset_t& registers, unsigned number) {
  return static_cast<std::uintptr_t>(general_register(registers, number));
}

std::uintptr_t segment_base(std::uint8_t segment) {
  std::uintptr_t base = 0;
  if (segment != 0) raw_syscall(SYS_arch_prctl, segment == 'f' ? ARCH_GET_FS : ARCH_GET_GS, &base);
  return base;
}

/// How far from the operand's address bts and its kin reach: the register counts bits, signed, in operand-sized steps.
std::int64_t bit_string_offset(const StoreForm& form, gregset_t& registers) {
  if (form.bit_register == kNoRegister) return 0;
  const auto raw = static_cast<std::int64_t>(value_of(registers, form.bit_register));
  if (form.bytes == 8) return (raw >> 6) * 8;
  if (form.bytes == 4) return (static_cast<std::int32_t>(raw) >> 5) * 4;
  return (static_cast<std::int16_t>(raw) >> 4) * 2;
}

std::uintptr_t operand_address(const StoreForm& form, gregset_t& registers, std::uintptr_t ip) {
  std::uintptr_t address = static_cast<std::uintptr_t>(form.displacement);
  if (form.base == kInstructionPointer)
    address += ip + form.length;
  else if (form.base != kNoRegister)
    address += value_of(registers, form.base);
  if (form.index != kNoRegister) address += value_of(registers, form.index) * form.scale;
  address += form.stack_adjustment;
  address += static_cast<std::uintptr_t>(bit_string_offset(form, registers));
  if (form.address32) address = static_cast<std::uint32_t>(address);
  return address + segment_base(form.segment);
}

/// How many elements of a string store to run at once: to the end of the page, and not beyond where the source would
/// have to show what was just written, for our copy does not show it.
std::uint64_t elements_at_once(const StoreForm& form, gregset_t& registers, std::uint64_t wanted) {
  const std::uintptr_t to = value_of(registers, kRdi);
  const std::uintptr_t offset = to & kPageMask;
  const bool backwards = (registers[REG_EFL] & kDirectionFlag) != 0;
  if (offset + form.bytes > kPageBytes) return 1;
  std::uint64_t count = backwards ? offset / form.bytes + 1 : (kPageBytes - offset) / form.bytes;
  if (wanted < count) count = wanted;
  if (!form.reads_source) return count;
  const std::uintptr_t from = value_of(registers, kRsi);
  const std::uintptr_t distance = backwards ? from - to : to - from;
  if (distance != 0 && distance < count * form.bytes) count = distance / form.bytes;
  return count == 0 ? 1 : count;
}

bool resolve_string(StoreContext* context, std::uint64_t limit) {
  const StoreForm& form = context->form;
  gregset_t& registers = context->registers;
  const std::uint64_t wanted = form.repeated ? value_of(registers, kRcx) : 1;
  if (wanted == 0) return false;
  std::uint64_t count = elements_at_once(form, registers, wanted);
  if (count > limit) count = limit;
  const bool backwards = (registers[REG_EFL] & kDirectionFlag) != 0;
  context->address = value_of(registers, kRdi) - (backwards ? (count - 1) * form.bytes : 0);
  context->bytes = static_cast<std::uint32_t>(count * form.bytes);
  context->remaining = wanted - count;
  return true;
}

/// What the store will write. False when that cannot be told.
bool resolve(StoreContext* context, std::uint64_t string_limit) {
  const StoreForm& form = context->form;
  gregset_t& registers = context->registers;
  context->remaining = 0;
  context->bytes = form.bytes;
  switch (form.kind) {
    case StoreKind::kOperand:
      context->address = operand_address(form, registers, static_cast<std::uintptr_t>(registers[REG_RIP]));
      return true;
    case StoreKind::kRegister:
      context->address = value_of(registers, form.base) & ~std::uintptr_t{form.alignment - 1};
      return true;
    case StoreKind::kString:
      return resolve_string(context, string_limit);
    case StoreKind::kUnsupported:
      break;
  }
  return false;
}

/// The processor names the first byte it may not write, so that page must be one of the store's.
bool covers(const StoreContext& context, std::uintptr_t fault_address) {
  return page_of(fault_address) >= page_of(context.address) &&
         page_of(fault_address) <= page_of(context.address + context.bytes - 1);
}

struct Piece {
  std::uintptr_t address;
  std::size_t bytes;
};
/// The part of the store in its first (0) or second (1) page.
Piece piece_of(const StoreContext& context, int index) {
  const std::uintptr_t end = context.address + context.bytes;
  const std::uintptr_t boundary = page_of(context.address) + kPageBytes;
  if (index == 0) return {context.address, (end < boundary ? end : boundary) - context.address};
  return end > boundary ? Piece{boundary, end - boundary} : Piece{boundary, 0};
}

/// Lays the store's bytes out in the scratch pages, at the same offset in the page, for alignment. What is neither
/// watched nor accessible comes to lie on the guard page, so that the processor itself decides whether that matters.
void lay_out_image(StoreContext* context) {
  std::byte* first_page = context->scratch;
  bool reachable[2] = {true, true};
  for (int i = 0; i < 2; ++i) {
    const Piece piece = piece_of(*context, i);
    if (piece.bytes == 0) continue;
    const LockedPage* locked = locked_page(context, piece.address);
    reachable[i] =
        locked != nullptr ? locked->page->takes_stores() : guarded_touch(reinterpret_cast<void*>(piece.address));
  }
  if (!reachable[0]) first_page -= kPageBytes;
  if (!reachable[1]) first_page += kPageBytes;
  context->outside_reachable = reachable[0] && reachable[1];
  context->image = first_page + (context->address & kPageMask);
  for (int i = 0; i < 2; ++i) {
    const Piece piece = piece_of(*context, i);
    if (piece.bytes == 0 || !reachable[i]) continue;
    guarded_copy(context->image + (piece.address - context->address), reinterpret_cast<const void*>(piece.address),
                 piece.bytes);
  }
}

void redirect(StoreContext* context, ucontext_t* ucontext, const std::byte* code) {
  const StoreForm& form = context->form;
  gregset_t& registers = ucontext->uc_mcontext.gregs;
  greg_t& scratch = general_register(registers, form.scratch);
  const std::uintptr_t shift = reinterpret_cast<std::uintptr_t>(context->image) - context->address;
  context->saved_register = static_cast<std::uint64_t>(scratch);
  if (form.kind == StoreKind::kOperand) {
    scratch = reinterpret_cast<greg_t>(context->image) - bit_string_offset(form, context->registers);
  } else {
    scratch += static_cast<greg_t>(shift);
  }
  if (form.kind == StoreKind::kString) {
    context->saved_register = shift;
    if (form.repeated) general_register(registers, kRcx) = static_cast<greg_t>(context->bytes / form.bytes);
  }
  registers[REG_RIP] = reinterpret_cast<greg_t>(code);
  __builtin_memcpy(&context->host_mask, &ucontext->uc_sigmask, sizeof context->host_mask);
  const SignalMask mask = context->host_mask | kAsynchronousSignals;
  __builtin_memcpy(&ucontext->uc_sigmask, &mask, sizeof mask);
  context->phase = Phase::kExecuting;
}

FaultOutcome give_back(StoreContext* context, FaultOutcome outcome) {
  unlock_pages(context);
  release_store_context(context);
  return outcome;
}

/// A bulk window stands in the way: it is closed, and the store traps again.
FaultOutcome leave_to_window(StoreContext* context) {
  const std::uintptr_t begin = context->address;
  const std::uintptr_t end = begin + context->bytes;
  give_back(context, FaultOutcome::kRetry);
  bulk_windows_release(begin, end);
  return FaultOutcome::kRetry;
}

/// A cmpxchg that fails writes back what is there, which nobody can see.
bool stores_nothing(const StoreContext& context) {
  const StoreForm& form = context.form;
  const bool compares = form.mask == StoreMask::kCompare || form.mask == StoreMask::kComparePair;
  return compares && context.outside_reachable && !compare_succeeds(form, context.registers, context.image);
}

/// Locks the pages of the store and finds what it does to variables. False: no page of it is armed any more.
bool lock_and_capture(StoreContext* context) {
  for (std::uint64_t limit = kPageBytes;; limit = context->bytes / context->form.bytes / 2) {
    resolve(context, limit);
    const std::uintptr_t end = context->address + context->bytes;
    lock_pages(context, context->address - kMaxWidening, end + kMaxWidening);
    if (locked_page(context, context->address) == nullptr && locked_page(context, end - 1) == nullptr) return false;
    const bool one_element = context->bytes <= context->form.bytes;
    if (capture_ranges(context, context->address, end) || one_element) return true;
    unlock_pages(context);  // a string store over many small variables: fewer elements at once
  }
}

}  // namespace

greg_t& general_register(gregset_t& registers, unsigned hardware_number) {
  return registers[kGregOfHardware[hardware_number]];
}

FaultOutcome retry_store(std::uintptr_t ip, std::uintptr_t address) {
  ThreadState& thread = thread_state;
  if (thread.retried_ip != ip || thread.retried_address != address) {
    thread.retried_ip = ip;
    thread.retried_address = address;
    thread.retries = 0;
  }
  if (++thread.retries <= kMaxRetries) return FaultOutcome::kRetry;
  thread.retries = 0;
  return FaultOutcome::kForeign;
}

FaultOutcome store_faulted(ucontext_t* ucontext, std::uintptr_t address, bool certain) {
  gregset_t& registers = ucontext->uc_mcontext.gregs;
  const auto ip = static_cast<std::uintptr_t>(registers[REG_RIP]);
  StoreContext* context = acquire_store_context();
  __builtin_memcpy(context->registers, registers, sizeof context->registers);
  const std::byte* code = code_for_store(context, ip);
  if (!resolve(context, kPageBytes) || !covers(*context, address)) {
    // A late signal finds the thread elsewhere. If the store is still to be done it traps again.
    if (!certain && retry_store(ip, address) == FaultOutcome::kRetry) return give_back(context, FaultOutcome::kRetry);
    return step_begin(context, ucontext, address);
  }
  switch (bulk_store(context, ucontext, address)) {
    case BulkOutcome::kOpened:
      return give_back(context, FaultOutcome::kRetry);
    case BulkOutcome::kConflict:
      return leave_to_window(context);
    case BulkOutcome::kOver:
      give_back(context, FaultOutcome::kRetry);
      bulk_window_abandon();
      return FaultOutcome::kRetry;
    case BulkOutcome::kSingle:
      break;
  }
  if (code == nullptr) return step_begin(context, ucontext, address);
  context->enabled = enabled_bytes(context->form, *ucontext);
  if (!lock_and_capture(context)) return give_back(context, retry_store(ip, address));
  if (meets_bulk_window(*context)) return leave_to_window(context);
  thread_state.retries = 0;
  if (context->range_count == 0) memory_state.ring->header()->neighbour_traps.fetch_add(1, std::memory_order_relaxed);
  lay_out_image(context);
  if (stores_nothing(*context)) context->range_count = 0;
  claim_events(context, {Op::kWrite, ip, 0, ucontext});
  if (context->outside_reachable && value_of_move(context->form, *ucontext, context->image)) {
    registers[REG_RIP] += context->form.length;
    commit_store(context);
  } else {
    redirect(context, ucontext, code);
  }
  return FaultOutcome::kTaken;
}

void store_unwind(StoreContext* context, ucontext_t* ucontext) {
  gregset_t& registers = ucontext->uc_mcontext.gregs;
  for (const int index : kGregOfHardware) registers[index] = context->registers[index];
  registers[REG_RIP] = context->registers[REG_RIP];
  registers[REG_EFL] = context->registers[REG_EFL];
  __builtin_memcpy(&ucontext->uc_sigmask, &context->host_mask, sizeof context->host_mask);
  void_events(context);
  unlock_pages(context);
  release_store_context(context);
}

std::uintptr_t host_address(const StoreContext& context, std::uintptr_t fault_address) {
  const auto image = reinterpret_cast<std::uintptr_t>(context.image);
  const bool in_image = fault_address >= image - kPageBytes && fault_address < image + context.bytes + kPageBytes;
  return in_image ? fault_address - image + context.address : fault_address;
}

}  // namespace watcher

#include "runtime/capture/store/store_value.h"

#include "runtime/capture/store/saved_registers.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

/// Zeros where the kernel has found the component unused, or where it does not say what is there, false.
bool copy_component(const std::byte* area, unsigned number, const std::byte* from, std::byte* to, std::size_t bytes) {
  const Component found = component(area, number);
  if (found == Component::kUnknown && number != kLowerHalves) return false;
  constexpr std::byte kZeros[kVectorBytes] = {};
  copy_bytes(to, found == Component::kZero ? kZeros : from, bytes);
  return true;
}

bool copy_vector(const StoreForm& form, const std::byte* area, std::byte* to) {
  if (area == nullptr) return false;
  const std::size_t at = std::size_t{kVectorBytes} * form.source_register;
  const bool is_wide = form.bytes > kVectorBytes;
  if (is_wide && (form.upper_halves_at == 0 || !copy_component(area, kUpperHalves, area + form.upper_halves_at + at,
                                                               to + kVectorBytes, kVectorBytes)))
    return false;
  return copy_component(area, kLowerHalves, area + kVectorsAt + at, to, is_wide ? kVectorBytes : form.bytes);
}

}  // namespace

bool value_of_move(const StoreForm& form, const ucontext_t& ucontext, std::byte* to) {
  constexpr greg_t kTrapFlag = 0x100;  // somebody steps through the host: the instruction has to run
  auto& registers = const_cast<gregset_t&>(ucontext.uc_mcontext.gregs);
  if ((registers[REG_EFL] & kTrapFlag) != 0) return false;
  std::uint64_t value = 0;
  switch (form.source) {
    case StoreSource::kImmediate:
      value = form.immediate;
      break;
    case StoreSource::kGeneral:
      value = static_cast<std::uint64_t>(general_register(registers, form.source_register)) >> form.source_shift;
      break;
    case StoreSource::kVector:
      return copy_vector(form, reinterpret_cast<const std::byte*>(ucontext.uc_mcontext.fpregs), to);
    case StoreSource::kComputed:
      return false;
  }
  copy_bytes(to, &value, form.bytes);
  return true;
}

}  // namespace watcher

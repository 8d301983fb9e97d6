#include "runtime/capture/store/store_mask.h"

#include "runtime/capture/store/saved_registers.h"

namespace watcher {
namespace {

constexpr std::uint64_t kAllBytes = ~std::uint64_t{0};
constexpr std::size_t kMmxAt = 32, kStatusWordAt = 2;
constexpr unsigned kOpmasks = 5;

std::uint64_t bytes_of_elements(std::uint64_t elements, std::uint32_t element_bytes, std::uint32_t bytes) {
  if (element_bytes == 1) return elements;
  std::uint64_t enabled = 0;
  const std::uint64_t element = (std::uint64_t{1} << element_bytes) - 1;
  for (std::uint32_t at = 0; at < bytes && at < 64; at += element_bytes, elements >>= 1)
    if ((elements & 1) != 0) enabled |= element << at;
  return enabled;
}

std::uint64_t by_opmask(const StoreForm& form, const std::byte* area) {
  const Component opmasks = component(area, kOpmasks);
  if (opmasks == Component::kUnknown || form.opmasks_at == 0 || form.mask_element == 0) return kAllBytes;
  if (opmasks == Component::kZero) return 0;
  auto elements = read_word<std::uint64_t>(area + form.opmasks_at + 8u * form.mask_register);
  const std::uint32_t count = form.bytes / form.mask_element;
  if (count < 64) elements &= (std::uint64_t{1} << count) - 1;
  if (form.mask == StoreMask::kCompressed) {
    std::uint32_t stored = 0;
    for (; elements != 0; elements &= elements - 1) ++stored;
    elements = stored < 64 ? (std::uint64_t{1} << stored) - 1 : kAllBytes;
  }
  return bytes_of_elements(elements, form.mask_element, form.bytes);
}

/// The sign bits of `count` elements.
std::uint64_t signs(const std::byte* from, std::uint32_t element_bytes, std::uint32_t count) {
  std::uint64_t elements = 0;
  for (std::uint32_t i = 0; i < count; ++i)
    elements |= (static_cast<std::uint64_t>(from[(i + 1) * element_bytes - 1]) >> 7) << i;
  return elements;
}

std::uint64_t by_vector(const StoreForm& form, const std::byte* area) {
  const std::uint32_t half = kVectorBytes / form.mask_element;
  const std::uint32_t at = kVectorBytes * form.mask_register;
  std::uint64_t elements = 0;
  // A frame without XSAVE has the lower halves all the same.
  if (component(area, kLowerHalves) != Component::kZero)
    elements = signs(area + kVectorsAt + at, form.mask_element, half);
  if (form.bytes > kVectorBytes) {
    const Component upper = component(area, kUpperHalves);
    if (upper == Component::kUnknown || form.upper_halves_at == 0) return kAllBytes;
    if (upper == Component::kThere)
      elements |= signs(area + form.upper_halves_at + at, form.mask_element, half) << half;
  }
  return bytes_of_elements(elements, form.mask_element, form.bytes);
}

/// The frame has the registers in the order of the x87 stack.
std::uint64_t by_mmx(const StoreForm& form, const std::byte* area) {
  const unsigned top = read_word<std::uint16_t>(area + kStatusWordAt) >> 11 & 7;
  return signs(area + kMmxAt + kVectorBytes * ((form.mask_register - top) & 7), 1, form.bytes);
}

}  // namespace

std::uint64_t enabled_bytes(const StoreForm& form, const ucontext_t& ucontext) {
  const auto* area = reinterpret_cast<const std::byte*>(ucontext.uc_mcontext.fpregs);
  if (area == nullptr) return kAllBytes;
  switch (form.mask) {
    case StoreMask::kOpmask:
    case StoreMask::kCompressed:
      return by_opmask(form, area);
    case StoreMask::kVector:
      return by_vector(form, area);
    case StoreMask::kMmx:
      return by_mmx(form, area);
    default:
      return kAllBytes;
  }
}

bool compare_succeeds(const StoreForm& form, const gregset_t& registers, const std::byte* there) {
  const auto rax = static_cast<std::uint64_t>(registers[REG_RAX]);
  const auto rdx = static_cast<std::uint64_t>(registers[REG_RDX]);
  const bool is_pair = form.mask == StoreMask::kComparePair;
  const std::uint32_t word = is_pair ? form.bytes / 2 : form.bytes;
  const std::uint64_t mask = word == 8 ? kAllBytes : (std::uint64_t{1} << 8 * word) - 1;
  const auto differs = [mask](const std::byte* from, std::uint32_t bytes, std::uint64_t expected) {
    std::uint64_t found = 0;
    for (std::uint32_t i = 0; i < bytes; ++i) found |= static_cast<std::uint64_t>(from[i]) << 8 * i;
    return ((found ^ expected) & mask) != 0;
  };
  return !differs(there, word, rax) && !(is_pair && differs(there + word, word, rdx));
}

}  // namespace watcher

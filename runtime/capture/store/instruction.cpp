#include "runtime/capture/store/instruction.h"

#include <Zydis/Zydis.h>
#include <cpuid.h>

#include <initializer_list>

namespace watcher {
namespace {

// 1.4 KiB that have no place on a host's signal stack.
constinit ZydisDecoder decoder = {};
constinit ZydisDecodedInstruction instruction = {};
constinit ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT] = {};

constexpr std::uint32_t kMaxStoreBytes = 4096;
constexpr std::uint32_t kLineBytes = 64;
constexpr unsigned kUpperHalves = 2, kOpmasks = 5;  // components of the XSAVE area

/// rax…r15 for any register that is part of one, else kNoRegister.
std::uint8_t hardware_number(ZydisRegister reg) {
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15) return kNoRegister;
  return static_cast<std::uint8_t>(whole - ZYDIS_REGISTER_RAX);
}

bool writes_memory(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
}

/// The only operand in memory that is written; null when there is none, or more than one.
const ZydisDecodedOperand* written_operand() {
  const ZydisDecodedOperand* found = nullptr;
  for (int i = 0; i < instruction.operand_count; ++i) {
    if (!writes_memory(operands[i])) continue;
    if (found != nullptr) return nullptr;
    found = &operands[i];
  }
  return found;
}

std::uint32_t offset_in_xsave(unsigned component) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(0xd, component, &eax, &ebx, &ecx, &edx) != 0 ? ebx : 0;
}

ZydisRegister last_named_register() {
  for (int i = instruction.operand_count_visible - 1; i >= 0; --i)
    if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER) return operands[i].reg.value;
  return ZYDIS_REGISTER_NONE;
}

void describe_mask(const ZydisDecodedOperand& written, StoreForm* form) {
  ZydisRegister reg = ZYDIS_REGISTER_NONE;
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG:
      form->mask = StoreMask::kCompare;
      return;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      form->mask = StoreMask::kComparePair;
      return;
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
      reg = last_named_register();
      form->mask = instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? StoreMask::kMmx : StoreMask::kVector;
      form->mask_element = 1;
      break;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      reg = operands[1].reg.value;
      form->mask = StoreMask::kVector;
      form->mask_element =
          instruction.mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || instruction.mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD ? 4
                                                                                                                 : 8;
      form->upper_halves_at = offset_in_xsave(kUpperHalves);
      break;
    default:
      reg = instruction.avx.mask.reg;
      if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX || reg <= ZYDIS_REGISTER_K0 ||
          reg > ZYDIS_REGISTER_K7)
        return;
      form->mask = instruction.meta.category == ZYDIS_CATEGORY_COMPRESS ? StoreMask::kCompressed : StoreMask::kOpmask;
      form->mask_element = static_cast<std::uint8_t>(written.element_size / 8);
      form->opmasks_at = offset_in_xsave(kOpmasks);
      break;
  }
  form->mask_register = static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
}

bool is_vector_move() {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
    case ZYDIS_MNEMONIC_VMOVSS:
    case ZYDIS_MNEMONIC_VMOVSD:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVDQU:
      return instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
             instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    default:
      return false;
  }
}

/// Only of operands that are named: `mov [to], from` and its kin.
void describe_source(StoreForm* form) {
  const ZydisDecodedOperand& from = operands[1];
  const bool is_move = instruction.mnemonic == ZYDIS_MNEMONIC_MOV;
  if (!is_move && !is_vector_move()) return;
  if (is_move && from.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    form->source = StoreSource::kImmediate;
    form->immediate = from.imm.value.u;
  }
  if (from.type != ZYDIS_OPERAND_TYPE_REGISTER) return;
  const ZydisRegister reg = from.reg.value;
  if (const std::uint8_t number = hardware_number(reg); number != kNoRegister) {
    form->source = StoreSource::kGeneral;
    form->source_register = number;
    form->source_shift = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH ? 8 : 0;
  } else if ((reg >= ZYDIS_REGISTER_XMM0 && reg <= ZYDIS_REGISTER_XMM15) ||
             (reg >= ZYDIS_REGISTER_YMM0 && reg <= ZYDIS_REGISTER_YMM15)) {
    form->source = StoreSource::kVector;
    form->source_register = static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
    form->upper_halves_at = offset_in_xsave(kUpperHalves);
  }
}

std::uint32_t xsave_bytes() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx) != 0 ? ebx : kMaxStoreBytes + 1;
}

std::uint32_t written_bytes(const ZydisDecodedOperand& operand) {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return xsave_bytes();
    default:
      return operand.size / 8;
  }
}

/// Registers that the instruction uses besides addressing what it writes: bit n is hardware number n.
std::uint32_t registers_in_use(const ZydisDecodedOperand& written) {
  std::uint32_t used = 1u << 4;
  const auto use = [&used](ZydisRegister reg) {
    const std::uint8_t number = hardware_number(reg);
    if (number != kNoRegister) used |= 1u << number;
  };
  for (int i = 0; i < instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) use(operand.reg.value);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && &operand != &written) {
      use(operand.mem.base);
      use(operand.mem.index);
    }
  }
  return used;
}

/// One of the six registers that a ModRM byte names without REX, SIB or displacement.
std::uint8_t choose_scratch(std::uint32_t used) {
  for (const std::uint8_t candidate : {6, 7, 1, 2, 3, 0})
    if ((used >> candidate & 1) == 0) return candidate;
  return kNoRegister;
}

bool is_segment_or_address_prefix(std::uint8_t byte) {
  return byte == 0x64 || byte == 0x65 || byte == 0x67 || byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e;
}
bool is_legacy_prefix(std::uint8_t byte) {
  return is_segment_or_address_prefix(byte) || byte == 0x66 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3;
}

/// Clears the bits by which REX, VEX, XOP and EVEX extend ModRM.rm and SIB.index; `code` starts at that prefix.
void drop_address_extension(std::uint8_t* code) {
  switch (instruction.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
      if ((code[0] & 0xf0) == 0x40) code[0] &= 0xfc;
      return;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
      if (code[0] == 0xc4) code[1] |= 0x60;
      return;
    default:  // XOP and EVEX keep the two bits where VEX has them, inverted likewise
      code[1] |= 0x60;
      return;
  }
}

/// Copies the instruction with its memory operand replaced by [scratch]. Everything else keeps its encoding, so
/// whatever the processor makes of it stays the same.
bool encode_redirected(const std::uint8_t* bytes, StoreForm* form) {
  std::size_t from = 0;
  std::size_t to = 0;
  for (; is_legacy_prefix(bytes[from]); ++from)
    if (!is_segment_or_address_prefix(bytes[from])) form->code[to++] = bytes[from];
  const std::size_t opcode = to;
  if ((instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) {
    const auto& raw = instruction.raw;
    while (from < raw.modrm.offset) form->code[to++] = bytes[from++];
    form->code[to++] = static_cast<std::uint8_t>(raw.modrm.reg << 3 | form->scratch);
    from += 1u + ((instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 ? 1u : 0u) + raw.disp.size / 8u;
    while (from < instruction.length) form->code[to++] = bytes[from++];
  } else {
    // mov [absolute], al/ax/eax/rax has no ModRM byte: its twin that has one takes the register from ModRM.reg, here 0.
    if ((bytes[from] & 0xf0) == 0x40) form->code[to++] = bytes[from++];
    if (bytes[from] != 0xa2 && bytes[from] != 0xa3) return false;
    form->code[to++] = bytes[from] == 0xa2 ? 0x88 : 0x89;
    form->code[to++] = form->scratch;
  }
  drop_address_extension(form->code + opcode);
  form->code_bytes = static_cast<std::uint8_t>(to);
  return true;
}

void copy_verbatim(const std::uint8_t* bytes, StoreForm* form) {
  for (std::uint8_t i = 0; i < form->length; ++i) form->code[i] = bytes[i];
  form->code_bytes = form->length;
}

bool is_string_store() {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSQ:
      return true;
    case ZYDIS_MNEMONIC_MOVSD:  // also the name of an SSE move
      return instruction.meta.category == ZYDIS_CATEGORY_STRINGOP;
    default:
      return false;
  }
}

/// Stores through a register that the encoding does not name.
void describe_hidden(const std::uint8_t* bytes, const ZydisDecodedOperand& written, StoreForm* form) {
  constexpr ZydisInstructionAttributes kRepeats = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  if (instruction.address_width != 64) return;
  if (is_string_store()) {
    form->kind = StoreKind::kString;
    form->repeated = (instruction.attributes & kRepeats) != 0;
    form->reads_source = operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
    form->base = form->scratch = 7;
  } else if (instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
             instruction.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU) {
    if (form->segment != 0) return;
    form->kind = StoreKind::kRegister;
    form->base = form->scratch = 7;
  } else if (instruction.mnemonic == ZYDIS_MNEMONIC_CLZERO) {
    if (form->segment != 0) return;
    form->kind = StoreKind::kRegister;
    form->base = form->scratch = 0;
    form->bytes = form->alignment = kLineBytes;
  } else {
    return;  // push, call, enter: the stack is never watched
  }
  if (form->bytes == 0) form->bytes = written.size / 8;
  copy_verbatim(bytes, form);
}

bool describe_address(const ZydisDecodedOperand& written, StoreForm* form) {
  if (written.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;  // a scatter writes to many places
  form->address32 = instruction.address_width == 32;
  form->base = written.mem.base == ZYDIS_REGISTER_RIP ? kInstructionPointer : hardware_number(written.mem.base);
  if (form->base == kNoRegister && written.mem.base != ZYDIS_REGISTER_NONE) return false;
  form->index = hardware_number(written.mem.index);
  form->scale = written.mem.scale;
  form->displacement = written.mem.disp.has_displacement ? written.mem.disp.value : 0;
  if (instruction.mnemonic == ZYDIS_MNEMONIC_POP && form->base == 4)
    form->stack_adjustment = static_cast<std::uint8_t>(form->bytes);
  const bool bit_test = instruction.mnemonic == ZYDIS_MNEMONIC_BTS || instruction.mnemonic == ZYDIS_MNEMONIC_BTR ||
                        instruction.mnemonic == ZYDIS_MNEMONIC_BTC;
  if (bit_test && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
    form->bit_register = hardware_number(operands[1].reg.value);
  return true;
}

std::uint8_t segment_of(const ZydisDecodedOperand& operand) {
  if (operand.mem.segment == ZYDIS_REGISTER_FS) return 'f';
  return operand.mem.segment == ZYDIS_REGISTER_GS ? 'g' : 0;
}

}  // namespace

StoreForm decode_store(const std::uint8_t* bytes, std::size_t available) {
  StoreForm form;
  if (decoder.stack_width != ZYDIS_STACK_WIDTH_64)
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, available, &instruction, operands))) return form;
  form.length = instruction.length;
  const ZydisDecodedOperand* written = written_operand();
  if (written == nullptr) return form;
  form.segment = segment_of(*written);
  describe_mask(*written, &form);
  if (written->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
    describe_hidden(bytes, *written, &form);
    return form;
  }
  form.bytes = written_bytes(*written);
  if (form.bytes == 0 || form.bytes > kMaxStoreBytes || !describe_address(*written, &form)) return form;
  form.scratch = choose_scratch(registers_in_use(*written));
  if (form.scratch == kNoRegister || !encode_redirected(bytes, &form)) return form;
  form.kind = StoreKind::kOperand;
  describe_source(&form);
  return form;
}

bool is_in_loop(const std::uint8_t* code, std::size_t available) {
  constexpr int kMaxInstructions = 100;
  constexpr std::int64_t kLongestLoop = 1024;
  std::int64_t at = 0;
  for (int i = 0; i < kMaxInstructions && at < static_cast<std::int64_t>(available); ++i) {
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code + at,
                                                    available - static_cast<std::size_t>(at), &instruction)))
      return false;
    at += instruction.length;
    const bool jump = instruction.meta.category == ZYDIS_CATEGORY_COND_BR || instruction.mnemonic == ZYDIS_MNEMONIC_JMP;
    if (instruction.meta.category == ZYDIS_CATEGORY_RET) return false;
    if (!jump) continue;
    if (instruction.raw.imm[0].is_relative) {
      const std::int64_t target = at + instruction.raw.imm[0].value.s;
      if (target <= 0 && target > -kLongestLoop) return true;
    }
    if (instruction.mnemonic == ZYDIS_MNEMONIC_JMP) return false;
  }
  return false;
}

}  // namespace watcher

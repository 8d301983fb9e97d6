// Every form of store, run bare on one buffer and watched on another: registers, flags, vector registers and memory
// must not differ, and the events must replay to the same memory.
#include <cpuid.h>
#include <doctest/doctest.h>

#include <string>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

struct alignas(64) Registers {
  std::uint64_t general[16];
  std::uint64_t flags;
  std::uint64_t padding[7];
  unsigned char vector[2][64];
};

}  // namespace

// Loads all registers, runs the form, stores all registers. The 512-bit versions need a processor that has them.
#define WRAPPED(name, text, load, store)                                                                        \
  extern "C" void form_##name(Registers*);                                                                      \
  __asm__(".text\nform_" #name                                                                                  \
          ":\n"                                                                                                 \
          "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdi\n vzeroall\n" load \
          "(192)(%rdi)"                                                                                         \
          ", "                                                                                                  \
          "%" VECTOR_0 "\n" load                                                                                \
          "(256)(%rdi)"                                                                                         \
          ", "                                                                                                  \
          "%" VECTOR_1                                                                                          \
          "\n"                                                                                                  \
          "push 128(%rdi)\n popfq\n"                                                                            \
          "mov 0(%rdi), %rax\n mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %rbx\n"                   \
          "mov 40(%rdi), %rbp\n mov 48(%rdi), %rsi\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n"                   \
          "mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n"                \
          "mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n mov 56(%rdi), %rdi\n" text                               \
          "\n"                                                                                                  \
          "pushfq\n push %rdi\n mov 16(%rsp), %rdi\n"                                                           \
          "mov %rax, 0(%rdi)\n mov %rcx, 8(%rdi)\n mov %rdx, 16(%rdi)\n mov %rbx, 24(%rdi)\n"                   \
          "mov %rbp, 40(%rdi)\n mov %rsi, 48(%rdi)\n mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n"                   \
          "mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n"                \
          "mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n pop 56(%rdi)\n pop 128(%rdi)\n cld\n" store "%" VECTOR_0 \
          ", (192)(%rdi)\n" store "%" VECTOR_1                                                                  \
          ", (256)(%rdi)\n"                                                                                     \
          "vzeroupper\n pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

#define VECTOR_0 "ymm0"
#define VECTOR_1 "ymm1"
#define FORM(name, text, alignment, wide) FORM_##wide(name, text)
#define FORM_0(name, text) WRAPPED(name, text, "vmovdqu ", "vmovdqu ")
#define FORM_1(name, text)
#include "tests/unit/capture_forms.inc"
#undef VECTOR_0
#undef VECTOR_1
#undef FORM_0
#undef FORM_1
#define VECTOR_0 "zmm0"
#define VECTOR_1 "zmm1"
#define FORM_0(name, text)
#define FORM_1(name, text) WRAPPED(name, text, "vmovdqu64 ", "vmovdqu64 ")
#include "tests/unit/capture_forms.inc"
#undef FORM

namespace {

struct Form {
  const char* name;
  void (*run)(Registers*);
  int alignment;
  bool wide;
};
constexpr Form kForms[] = {
#define FORM(name, text, alignment, wide) {#name, form_##name, alignment, wide},
#include "tests/unit/capture_forms.inc"
#undef FORM
};

constexpr std::size_t kPages = 10;
constexpr std::size_t kBytes = kPages * kPageBytes;
constexpr std::size_t kWatchedPages = 2;

bool has_avx512() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 16 & 1) != 0 && (b >> 30 & 1) != 0 && (c >> 1 & 1) != 0;
}
struct Processor {
  unsigned a, b, c, d;
};
bool has_bit(unsigned leaf, unsigned Processor::*word, unsigned bit, unsigned subleaf = 0) {
  Processor processor = {};
  return __get_cpuid_count(leaf, subleaf, &processor.a, &processor.b, &processor.c, &processor.d) != 0 &&
         (processor.*word >> bit & 1) != 0;
}

/// The rarer instructions, by the forms' names.
bool can_run(const std::string& form) {
  if (form == "clzero") return has_bit(0x80000008, &Processor::b, 0);
  if (form == "movntss" || form == "movntsd") return has_bit(0x80000001, &Processor::c, 6);
  if (form == "movdiri") return has_bit(7, &Processor::c, 27);
  if (form == "movdir64b") return has_bit(7, &Processor::c, 28);
  if (form == "xsavec") return has_bit(0xd, &Processor::a, 1, 1);
  return true;
}

unsigned char* map_buffer() {
  return static_cast<unsigned char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void prepare(unsigned char* buffer, const unsigned char* source, std::size_t shift, Registers* registers) {
  for (std::size_t i = 0; i < kBytes; ++i) buffer[i] = static_cast<unsigned char>(i * 13 + 1);
  memset(registers, 0, sizeof *registers);
  for (std::uint64_t i = 0; i < 16; ++i) registers->general[i] = 0x1122334455667788u * (i + 1) ^ (0xabcdull << (i * 3));
  registers->general[1] = 3;
  registers->general[7] = reinterpret_cast<std::uint64_t>(buffer + 2 * kPageBytes + shift);
  registers->general[9] = 2;
  registers->general[14] = reinterpret_cast<std::uint64_t>(source);
  registers->flags = 0x203;
  for (int i = 0; i < 64; ++i) {
    registers->vector[0][i] = static_cast<unsigned char>(i * 9 + 1);
    registers->vector[1][i] = static_cast<unsigned char>(0x80 | i);
  }
}

/// The state of x87 and MMX and the control word of SSE, as fxsave writes it, but for the addresses of the last
/// instruction.
struct alignas(16) FloatingPoint {
  unsigned char state[512];

  /// And starts the next form anew.
  void save() { __asm__ volatile("fxsave64 %0\n fninit" : "=m"(state)); }
  bool operator==(const FloatingPoint& other) const {
    return memcmp(state, other.state, 8) == 0 && memcmp(state + 24, other.state + 24, 8) == 0 &&
           memcmp(state + 32, other.state + 32, 128) == 0;
  }
};

class Differential {
 public:
  /// `own_pages`: the watched buffer comes from memory_allocate, else it is watched in its place.
  Differential(const char* engine, bool own_pages) {
    ring_.header().on_full = OnFull::kDropNewest;
    EXPECT(memory_start(ring_.get(), engine, nullptr) == 0);
    bare_ = map_buffer();
    watched_ = own_pages ? static_cast<unsigned char*>(memory_allocate(kBytes)) : map_buffer();
    source_ = map_buffer();
    for (std::size_t i = 0; i < kBytes; ++i) source_[i] = static_cast<unsigned char>(i * 7 + 3);
    EXPECT(watched_ != nullptr);
  }

  void compare(const Form& form, std::size_t shift) {
    alignas(64) Registers expected, got;
    prepare(bare_, source_, shift, &expected);
    prepare(watched_, source_, shift, &got);
    unsigned char* area = watched_ + 2 * kPageBytes;
    const std::size_t area_bytes = kWatchedPages * kPageBytes;
    std::vector<unsigned char> replayed(area, area + area_bytes);
    FloatingPoint expected_floats, got_floats;
    form.run(&expected);
    expected_floats.save();
    const RegionId region = memory_watch(variable_of(area, area_bytes));
    EXPECT(region != 0);
    form.run(&got);
    got_floats.save();
    const std::vector<MemoryEvent> events = ring_.drain();
    memory_unwatch(region, Op::kCount);
    const bool changed = memcmp(replayed.data(), area, area_bytes) != 0;
    const auto check = [&](bool holds, const char* what) {
      if (holds) return;
      ++failures_;
      fprintf(stderr, "%s at %zu: %s\n", form.name, shift, what);
    };
    check(!changed || !events.empty(), "no event");
    check(chains(events, &replayed), "the events do not chain");
    check(memcmp(replayed.data(), area, area_bytes) == 0, "the events do not replay to the memory");
    check(memcmp(bare_, watched_, kBytes) == 0, "memory differs");
    check(memcmp(expected.vector, got.vector, sizeof got.vector) == 0, "vector registers differ");
    check(expected_floats == got_floats, "x87 or SSE state differs");
    check(((expected.flags ^ got.flags) & 0xcc5) == 0, "flags differ");
    for (int i = 0; i < 16; ++i)
      check(relative(expected, i, bare_) == relative(got, i, watched_), "general registers differ");
  }

  int failures() const { return failures_; }
  CaptureRing& ring() { return ring_; }

 private:
  static std::uint64_t relative(const Registers& registers, int index, const unsigned char* buffer) {
    const std::uint64_t value = registers.general[index];
    const auto base = reinterpret_cast<std::uint64_t>(buffer);
    return value - base < kBytes ? value - base : value;
  }

  CaptureRing ring_;
  unsigned char* bare_;
  unsigned char* watched_;
  unsigned char* source_;
  int failures_ = 0;
};

void compare_all(const char* engine, bool own_pages) {
  // a push to watched memory has the stack pointer there
  static unsigned char stack_memory[64 << 10];
  const stack_t stack = {stack_memory, 0, sizeof stack_memory};
  sigaltstack(&stack, nullptr);
  Differential differential(engine, own_pages);
  std::size_t compared = 0;
  for (const Form& form : kForms) {
    if (form.wide && !has_avx512()) continue;
    if (!can_run(form.name)) continue;
    // a kernel that hides the machine carries it out itself: told later, as a store of its own
    if (std::string(form.name) == "smsw" && std::string(engine) == "uffd") continue;
    ++compared;
    differential.compare(form, 64);
    if (form.alignment != 0) continue;
    differential.compare(form, 61);
    differential.compare(form, kPageBytes - 12);      // from one watched page to the next
    differential.compare(form, 2 * kPageBytes - 12);  // out of the watched pages
  }
  printf("%s, %s: %zu of %zu forms, %lu single steps\n", engine, own_pages ? "own pages" : "in place", compared,
         std::size(kForms), differential.ring().header().single_steps.load());
  fflush(stdout);
  EXPECT(differential.failures() == 0);
}

/// A just-in-time compiler: other code at the address that has been decoded before.
void rewrite_code(const char* engine) {
  CaptureRing ring(1u << 16);
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  auto* words = static_cast<std::uint64_t*>(memory_allocate(kPageBytes));
  std::vector<unsigned char> replayed(kPageBytes);
  EXPECT(memory_watch(variable_of(words, kPageBytes)) != 0);
  auto* code = static_cast<unsigned char*>(
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const struct {
    unsigned char code[8];
    std::size_t offset, bytes;
  } versions[] = {
      {{0x48, 0x89, 0x37, 0xc3}, 0, 8},               // mov %rsi, (%rdi)
      {{0x89, 0x37, 0xc3}, 0, 4},                     // mov %esi, (%rdi)
      {{0x40, 0x88, 0x77, 0x10, 0xc3}, 16, 1},        // mov %sil, 16(%rdi)
      {{0x48, 0x01, 0x77, 0x20, 0xc3}, 32, 8},        // add %rsi, 32(%rdi)
      {{0x48, 0x89, 0x77, 0x28, 0x90, 0xc3}, 40, 8},  // mov %rsi, 40(%rdi)
  };
  const auto run = reinterpret_cast<void (*)(std::uint64_t*, std::uint64_t)>(code);
  for (std::uint64_t round = 1; round <= 2000; ++round) {
    const auto& version = versions[round * round % std::size(versions)];
    memcpy(code, version.code, sizeof version.code);
    const std::uint64_t expected = (version.code[1] == 0x01 ? words[4] : 0) + round * 0x01010101;
    run(words, round * 0x01010101);
    EXPECT(memcmp(reinterpret_cast<unsigned char*>(words) + version.offset, &expected, version.bytes) == 0);
    const std::vector<MemoryEvent> events = ring.drain();
    EXPECT(events.size() == 1 && events[0].offset == version.offset && events[0].after.size() == version.bytes);
    EXPECT(chains(events, &replayed));
  }
  EXPECT(memcmp(replayed.data(), words, kPageBytes) == 0);
}

}  // namespace

TEST_CASE("code that is rewritten at its address is decoded again") {
  CHECK(status_of_child([] { rewrite_code("inline"); }) == 0);
  CHECK(status_of_child([] { rewrite_code("uffd"); }) == 0);
}

TEST_CASE("stores to watched memory do what they do unwatched") {
  CHECK(status_of_child([] { compare_all("inline", true); }) == 0);
  CHECK(status_of_child([] { compare_all("inline", false); }) == 0);
  CHECK(status_of_child([] { compare_all("uffd", true); }) == 0);
}

}  // namespace watcher::test

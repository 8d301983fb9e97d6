// Stores of which a register decides which bytes they write: masked vector stores and compare-and-exchange. What they
// write is learnt from two bare runs over opposite bytes; only variables that hold such a byte have an event.
#include <cpuid.h>
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

using Bytes = unsigned char[64];

struct Form {
  const char* name;
  void (*run)(unsigned char* to, const unsigned char* from, const unsigned char* mask);
  unsigned needs_avx512;  // bit of the feature leaf: 30 is BW, 0 none
};

#define FORM(name, needs, text)                                                       \
  {                                                                                   \
    name,                                                                             \
        [](unsigned char* to, const unsigned char* from, const unsigned char* mask) { \
          register unsigned char* target __asm__("rdi") = to;                         \
          __asm__ volatile(text                                                       \
                           : "+r"(target)                                             \
                           : "S"(from), "d"(mask)                                     \
                           : "rax", "memory", "cc", "xmm0", "xmm1", "xmm9", "xmm12"); \
        },                                                                            \
        needs                                                                         \
  }
#define AVX512(name, store, operands) \
  FORM(name, 30,                      \
       "kmovq (%%rdx), %%k3\n vmovdqu64 (%%rsi), %%zmm0\n " store " " operands ", (%%rdi)%{%%k3%}\n vzeroupper")

const Form kForms[] = {
    AVX512("vmovdqu8 zmm", "vmovdqu8", "%%zmm0"),
    AVX512("vmovdqu8 xmm", "vmovdqu8", "%%xmm0"),
    AVX512("vmovdqu16 ymm", "vmovdqu16", "%%ymm0"),
    AVX512("vmovdqu32 zmm", "vmovdqu32", "%%zmm0"),
    AVX512("vmovupd zmm", "vmovupd", "%%zmm0"),
    AVX512("vmovss", "vmovss", "%%xmm0"),
    AVX512("vmovsd", "vmovsd", "%%xmm0"),
    AVX512("vpmovdb", "vpmovdb", "%%zmm0"),
    AVX512("vpmovqw", "vpmovqw", "%%ymm0"),
    AVX512("vextracti32x4", "vextracti32x4 $1,", "%%zmm0"),
    AVX512("vcvtps2ph", "vcvtps2ph $0,", "%%zmm0"),
    AVX512("vpcompressd", "vpcompressd", "%%zmm0"),
    AVX512("vcompresspd", "vcompresspd", "%%ymm0"),
    FORM("vmaskmovps ymm", 0,
         "vmovdqu (%%rsi), %%ymm0\n vmovdqu (%%rdx), %%ymm12\n vmaskmovps %%ymm0, %%ymm12, (%%rdi)\n vzeroupper"),
    FORM("vmaskmovpd xmm", 0, "vmovdqu (%%rsi), %%xmm0\n vmovdqu (%%rdx), %%xmm9\n vmaskmovpd %%xmm0, %%xmm9, (%%rdi)"),
    FORM("vpmaskmovq ymm", 0,
         "vmovdqu (%%rsi), %%ymm0\n vmovdqu (%%rdx), %%ymm1\n vpmaskmovq %%ymm0, %%ymm1, (%%rdi)\n vzeroupper"),
    FORM("vpmaskmovd xmm", 0, "vmovdqu (%%rsi), %%xmm0\n vmovdqu (%%rdx), %%xmm1\n vpmaskmovd %%xmm0, %%xmm1, (%%rdi)"),
    FORM("maskmovdqu", 0, "movdqu (%%rsi), %%xmm0\n movdqu (%%rdx), %%xmm9\n maskmovdqu %%xmm9, %%xmm0"),
    FORM("vmaskmovdqu", 0, "vmovdqu (%%rsi), %%xmm0\n vmovdqu (%%rdx), %%xmm1\n vmaskmovdqu %%xmm1, %%xmm0"),
    FORM("maskmovq", 0, "movq (%%rsi), %%mm0\n movq (%%rdx), %%mm5\n maskmovq %%mm5, %%mm0\n emms"),
};
#undef AVX512
#undef FORM

bool has_feature(unsigned bit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> bit & 1) != 0;
}

constexpr std::size_t kVariables = 30;
constexpr std::size_t kFirst = kPageBytes - 96;  // the variables lie around a boundary of pages

struct Variables {
  RegionId regions[kVariables];
  std::size_t begin[kVariables + 1];
};

/// Neighbours of one to seven bytes each.
Variables watch_neighbours(unsigned char* memory, std::mt19937& random) {
  Variables all{};
  all.begin[0] = kFirst;
  for (std::size_t i = 0; i < kVariables; ++i) {
    all.begin[i + 1] = all.begin[i] + 1 + random() % 7;
    MemoryVariable variable = variable_of(memory + all.begin[i], all.begin[i + 1] - all.begin[i]);
    variable.variable = static_cast<DictionaryRef>(i + 1);
    all.regions[i] = memory_watch(variable);
    EXPECT(all.regions[i] != 0);
  }
  return all;
}

void run_form(CaptureRing& ring, const Form& form, unsigned char* memory, std::mt19937& random, int round) {
  Bytes from, mask, low, high;
  for (unsigned char& byte : from) byte = static_cast<unsigned char>(random());
  for (unsigned char& byte : mask)
    byte = static_cast<unsigned char>(round == 0 ? 0 : round == 1 ? 255 : random() & random());
  for (int i = 0; i < 64; ++i) high[i] = static_cast<unsigned char>(~(low[i] = static_cast<unsigned char>(i * 5)));
  Bytes low_before, high_before;
  memcpy(low_before, low, 64);
  memcpy(high_before, high, 64);
  form.run(low, from, mask);
  form.run(high, from, mask);

  memset(memory, 0x33, 2 * kPageBytes);
  const Variables all = watch_neighbours(memory, random);
  const std::size_t at = kFirst + random() % 64;
  form.run(memory + at, from, mask);
  const std::vector<MemoryEvent> events = ring.drain();
  for (const RegionId region : all.regions) memory_unwatch(region, Op::kCount);

  std::size_t told = 0;
  for (std::size_t i = 0; i < kVariables; ++i) {
    std::size_t first = 0, last = 0;
    for (std::size_t j = 0; j < 64; ++j) {
      const bool stored = low[j] != low_before[j] || high[j] != high_before[j];
      if (!stored || at + j < all.begin[i] || at + j >= all.begin[i + 1]) continue;
      if (last == 0) first = at + j;
      last = at + j + 1;
    }
    if (last == 0) continue;
    if (told >= events.size() || events[told].variable != i + 1 || events[told].offset != first - all.begin[i] ||
        events[told].after.size() != last - first ||
        memcmp(events[told].after.data(), memory + first, last - first) != 0) {
      fprintf(stderr, "%s, round %d: event %zu of %zu, variable %zu\n", form.name, round, told, events.size(), i + 1);
      _exit(2);
    }
    ++told;
  }
  if (told != events.size()) fprintf(stderr, "%s, round %d: %zu too many\n", form.name, round, events.size() - told);
  EXPECT(told == events.size());
  for (std::size_t j = 0; j < 64; ++j) {
    const bool stored = low[j] != low_before[j] || high[j] != high_before[j];
    EXPECT(memory[at + j] == (stored ? low[j] : 0x33));
  }
}

void masked_stores(const char* engine, bool own_pages) {
  CaptureRing ring(1u << 16);
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  void* const memory = own_pages
                           ? memory_allocate(2 * kPageBytes)
                           : mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::mt19937 random(7);
  int forms = 0;
  for (const Form& form : kForms) {
    if (form.needs_avx512 != 0 && !has_feature(form.needs_avx512)) continue;
    ++forms;
    for (int round = 0; round < 12; ++round) run_form(ring, form, static_cast<unsigned char*>(memory), random, round);
  }
  EXPECT(ring.header().single_steps == 0);
  printf("%s: %d forms\n", engine, forms);
  fflush(stdout);
}

template <class Word>
void compare_exchange_word(CaptureRing& ring, unsigned char* memory) {
  auto* at = reinterpret_cast<Word*>(memory + 16);
  *at = static_cast<Word>(0x8182838485868788u);
  EXPECT(ring.drain().size() == 1);
  Word expected = static_cast<Word>(*at + 1);
  const Word found = *at;
  EXPECT(!__atomic_compare_exchange_n(at, &expected, Word{5}, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  EXPECT(expected == found && *at == found && ring.drain().empty());
  EXPECT(__atomic_compare_exchange_n(at, &expected, Word{5}, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  std::vector<MemoryEvent> events = ring.drain();
  EXPECT(*at == 5 && events.size() == 1 && events[0].offset == 16 && events[0].after.size() == sizeof(Word));
  expected = 5;  // the same value stored again is a store
  EXPECT(__atomic_compare_exchange_n(at, &expected, Word{5}, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  EXPECT(ring.drain().size() == 1);
}

#define COMPARE_EXCHANGE_PAIR(text)                                                                                  \
  [](void* to, std::uint64_t& low, std::uint64_t& high, std::uint64_t new_low, std::uint64_t new_high) {             \
    bool done = false;                                                                                               \
    __asm__ volatile(text : "=@ccz"(done), "+a"(low), "+d"(high) : "D"(to), "b"(new_low), "c"(new_high) : "memory"); \
    return done;                                                                                                     \
  }

template <class Exchange>
void compare_exchange_pair(CaptureRing& ring, unsigned char* memory, std::size_t word, Exchange exchange) {
  unsigned char* at = memory + 32;
  for (unsigned char value : {1, 2}) {
    memset(at, value, 2 * word);
    ring.drain();
    std::uint64_t low = 0, high = 0, wrong = 0;
    memcpy(&low, at, word);
    memcpy(&high, at + word, word);
    wrong = high ^ 0x100;
    std::uint64_t same = low;
    EXPECT(!exchange(at, same, wrong, 7, 8));  // half of it is as expected
    EXPECT(same == low && wrong == high && at[0] == value && ring.drain().empty());
    EXPECT(exchange(at, low, high, 7, 8));
    const std::vector<MemoryEvent> events = ring.drain();
    EXPECT(at[0] == 7 && at[word] == 8 && events.size() == 1 && events[0].after.size() == 2 * word);
  }
}

void compare_exchanges(const char* engine) {
  CaptureRing ring(1u << 16);
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  auto* memory = static_cast<unsigned char*>(memory_allocate(kPageBytes));
  EXPECT(memory_watch(variable_of(memory, kPageBytes)) != 0);
  compare_exchange_word<std::uint8_t>(ring, memory);
  compare_exchange_word<std::uint16_t>(ring, memory);
  compare_exchange_word<std::uint32_t>(ring, memory);
  compare_exchange_word<std::uint64_t>(ring, memory);
  compare_exchange_pair(ring, memory, 4, COMPARE_EXCHANGE_PAIR("lock cmpxchg8b (%%rdi)"));
  compare_exchange_pair(ring, memory, 8, COMPARE_EXCHANGE_PAIR("lock cmpxchg16b (%%rdi)"));
}

}  // namespace

TEST_CASE("a masked store is told of what its mask lets through") {
  CHECK(status_of_child([] { masked_stores("inline", true); }) == 0);
  CHECK(status_of_child([] { masked_stores("inline", false); }) == 0);
  CHECK(status_of_child([] { masked_stores("uffd", true); }) == 0);
}

TEST_CASE("a compare-and-exchange that fails is no event") {
  CHECK(status_of_child([] { compare_exchanges("inline"); }) == 0);
  CHECK(status_of_child([] { compare_exchanges("uffd"); }) == 0);
}

}  // namespace watcher::test

#include "runtime/capture/store/code_modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstddef>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr std::size_t kKnownModules = 64;
constexpr int kMaxSegments = 32;
constexpr std::size_t kMaxNoteBytes = 512;       // on a signal stack, as is
constexpr std::size_t kMaxRelativeBytes = 1024;  // this
constexpr std::uint32_t kMaxBuildIdBytes = 64;

/// What was found last for an object at this place. `version` is odd while somebody writes: partner of itself.
struct KnownModule {
  std::atomic<std::uint32_t> version{0};
  std::atomic<const void*> begin{nullptr};
  std::atomic<DictionaryRef> name{0};  // as the loader knows it
  std::atomic<DictionaryRef> module{0};
};
constinit KnownModule known[kKnownModules];

constinit char program[PATH_MAX] = "";
constinit char directory[PATH_MAX] = "";

KnownModule& entry_of(const void* begin) {
  return known[reinterpret_cast<std::uintptr_t>(begin) / kPageBytes % kKnownModules];
}

std::size_t length_of(const char* text) {
  std::size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

bool equal(std::string_view text, const char* other) {
  for (const char character : text)
    if (*other == '\0' || character != *other++) return false;
  return *other == '\0';
}

/// Another object may have been loaded where one was: it has another name.
DictionaryRef lookup(const dl_find_object& object) {
  const KnownModule& entry = entry_of(object.dlfo_map_start);
  const std::uint32_t version = entry.version.load(std::memory_order_acquire);
  const bool same = entry.begin.load(std::memory_order_relaxed) == object.dlfo_map_start;
  const DictionaryRef name = entry.name.load(std::memory_order_relaxed);
  const DictionaryRef module = entry.module.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  if ((version & 1) != 0 || !same || entry.version.load(std::memory_order_relaxed) != version) return 0;
  return equal(memory_state.ring->dictionary().string(name), object.dlfo_link_map->l_name) ? module : 0;
}

void remember(const dl_find_object& object, DictionaryRef name, DictionaryRef module) {
  KnownModule& entry = entry_of(object.dlfo_map_start);
  std::uint32_t version = entry.version.load(std::memory_order_relaxed);
  if ((version & 1) != 0 || !entry.version.compare_exchange_strong(version, version + 1, std::memory_order_acquire))
    return;
  std::atomic_thread_fence(std::memory_order_release);
  entry.begin.store(object.dlfo_map_start, std::memory_order_relaxed);
  entry.name.store(name, std::memory_order_relaxed);
  entry.module.store(module, std::memory_order_relaxed);
  entry.version.store(version + 2, std::memory_order_release);
}

DictionaryRef text(const char* bytes, std::size_t length) {
  return memory_state.ring->dictionary().intern({bytes, length});
}

/// An absolute path. The program itself has no name there; a name without a directory is the kernel's. A system call
/// could be against the host's filter here, so both directories were asked for before.
DictionaryRef path_of(const char* name, const void* begin) {
  if (begin == reinterpret_cast<const void*>(getauxval(AT_SYSINFO_EHDR))) return text("[vdso]", 6);
  const std::size_t length = length_of(name);
  if (length == 0) return text(program, length_of(program));
  if (name[0] == '/') return text(name, length);
  char path[kMaxRelativeBytes];
  std::size_t at = length_of(directory);
  if (at + 1 + length > sizeof path) return text(name, length);
  copy_bytes(path, directory, at);
  path[at++] = '/';
  copy_bytes(path + at, name, length);
  return text(path, at + length);
}

std::size_t aligned4(std::size_t bytes) {
  return (bytes + 3) & ~std::size_t{3};
}

DictionaryRef build_id_in(const std::byte* notes, std::size_t bytes) {
  for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    ElfW(Nhdr) note;
    copy_bytes(&note, notes + at, sizeof note);
    const std::size_t content = at + sizeof note + aligned4(note.n_namesz);
    if (note.n_namesz > bytes || note.n_descsz > bytes || content + note.n_descsz > bytes) return 0;
    const auto* name = reinterpret_cast<const char*>(notes + at + sizeof note);
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && equal({"GNU", 3}, name) &&
        note.n_descsz <= kMaxBuildIdBytes)
      return text(reinterpret_cast<const char*>(notes + content), note.n_descsz);
    at = content + aligned4(note.n_descsz);
  }
  return 0;
}

/// From the loaded object: its headers are at its start.
DictionaryRef build_id_of(const std::byte* begin, std::uint64_t bias) {
  ElfW(Ehdr) header;
  if (!guarded_copy(&header, begin, sizeof header)) return 0;
  if (header.e_ident[0] != 0x7f || header.e_ident[1] != 'E' || header.e_phentsize != sizeof(ElfW(Phdr))) return 0;
  for (int i = 0; i < header.e_phnum && i < kMaxSegments; ++i) {
    ElfW(Phdr) segment;
    if (!guarded_copy(&segment, begin + header.e_phoff + static_cast<unsigned>(i) * sizeof segment, sizeof segment))
      return 0;
    if (segment.p_type != PT_NOTE) continue;
    std::byte notes[kMaxNoteBytes];
    const std::size_t bytes = segment.p_memsz < sizeof notes ? segment.p_memsz : sizeof notes;
    if (!guarded_copy(notes, reinterpret_cast<const std::byte*>(bias + segment.p_vaddr), bytes)) continue;
    if (const DictionaryRef id = build_id_in(notes, bytes); id != 0) return id;
  }
  return 0;
}

}  // namespace

void code_modules_prepare() {
  const long length = raw_syscall(SYS_readlink, "/proc/self/exe", program, sizeof program - 1);
  program[length > 0 ? length : 0] = '\0';
  if (raw_syscall(SYS_getcwd, directory, sizeof directory) <= 0) directory[0] = '\0';
}

DictionaryRef module_of_code(std::uint64_t ip) {
  dl_find_object object;
  if (ip == 0 || _dl_find_object(reinterpret_cast<void*>(ip), &object) != 0) return 0;
  if (const DictionaryRef module = lookup(object); module != 0) return module;
  const char* name = object.dlfo_link_map->l_name;
  const std::uint64_t bias = object.dlfo_link_map->l_addr;
  const ModuleBlob blob{.bias = bias,
                        .path = path_of(name, object.dlfo_map_start),
                        .build_id = build_id_of(static_cast<const std::byte*>(object.dlfo_map_start), bias)};
  const DictionaryRef module = memory_state.ring->dictionary().intern(BlobKind::kModule, blob);
  remember(object, text(name, length_of(name)), module);
  return module;
}

}  // namespace watcher

#include "probes/node/host/import_table.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <mutex>

namespace watcher::node {
namespace {

constexpr std::uintptr_t kPage = 4096;

struct Object {
  std::uintptr_t inside;
  std::uintptr_t base = 0;
  const ElfW(Dyn) * dynamic = nullptr;
  std::uintptr_t sealed_begin = 0, sealed_end = 0;  // PT_GNU_RELRO
};

int find_object(dl_phdr_info* info, std::size_t, void* argument) {
  auto* object = static_cast<Object*>(argument);
  bool holds = false;
  Object found{.inside = object->inside, .base = info->dlpi_addr};
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD && object->inside - begin < header.p_memsz) holds = true;
    if (header.p_type == PT_DYNAMIC) found.dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    if (header.p_type != PT_GNU_RELRO) continue;
    found.sealed_begin = begin & ~(kPage - 1);
    found.sealed_end = (begin + header.p_memsz) & ~(kPage - 1);
  }
  if (holds) *object = found;
  return holds ? 1 : 0;
}

struct Relocations {
  const ElfW(Rela) * entries;
  std::size_t count;
};

struct Tables {
  const ElfW(Sym) * symbols = nullptr;
  const char* names = nullptr;
  Relocations calls{}, others{};

  explicit Tables(const ElfW(Dyn) * dynamic) {
    for (; dynamic->d_tag != DT_NULL; ++dynamic) {
      const auto pointer = dynamic->d_un.d_ptr;  // the loader has made it an address
      const std::size_t count = dynamic->d_un.d_val / sizeof(ElfW(Rela));
      if (dynamic->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(pointer);
      if (dynamic->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(pointer);
      if (dynamic->d_tag == DT_JMPREL) calls.entries = reinterpret_cast<const ElfW(Rela)*>(pointer);
      if (dynamic->d_tag == DT_PLTRELSZ) calls.count = count;
      if (dynamic->d_tag == DT_RELA) others.entries = reinterpret_cast<const ElfW(Rela)*>(pointer);
      if (dynamic->d_tag == DT_RELASZ) others.count = count;
    }
  }
};

void store_slot(const Object& object, std::uintptr_t slot, void* replacement) {
  const std::uintptr_t page = slot & ~(kPage - 1);
  const bool sealed = page >= object.sealed_begin && page < object.sealed_end;
  if (sealed && mprotect(reinterpret_cast<void*>(page), kPage, PROT_READ | PROT_WRITE) != 0) return;
  __atomic_store_n(reinterpret_cast<void**>(slot), replacement, __ATOMIC_RELEASE);
  if (sealed) mprotect(reinterpret_cast<void*>(page), kPage, PROT_READ);
}

bool lead_in(const Object& object, const Tables& tables, const Relocations& relocations, const char* name,
             void* replacement) {
  bool led = false;
  for (std::size_t i = 0; i < relocations.count; ++i) {
    const ElfW(Rela)& entry = relocations.entries[i];
    const auto type = ELF64_R_TYPE(entry.r_info);
    if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
    if (strcmp(tables.names + tables.symbols[ELF64_R_SYM(entry.r_info)].st_name, name) != 0) continue;
    store_slot(object, object.base + entry.r_offset, replacement);
    led = true;
  }
  return led;
}

}  // namespace

bool lead_import(const void* inside, const char* name, void* replacement) {
  Object object{.inside = reinterpret_cast<std::uintptr_t>(inside)};
  if (dl_iterate_phdr(find_object, &object) == 0 || object.dynamic == nullptr) return false;
  static constinit std::mutex lock;  // two workers: one must not seal the page that the other is about to write
  const std::lock_guard<std::mutex> guard(lock);
  const Tables tables(object.dynamic);
  if (tables.symbols == nullptr || tables.names == nullptr) return false;
  const bool calls = lead_in(object, tables, tables.calls, name, replacement);
  return lead_in(object, tables, tables.others, name, replacement) || calls;
}

}  // namespace watcher::node

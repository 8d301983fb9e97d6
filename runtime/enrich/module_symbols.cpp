#include "runtime/enrich/module_symbols.h"

#include <cxxabi.h>
#include <dwarf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/base/unique_fd.h"

// libdwfl would ask servers for debug information when DEBUGINFOD_URLS is set: a host must not wait for a network. Its
// own archive member of these names is not linked then.
struct Dwfl;
extern "C" {
int __libdwfl_debuginfod_find_executable(Dwfl*, const unsigned char*, std::size_t) {
  return -1;
}
int __libdwfl_debuginfod_find_debuginfo(Dwfl*, const unsigned char*, std::size_t) {
  return -1;
}
void __libdwfl_debuginfod_end(void*) {}
}

namespace watcher {
namespace {

constexpr int kMostSteps = 16;  // back from an address, to a function that contains it
constexpr int kMostNesting = 64;
constexpr std::size_t kMostVdsoBytes = 1u << 20;

struct FreeMemory {
  void operator()(void* memory) const { free(memory); }
};

int rank_of(const GElf_Sym& symbol) {
  const int type = GELF_ST_TYPE(symbol.st_info);
  const int binding = GELF_ST_BIND(symbol.st_info);
  const bool code = type == STT_FUNC || type == STT_GNU_IFUNC;
  return (code ? 4 : 0) + (binding == STB_GLOBAL ? 2 : binding == STB_WEAK ? 1 : 0);
}

bool may_name_code(const GElf_Sym& symbol, const char* name) {
  const int type = GELF_ST_TYPE(symbol.st_info);
  return name != nullptr && name[0] != '\0' && symbol.st_shndx != SHN_UNDEF &&
         (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

std::string demangled(const char* name) {
  if (name[0] != '_' || name[1] != 'Z') return name;
  int status = 0;
  const std::unique_ptr<char, FreeMemory> text(abi::__cxa_demangle(name, nullptr, nullptr, &status));
  return status == 0 && text != nullptr ? text.get() : name;
}

std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute room;
  for (const unsigned attribute : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name, DW_AT_name})
    if (const char* name = dwarf_formstring(dwarf_attr_integrate(die, attribute, &room)); name != nullptr)
      return demangled(name);
  return {};
}

std::string absolute(const char* file, Dwarf_Die* unit) {
  if (file == nullptr) return {};
  Dwarf_Attribute room;
  const char* directory = file[0] == '/' ? nullptr : dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &room));
  return directory == nullptr ? file : std::string(directory) + "/" + file;
}

/// Where an inlined function was called.
SourcePlace call_place(Dwarf_Die* inlined, Dwarf_Die* unit) {
  SourcePlace place;
  Dwarf_Attribute room;
  Dwarf_Word word = 0;
  Dwarf_Files* files = nullptr;
  std::size_t count = 0;
  if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &room), &word) == 0) place.line = static_cast<int>(word);
  if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &room), &word) == 0 &&
      dwarf_getsrcfiles(unit, &files, &count) == 0 && word < count)
    place.file = absolute(dwarf_filesrc(files, word, nullptr, nullptr), unit);
  return place;
}

void source_line(Dwarf_Die* unit, Dwarf_Addr address, SourcePlace* place) {
  Dwarf_Line* line = dwarf_getsrc_die(unit, address);
  if (line == nullptr) return;
  place->file = absolute(dwarf_linesrc(line, nullptr, nullptr), unit);
  dwarf_lineno(line, &place->line);
}

template <class Ranges>
void add_ranges(Dwarf_Die* die, Dwarf_Addr bias, Ranges* ranges) {
  Dwarf_Addr base = 0, begin = 0, end = 0;
  for (ptrdiff_t at = 0; (at = dwarf_ranges(die, at, &base, &begin, &end)) > 0;)
    if (begin < end) ranges->push_back({begin + bias, end + bias, *die});
}

template <class Ranges>
void sort_ranges(Ranges* ranges) {
  std::sort(ranges->begin(), ranges->end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
}

template <class Ranges>
const Dwarf_Die* find_range(const Ranges& ranges, std::uint64_t address) {
  auto range = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](std::uint64_t at, const auto& each) { return at < each.begin; });
  return range != ranges.begin() && (--range)->end > address ? &range->die : nullptr;
}

/// Functions lie in a unit, in its name spaces and in its types.
template <class Visit>
void for_each_function(Dwarf_Die parent, int depth, const Visit& visit) {
  Dwarf_Die die;
  if (depth > kMostNesting || dwarf_child(&parent, &die) != 0) return;
  do {
    switch (dwarf_tag(&die)) {
      case DW_TAG_subprogram:
        visit(&die);
        break;
      case DW_TAG_namespace:
      case DW_TAG_module:
      case DW_TAG_class_type:
      case DW_TAG_structure_type:
      case DW_TAG_union_type:
        for_each_function(die, depth + 1, visit);
        break;
      default:
        break;
    }
  } while (dwarf_siblingof(&die, &die) == 0);
}

/// Steps into the block or the inlined function that the address is in.
bool inner_scope(Dwarf_Die* scope, Dwarf_Addr address) {
  Dwarf_Die die;
  if (dwarf_child(scope, &die) != 0) return false;
  do {
    const int tag = dwarf_tag(&die);
    const bool holds_code = tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
                            tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
    if (!holds_code || dwarf_haspc(&die, address) != 1) continue;
    *scope = die;
    return true;
  } while (dwarf_siblingof(&die, &die) == 0);
  return false;
}

int no_file(Dwfl_Module*, void**, const char*, Dwarf_Addr, char**, Elf**) {
  return -1;
}

}  // namespace

ModuleSymbols::ModuleSymbols(std::string_view path, std::string_view build_id, const std::string& debug_path)
    : path_(path), build_id_(build_id), debug_path_(debug_path), debug_path_text_(debug_path_.data()) {
  callbacks_ = {.find_elf = no_file,
                .find_debuginfo = dwfl_standard_find_debuginfo,
                .section_address = dwfl_offline_section_address,
                .debuginfo_path = &debug_path_text_};
  dwfl_.reset(dwfl_begin(&callbacks_));
  if (dwfl_ == nullptr || !(path_ == "[vdso]" ? open_vdso() : open_file())) module_ = nullptr;
  if (module_ != nullptr) index_functions();
}

bool ModuleSymbols::open_file() {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;  // opening a device may do things
  UniqueFd file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  return report(file.release());
}

// The kernel maps the same one into every process.
bool ModuleSymbols::open_vdso() {
  const auto* image = reinterpret_cast<const char*>(getauxval(AT_SYSINFO_EHDR));
  UniqueFd file(memfd_create("vdso", MFD_CLOEXEC));
  if (image == nullptr || !file) return false;
  const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(image);
  const std::size_t bytes = header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
  if (bytes > kMostVdsoBytes || write(file.get(), image, bytes) != static_cast<ssize_t>(bytes)) return false;
  return report(file.release());
}

/// Takes over the descriptor. False when the file is not the one that was loaded.
bool ModuleSymbols::report(int file) {
  dwfl_report_begin(dwfl_.get());
  module_ = dwfl_report_elf(dwfl_.get(), path_.c_str(), path_.c_str(), file, 0, true);
  if (module_ == nullptr) close(file);
  dwfl_report_end(dwfl_.get(), nullptr, nullptr);
  if (module_ == nullptr) return false;
  GElf_Addr bias = 0;
  if (dwfl_module_getelf(module_, &bias) == nullptr) return false;
  const unsigned char* id = nullptr;
  GElf_Addr where = 0;
  const int bytes = dwfl_module_build_id(module_, &id, &where);
  return std::string_view(reinterpret_cast<const char*>(id), bytes > 0 ? static_cast<std::size_t>(bytes) : 0) ==
         build_id_;
}

void ModuleSymbols::index_functions() {
  const int count = dwfl_module_getsymtab(module_);
  for (int i = 0; i < count; ++i) {
    GElf_Sym symbol;
    GElf_Addr address = 0;
    const char* name = dwfl_module_getsym_info(module_, i, &symbol, &address, nullptr, nullptr, nullptr);
    if (may_name_code(symbol, name)) functions_.push_back({address, symbol.st_size, name, rank_of(symbol)});
  }
  std::sort(functions_.begin(), functions_.end(), [](const Function& a, const Function& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.rank < b.rank;
  });
}

const char* ModuleSymbols::function_at(std::uint64_t offset) const {
  auto after = std::upper_bound(functions_.begin(), functions_.end(), offset,
                                [](std::uint64_t at, const Function& function) { return at < function.begin; });
  const auto nearest = after;
  for (int steps = 0; after != functions_.begin() && steps < kMostSteps; ++steps) {
    --after;
    if (offset - after->begin < after->bytes) return after->name;
  }
  // a label of assembler code has no size
  if (nearest == functions_.begin() || std::prev(nearest)->bytes != 0) return nullptr;
  return std::prev(nearest)->name;
}

// The index of addresses that compilers may leave out is made from the units' own ranges.
void ModuleSymbols::index_units() {
  units_indexed_ = true;
  Dwarf_Addr bias = 0;
  for (Dwarf_Die* unit = nullptr; (unit = dwfl_module_nextcu(module_, unit, &bias)) != nullptr;)
    add_ranges(unit, bias, &units_);
  sort_ranges(&units_);
}

bool ModuleSymbols::find_unit(std::uint64_t offset, Dwarf_Die* unit, Dwarf_Addr* bias) {
  if (Dwarf_Die* found = dwfl_module_addrdie(module_, offset, bias); found != nullptr) {
    *unit = *found;
    return true;
  }
  if (dwfl_module_getdwarf(module_, bias) == nullptr) return false;
  if (!units_indexed_) index_units();
  const Dwarf_Die* found = find_range(units_, offset);
  if (found != nullptr) *unit = *found;
  return found != nullptr;
}

const ModuleSymbols::DieRanges& ModuleSymbols::functions_of(Dwarf_Die* unit) {
  const auto [entry, fresh] = unit_functions_.try_emplace(dwarf_dieoffset(unit));
  DieRanges& functions = entry->second;
  if (fresh) {
    for_each_function(*unit, 0, [&](Dwarf_Die* function) { add_ranges(function, 0, &functions); });
    sort_ranges(&functions);
  }
  return functions;
}

void ModuleSymbols::resolve_inlined(Dwarf_Die* unit, Dwarf_Addr address, NativeSymbol* symbol) {
  const Dwarf_Die* function = find_range(functions_of(unit), address);
  if (function == nullptr) return;
  std::vector<Dwarf_Die> chain{*function};
  for (Dwarf_Die scope = *function; inner_scope(&scope, address);)
    if (dwarf_tag(&scope) == DW_TAG_inlined_subroutine) chain.push_back(scope);
  SourcePlace* place = &symbol->place;
  for (std::size_t i = chain.size(); i-- > 0;) {
    place->function = function_name(&chain[i]);
    if (i > 0) place = &symbol->inlined_by.emplace_back(call_place(&chain[i], unit));
  }
}

void ModuleSymbols::resolve(std::uint64_t offset, NativeSymbol* symbol) {
  if (module_ == nullptr) return;
  Dwarf_Die unit;
  Dwarf_Addr bias = 0;
  if (find_unit(offset, &unit, &bias)) {
    source_line(&unit, offset - bias, &symbol->place);
    resolve_inlined(&unit, offset - bias, symbol);
  }
  const char* name = symbol->place.function.empty() ? function_at(offset) : nullptr;
  if (name != nullptr) symbol->place.function = demangled(name);
}

}  // namespace watcher

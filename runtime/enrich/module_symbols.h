// Functions and lines of one file of code: its own symbols, and its debug information, wherever that lies. elfutils'
// libdw does the reading.
//
// One thread. What the file holds is not trusted: a file that is not what the program had loaded names nothing.
#pragma once

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/enrich/symbol_cache.h"

namespace watcher {

class ModuleSymbols {
 public:
  /// `build_id` is what the program had loaded; empty: it had none. `debug_path` lists directories of separate debug
  /// files, like the debuggers' own option.
  ModuleSymbols(std::string_view path, std::string_view build_id, const std::string& debug_path);
  ModuleSymbols(const ModuleSymbols&) = delete;
  ModuleSymbols& operator=(const ModuleSymbols&) = delete;

  const std::string& path() const { return path_; }
  bool is(std::string_view path, std::string_view build_id) const { return path_ == path && build_id_ == build_id; }

  /// Fills what is known of the code at `offset`, an address as the file itself has it.
  void resolve(std::uint64_t offset, NativeSymbol* symbol);

 private:
  struct Function {
    std::uint64_t begin;
    std::uint64_t bytes;
    const char* name;
    int rank;  // of several names at one address the highest is taken
  };
  struct DieRange {
    std::uint64_t begin;
    std::uint64_t end;
    Dwarf_Die die;
  };
  using DieRanges = std::vector<DieRange>;  // by address
  struct EndDwfl {
    void operator()(Dwfl* dwfl) const { dwfl_end(dwfl); }
  };

  bool open_file();
  bool open_vdso();
  bool report(int file);
  void index_functions();
  const char* function_at(std::uint64_t offset) const;
  /// The compilation unit of an address of the debug information.
  bool find_unit(std::uint64_t offset, Dwarf_Die* unit, Dwarf_Addr* bias);
  void index_units();
  /// The functions of a compilation unit, found once: libdw itself would look through the unit for every address.
  const DieRanges& functions_of(Dwarf_Die* unit);
  void resolve_inlined(Dwarf_Die* unit, Dwarf_Addr address, NativeSymbol* symbol);

  std::string path_;
  std::string build_id_;
  std::string debug_path_;
  char* debug_path_text_ = nullptr;  // libdwfl reads it through a pointer to it
  Dwfl_Callbacks callbacks_ = {};
  std::unique_ptr<Dwfl, EndDwfl> dwfl_;
  Dwfl_Module* module_ = nullptr;
  std::vector<Function> functions_;  // by address, then rank
  bool units_indexed_ = false;
  DieRanges units_;  // where the file has no index of its own
  std::unordered_map<Dwarf_Off, DieRanges> unit_functions_;
};

}  // namespace watcher

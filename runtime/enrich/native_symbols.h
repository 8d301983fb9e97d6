// Who wrote to memory, in native code: the function, file and line of an instruction, of any process of the run.
//
// One thread; add_to() any number of them.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "runtime/enrich/decode.h"
#include "runtime/enrich/module_symbols.h"
#include "runtime/enrich/perf_map.h"
#include "runtime/enrich/symbol_cache.h"

namespace watcher {

struct SymbolSettings {
  std::size_t cache_size = 1000;
  std::uint64_t cache_ttl_s = 3600;
  std::string debug_path = "-:.debug:/usr/lib/debug";
};

class NativeSymbols {
 public:
  explicit NativeSymbols(const SymbolSettings& settings);

  /// Fills `native`, `native_callers`, and the place of an event that no interpreter has placed.
  void add_to(std::uint32_t pid, EventView* event);

  /// Never null. `code` is an address within the instruction.
  SymbolCache::Symbol resolve(std::uint32_t pid, const NativeModule& module, std::uint64_t code);

  std::uint64_t hits() const { return cache_.hits(); }
  std::uint64_t misses() const { return cache_.misses(); }

 private:
  ModuleSymbols* module_of(const NativeModule& module);
  SymbolCache::Symbol resolve_in_no_file(std::uint32_t pid, std::uint64_t code);

  std::mutex mutex_;  // of add_to
  SymbolSettings settings_;
  SymbolCache cache_;
  std::list<ModuleSymbols> modules_;  // the one asked for last first
  std::unordered_map<std::uint32_t, PerfMap> perf_maps_;
  std::uint32_t symbols_made_ = 0;
};

}  // namespace watcher

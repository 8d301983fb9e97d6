#include "runtime/enrich/native_symbols.h"

#include <time.h>

#include <algorithm>

namespace watcher {
namespace {

constexpr std::size_t kMostModules = 256;
constexpr std::size_t kMostPerfMaps = 64;
constexpr std::uint32_t kNativePlace = 1u << 31;  // of EventView::place_ref: no reference is that high

std::uint64_t now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec);
}

}  // namespace

NativeSymbols::NativeSymbols(const SymbolSettings& settings)
    : settings_(settings), cache_(settings.cache_size, settings.cache_ttl_s) {}

ModuleSymbols* NativeSymbols::module_of(const NativeModule& module) {
  const auto same = [&](const ModuleSymbols& known) { return known.is(module.path, module.build_id); };
  if (!modules_.empty() && same(modules_.front())) return &modules_.front();
  const auto found = std::find_if(modules_.begin(), modules_.end(), same);
  if (found != modules_.end()) {
    modules_.splice(modules_.begin(), modules_, found);
    return &modules_.front();
  }
  if (modules_.size() == kMostModules) {
    modules_.clear();
    cache_.clear();
  }
  return &modules_.emplace_front(module.path, module.build_id, settings_.debug_path);
}

// Not remembered: other code may be put there at any time.
SymbolCache::Symbol NativeSymbols::resolve_in_no_file(std::uint32_t pid, std::uint64_t code) {
  if (perf_maps_.size() >= kMostPerfMaps && !perf_maps_.contains(pid)) perf_maps_.clear();
  PerfMap& map = perf_maps_.try_emplace(pid, "/tmp/perf-" + std::to_string(pid) + ".map").first->second;
  auto symbol = std::make_shared<NativeSymbol>();
  symbol->offset = code;
  if (PerfMap::Function* function = map.find(code); function != nullptr) {
    if (function->id == 0) function->id = ++symbols_made_;
    symbol->id = function->id;
    symbol->place.function = function->name;
  }
  return symbol;
}

SymbolCache::Symbol NativeSymbols::resolve(std::uint32_t pid, const NativeModule& module, std::uint64_t code) {
  if (module.path.empty()) return resolve_in_no_file(pid, code);
  ModuleSymbols* symbols = module_of(module);
  const SymbolCache::Key key{symbols, code - module.bias};
  const std::uint64_t now = now_s();
  if (SymbolCache::Symbol known = cache_.get(key, now); known != nullptr) return known;
  auto symbol = std::make_shared<NativeSymbol>();
  symbol->id = ++symbols_made_;
  symbol->module = module.path;
  symbol->offset = key.offset;
  symbols->resolve(key.offset, symbol.get());
  cache_.put(key, symbol, now);
  return symbol;
}

void NativeSymbols::add_to(std::uint32_t pid, EventView* event) {
  if (!event->is_memory || event->code == 0) return;
  const std::lock_guard lock(mutex_);
  event->native = resolve(pid, event->module, event->code);
  for (const NativeCaller& caller : event->callers)
    event->native_callers.push_back(resolve(pid, caller.module, caller.return_address - 1));
  const SourcePlace& place = event->native->place;
  if (event->has_place || place.function.empty()) return;
  event->has_place = true;
  event->place_ref = kNativePlace | event->native->id;
  event->function = place.function;
  event->file = place.file;
  event->line = place.line;
}

}  // namespace watcher

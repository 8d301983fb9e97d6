#include "runtime/enrich/symbol_cache.h"

#include <charconv>

namespace watcher {

std::string NativeSymbol::text() const {
  if (!place.function.empty()) return place.function;
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, offset, 16).ptr;
  std::string text = module.substr(module.rfind('/') + 1);
  if (!text.empty()) text += '+';
  return text.append("0x").append(digits, end);
}

SymbolCache::Symbol SymbolCache::get(const Key& key, std::uint64_t now_s) {
  const auto found = index_.find(key);
  if (found == index_.end() || found->second->until_s <= now_s) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  if (found->second != entries_.begin()) entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->symbol;
}

void SymbolCache::put(const Key& key, Symbol symbol, std::uint64_t now_s) {
  if (most_ == 0) return;
  if (const auto found = index_.find(key); found != index_.end()) {
    entries_.erase(found->second);
    index_.erase(found);
  }
  if (index_.size() == most_) {
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({key, std::move(symbol), now_s + ttl_s_});
  index_.emplace(key, entries_.begin());
}

void SymbolCache::clear() {
  index_.clear();
  entries_.clear();
}

}  // namespace watcher

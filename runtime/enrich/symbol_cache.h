// What addresses of code mean, remembered: least recently used first out, and no longer than a time, since a file may
// get its debug information later.
//
// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace watcher {

/// A line of source, as debug information has it.
struct SourcePlace {
  std::string function;  // demangled; empty: not known
  std::string file;      // empty: not known
  int line = 0;
};

/// An instruction by name.
struct NativeSymbol {
  std::uint32_t id = 0;      // the same id is the same function, file and line; 0: none of them
  std::string module;        // path; empty: in no file
  std::uint64_t offset = 0;  // in the module, as addr2line takes it; without a module the address
  SourcePlace place;
  std::vector<SourcePlace> inlined_by;  // where the function was inlined, innermost first

  /// The function, or what can be said instead: "libm.so.6+0x1f20", "0x7f3a50001000".
  std::string text() const;
};

class SymbolCache {
 public:
  struct Key {
    const void* module;
    std::uint64_t offset;
    bool operator==(const Key&) const = default;
  };
  using Symbol = std::shared_ptr<const NativeSymbol>;

  SymbolCache(std::size_t most, std::uint64_t ttl_s) : most_(most), ttl_s_(ttl_s) {}

  /// Null when it is not there, or too old. `now_s` is any clock that does not go back.
  Symbol get(const Key& key, std::uint64_t now_s);
  void put(const Key& key, Symbol symbol, std::uint64_t now_s);
  void clear();

  std::size_t size() const { return index_.size(); }
  std::uint64_t hits() const { return hits_; }
  std::uint64_t misses() const { return misses_; }

 private:
  struct Entry {
    Key key;
    Symbol symbol;
    std::uint64_t until_s;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return (reinterpret_cast<std::uintptr_t>(key.module) ^ key.offset) * 0x9e3779b97f4a7c15 >> 16;
    }
  };

  std::size_t most_;
  std::uint64_t ttl_s_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, Hash> index_;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
};

}  // namespace watcher

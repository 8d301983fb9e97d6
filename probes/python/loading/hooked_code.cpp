#include "probes/python/loading/hooked_code.h"

#include <string.h>

#include <atomic>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {
namespace {

// Entries outlive their code object, whose address may come to mean another: name and line tell.
struct Entry {
  std::atomic<const PyObject*> code;
  const char* qualified;  // process-lifetime
  std::uint32_t bytes;
  int first_line;
};

struct Table {
  std::size_t mask;
  Entry* entries;
};

constinit std::atomic<const Table*> current{nullptr};  // old tables stay: a signal handler may be reading
constinit std::size_t count = 0;

Entry& slot_of(const Table& table, const PyObject* code) {
  std::size_t at = reinterpret_cast<std::uintptr_t>(code) * 0x9e3779b97f4a7c15u >> 32;
  for (;; ++at) {
    Entry& entry = table.entries[at & table.mask];
    const PyObject* known = entry.code.load(std::memory_order_acquire);  // with put: its fields are there
    if (known == code || known == nullptr) return entry;
  }
}

void put(const Table& table, const PyObject* code, const char* qualified, std::uint32_t bytes, int first_line) {
  Entry& entry = slot_of(table, code);
  entry.qualified = qualified;
  entry.bytes = bytes;
  entry.first_line = first_line;
  entry.code.store(code, std::memory_order_release);
}

const Table& table_with_room() {
  constexpr std::size_t kFirst = 1024;
  const Table* old = current.load(std::memory_order_relaxed);
  if (old != nullptr && count * 2 < old->mask) return *old;
  const std::size_t size = old == nullptr ? kFirst : (old->mask + 1) * 2;
  auto* bigger = new Table{size - 1, new Entry[size]{}};
  for (std::size_t i = 0; old != nullptr && i <= old->mask; ++i)
    if (const PyObject* code = old->entries[i].code.load(std::memory_order_relaxed))
      put(*bigger, code, old->entries[i].qualified, old->entries[i].bytes, old->entries[i].first_line);
  current.store(bigger, std::memory_order_release);
  return *bigger;
}

bool ends_in(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// The code's own name where it is ASCII, as the entry's must end in it.
std::string_view ascii_name(const PyObject* code) {
  const PyObject* name = field<PyObject*>(code, compat.code_name);
  if ((field<std::uint32_t>(name, 32) >> 5 & 3) != 3) return {};
  return {reinterpret_cast<const char*>(name) + compat.text_ascii, static_cast<std::size_t>(size_of(name))};
}

const Entry* find(const PyObject* code) {
  const Table* table = current.load(std::memory_order_acquire);  // with table_with_room
  if (table == nullptr) return nullptr;
  const Entry& entry = slot_of(*table, code);
  if (entry.code.load(std::memory_order_relaxed) != code ||
      entry.first_line != field<int>(code, compat.code_first_line))
    return nullptr;
  return ends_in({entry.qualified, entry.bytes}, ascii_name(code)) ? &entry : nullptr;
}

}  // namespace

void add_hooked_code(PyObject* code, const std::string& qualified) {
  const Table& table = table_with_room();
  if (slot_of(table, code).code.load(std::memory_order_relaxed) == nullptr) ++count;
  put(table, code, strdup(qualified.c_str()), static_cast<std::uint32_t>(qualified.size()),
      field<int>(code, compat.code_first_line));
}

bool is_hooked_code(const PyObject* code) {
  // stores come in loops; the name tells an address that is used again
  static const PyObject *last = nullptr, *last_name = nullptr;
  const auto* name = field<const PyObject*>(code, compat.code_name);
  if (code == last && name == last_name) [[likely]]
    return true;
  if (find(code) == nullptr) return false;
  last = code;
  last_name = name;
  return true;
}

std::string_view qualified_name_of(const PyObject* code) {
  const Entry* entry = find(code);
  return entry != nullptr ? std::string_view(entry->qualified, entry->bytes) : std::string_view();
}

}  // namespace watcher::python

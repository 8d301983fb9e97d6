// How a code object stores the names of its sites: fast locals, cells, globals.
#include <map>

#include "probes/python/interpreter/compat.h"
#include "probes/python/names/names.h"
#include "probes/python/names/variables.h"

namespace watcher::python {
namespace {

constexpr std::uint8_t kCellKinds = 0x40 | 0x80;  // CO_FAST_CELL | CO_FAST_FREE of co_localspluskinds (3.11+)

std::int32_t index_in(PyObject* names, const std::string& name, ssize_t first = 0) {
  for (ssize_t i = first; i < size_of(names); ++i) {
    ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(tuple_items(names)[i], &size);
    if (text == nullptr) {
      PyErr_Clear();
      continue;
    }
    const std::string_view candidate(text, static_cast<std::size_t>(size));
    // a private name is stored mangled: _Class__name
    const bool mangled = name.size() > 2 && name.compare(0, 2, "__") == 0 && candidate.size() > name.size() &&
                         candidate[0] == '_' && candidate.substr(candidate.size() - name.size()) == name;
    if (candidate == name || mangled) return static_cast<std::int32_t>(i);
  }
  return -1;
}

/// Index of the name's cell among the frame's values, or -1; `own` when this code object creates the cell. A
/// comprehension that is evaluated in this frame may have a variable of a closure variable's name (3.12+): two entries
/// then.
std::int32_t cell_index(PyObject* code, const std::string& name, bool inside, bool* own) {
  auto* locals = field<PyObject*>(code, compat.code_local_names);
  *own = false;
  if (compat.code_cell_names < 0) {
    auto* kinds = field<PyObject*>(code, compat.code_local_names + 8);  // co_localspluskinds: bytes
    for (std::int32_t index = index_in(locals, name); index >= 0; index = index_in(locals, name, index + 1)) {
      const std::uint8_t kind = reinterpret_cast<const std::uint8_t*>(kinds)[32 + index];
      *own = (kind & 0x40) != 0;
      if ((kind & kCellKinds) != 0) return index;
      if (inside) return -1;
    }
    return -1;
  }
  auto* cells = field<PyObject*>(code, compat.code_cell_names);
  const auto fast = static_cast<std::int32_t>(size_of(locals));
  if (const std::int32_t index = index_in(cells, name); index >= 0) {
    *own = true;
    return fast + index;
  }
  const std::int32_t index = index_in(field<PyObject*>(code, compat.code_free_names), name);
  return index < 0 ? -1 : fast + static_cast<std::int32_t>(size_of(cells)) + index;
}

/// A comprehension's own code object: `<listcomp>` and the like.
bool is_comprehension(PyObject* code) {
  PyObject* name = field<PyObject*>(code, compat.code_name);
  for (const char* known : {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
    if (PyUnicode_CompareWithASCIIString(name, known) == 0) return true;
  return false;
}

/// The cells that a code object creates and no site of its own binds: a comprehension's walrus may.
void add_other_cells(PyObject* code, const Site& entry, CodeSites* table) {
  auto* names = field<PyObject*>(code, compat.code_cell_names >= 0 ? compat.code_cell_names : compat.code_local_names);
  for (ssize_t i = 0; i < size_of(names); ++i) {
    ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(tuple_items(names)[i], &size);
    if (text == nullptr) PyErr_Clear();
    const std::string name(text != nullptr ? text : "", static_cast<std::size_t>(text != nullptr ? size : 0));
    bool own = false;
    const std::int32_t index = cell_index(code, name, false, &own);
    bool known = index < 0 || !own;
    for (const auto& other : table->own_cells) known = known || other.first == index;
    if (!known) table->own_cells.emplace_back(index, entry.rules->wants(name, entry.function, false));
  }
}

}  // namespace

void bind_sites(PyObject* code, const std::vector<Site*>& sites) {
  constexpr int kSuspends = 0x20 | 0x80 | 0x200;  // CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
  const bool optimized = (field<int>(code, compat.code_flags) & 1) != 0;  // CO_OPTIMIZED
  auto* table = new CodeSites;  // process-lifetime: the hooks in the code refer to it
  table->suspends = (field<int>(code, compat.code_flags) & kSuspends) != 0;
  table->sites = sites;
  std::map<std::pair<const Comprehension*, std::string>, std::uint16_t> slots;
  const bool own_code = is_comprehension(code);
  for (Site* site : sites) {
    site->code = table;
    if (site->declared_global || !has_variable(site->kind)) continue;
    if (site->comprehension != nullptr) site->comprehension->own_code = own_code;
    const auto [found, fresh] =
        slots.try_emplace({site->comprehension.get(), site->text}, static_cast<std::uint16_t>(slots.size()));
    if (fresh) table->slot_from_rule.push_back(site->from_rule);
    site->slot = found->second;
    bool own = false;
    site->cell_index = cell_index(code, site->text, site->comprehension != nullptr && !own_code, &own);
    // in a module's or class's frame only a comprehension's variables lie beside the namespace (3.12+)
    if (site->cell_index < 0 && (optimized || site->comprehension != nullptr))
      site->local_index = index_in(field<PyObject*>(code, compat.code_local_names), site->text);
    if (site->cell_index >= 0) {
      const std::pair<std::int32_t, bool> cell{site->cell_index, site->from_rule};
      bool known = !own;
      for (const auto& other : table->own_cells) known = known || other.first == cell.first;
      if (!known) table->own_cells.push_back(cell);
    }
  }
  for (const Site* site : sites)
    if (site->kind == SiteKind::kEnter && !site->declared_global) add_other_cells(code, *site, table);
}

}  // namespace watcher::python

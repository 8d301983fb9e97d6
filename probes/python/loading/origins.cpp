#include "probes/python/loading/origins.h"

#include <unistd.h>

#include "probes/python/events/emit.h"
#include "probes/python/loading/compile.h"
#include "probes/python/loading/stdin_text.h"
#include "probes/python/transform/ast_nodes.h"

namespace watcher::python {
namespace {

// IPython compiles a cell as a whole and then each statement: few are needed, threads apart.
constexpr std::size_t kKept = 16;
struct Compiled {
  PyObject* source = nullptr;  // owned
  PyObject* filename = nullptr;
};
constinit Compiled kept[kKept] = {};
constinit std::size_t next_kept = 0;

void drop(Compiled& entry) {
  const Ref source(entry.source), filename(entry.filename);
  entry = {};
}

bool is_text(PyObject* source) {
  return source->type == &PyUnicode_Type || source->type == &PyBytes_Type;
}

bool equal(PyObject* a, PyObject* b) {
  constexpr int kEqual = 2;  // Py_EQ
  const int result = PyObject_RichCompareBool(a, b, kEqual);
  if (result < 0) PyErr_Clear();
  return result == 1;
}

bool compiles_to(PyObject* source, PyObject* filename, const char* mode, PyObject* code) {
  const Ref plain = compile_source(source, filename, mode, compile_flags(code));
  if (!plain) PyErr_Clear();
  return plain && equal(plain.get(), code);
}

bool find_in_tree(PyObject* tree, PyObject* filename, PyObject* code, Origin* out) {
  const Node kind = kind_of(tree);
  if (kind != Node::kModule && kind != Node::kInteractive && kind != Node::kExpression) return false;
  out->mode = kind == Node::kModule ? "exec" : kind == Node::kInteractive ? "single" : "eval";
  if (!compiles_to(tree, filename, out->mode, code)) return false;
  out->tree = copy_tree(tree);
  return static_cast<bool>(out->tree);
}

bool find_in_text(PyObject* text, PyObject* filename, PyObject* code, Origin* out) {
  for (const char* mode : {"exec", "single", "eval"}) {
    if (!compiles_to(text, filename, mode, code)) continue;
    out->mode = mode;
    out->tree = compile_source(text, filename, mode, kOnlyAst);
    out->text = Ref::borrow(text);
    return static_cast<bool>(out->tree);
  }
  return false;
}

}  // namespace

// Of a tree the event does not say the file.
void note_compile(PyObject* source, PyObject* filename) {
  if (is_text(source) || source == &_Py_NoneStruct) {
    ssize_t size = 0;
    const char* name = filename->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(filename, &size) : nullptr;
    if (name == nullptr) return PyErr_Clear();
    const bool from_stdin = source == &_Py_NoneStruct && std::string_view(name) == "<stdin>";
    if (from_stdin) stdin_statement_begins();
    if (!from_stdin && (source == &_Py_NoneStruct || (name[0] != '<' && access(name, R_OK) == 0))) return;
  } else if (runtime->asked() == 0) {
    return;
  }
  Compiled& entry = kept[next_kept++ % kKept];
  drop(entry);
  entry = {Ref::borrow(source).release(), Ref::borrow(filename).release()};
}

bool find_origin(PyObject* code, PyObject* filename, Origin* out) {
  int trees = 2;  // each is compiled to be compared, and what runs was compiled just before
  for (std::size_t i = 0; i < kKept; ++i) {
    Compiled& entry = kept[(next_kept + kKept - 1 - i) % kKept];
    if (entry.source == nullptr) continue;
    Ref source = Ref::borrow(entry.source);
    bool found = false;
    if (source.get() == &_Py_NoneStruct) {
      if (!is_stdin(filename)) continue;
      drop(entry);
      source = stdin_text();
      found = source && ast_start() && find_in_text(source.get(), filename, code, out);
    } else if (is_text(source.get())) {
      found = equal(entry.filename, filename) && ast_start() && find_in_text(source.get(), filename, code, out);
    } else {
      found = trees-- > 0 && ast_start() && is_node(source.get()) && find_in_tree(source.get(), filename, code, out);
    }
    PyErr_Clear();
    if (!found) continue;
    drop(entry);
    return true;
  }
  return false;
}

}  // namespace watcher::python

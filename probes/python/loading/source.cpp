#include "probes/python/loading/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

extern "C" void Py_GetArgcArgv(int*, wchar_t***);

namespace watcher::python {
namespace {

constexpr int kEqual = 2;  // Py_EQ

/// `python -x script.py`: has the interpreter been told to skip the first line of its script?
bool skips_first_line() {
  int count = 0;
  wchar_t** words = nullptr;
  Py_GetArgcArgv(&count, &words);
  for (int i = 1; i < count && words[i][0] == L'-' && words[i][1] != 0; ++i) {
    const std::wstring_view word = words[i];
    const std::size_t last =
        word[1] == L'-' ? 0 : word.find_first_of(L"cmWX");  // what takes the rest, or the next word
    if (last != 0 && word.substr(0, last).find(L'x') != word.npos) return true;
    if (last == word.size() - 1 || word == L"--check-hash-based-pycs") ++i;
  }
  return false;
}

bool is_script(const std::string& path) {
  PyObject* words = PySys_GetObject("argv");
  PyObject* first = words != nullptr ? PyList_GetItem(words, 0) : nullptr;
  const char* name = first != nullptr ? PyUnicode_AsUTF8AndSize(first, nullptr) : nullptr;
  struct stat one, two;
  return name != nullptr && stat(name, &one) == 0 && stat(path.c_str(), &two) == 0 && one.st_ino == two.st_ino &&
         one.st_dev == two.st_dev;
}

Ref read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Ref();
  std::string text;
  char chunk[64 * 1024];
  ssize_t got;
  while ((got = read(fd, chunk, sizeof chunk)) > 0) text.append(chunk, static_cast<std::size_t>(got));
  close(fd);
  static const bool skips = skips_first_line();
  if (skips && is_script(path)) text.erase(0, text.find('\n'));
  return got < 0 ? Ref() : Ref(PyBytes_FromStringAndSize(text.data(), static_cast<ssize_t>(text.size())));
}

/// /x/app.pyz/__main__.py: the archive is the first path prefix that is a file.
Ref read_from_archive(const std::string& path) {
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1)) {
    const std::string archive = path.substr(0, slash);
    struct stat status;
    if (stat(archive.c_str(), &status) != 0) continue;
    if (!S_ISREG(status.st_mode)) return Ref();
    Ref module(PyImport_ImportModule("zipimport"));
    Ref importer = module ? Ref(PyObject_CallMethod(module.get(), "zipimporter", "s", archive.c_str())) : Ref();
    return importer ? Ref(PyObject_CallMethod(importer.get(), "get_data", "s", path.c_str())) : Ref();
  }
  return Ref();
}

PyObject* constants_of(PyObject* code) {
  return field<PyObject*>(code, compat.code_consts);
}

bool is_code(PyObject* constant) {
  return constant->type == &PyCode_Type;
}

bool is_module(PyObject* code) {
  return PyUnicode_CompareWithASCIIString(field<PyObject*>(code, compat.code_name), "<module>") == 0;
}

bool same_head(PyObject* a, PyObject* b) {
  return field<int>(a, compat.code_first_line) == field<int>(b, compat.code_first_line) &&
         PyObject_RichCompareBool(field<PyObject*>(a, compat.code_name), field<PyObject*>(b, compat.code_name),
                                  kEqual) == 1;
}

// A list of constants that is only gone through is one constant, and many where a hook comes between.
bool holds_all(PyObject* set, PyObject* tuple) {
  for (ssize_t i = 0; i < size_of(tuple); ++i) {
    PyObject* constant = tuple_items(tuple)[i];
    if (is_code(constant) || constant->type == &PyBool_Type || PySequence_Contains(set, constant) == 1) continue;
    if (constant->type != &PyTuple_Type || !holds_all(set, constant)) return false;
  }
  return true;
}

bool same_names(PyObject* a, PyObject* b) {
  Ref first(PySet_New(a)), second(PySet_New(b));
  return first && second && holds_all(first.get(), b) && holds_all(second.get(), a);
}

/// Each code among a's constants has its counterpart among b's: equal all through, or (`deep` false) in name and line.
bool same_inner_code(PyObject* a, PyObject* b, bool deep) {
  for (ssize_t i = 0; i < size_of(a); ++i) {
    PyObject* inner = tuple_items(a)[i];
    bool found = !is_code(inner);
    for (ssize_t k = 0; k < size_of(b) && !found; ++k) {
      PyObject* other = tuple_items(b)[k];
      found = is_code(other) && same_head(inner, other) && (!deep || made_from_same_source(inner, other));
    }
    if (!found) return false;
  }
  return true;
}

/// All constants of the code are among the compiled one's. That has more: hooks, and what the interpreter drops
/// from 3.10 on as unreachable, where a hook changed the shape of the code. Of a `while False` the constant may be
/// missing.
bool same_constants(PyObject* code, PyObject* compiled) {
  Ref present(PySet_New(compiled));
  return present && holds_all(present.get(), code);
}

}  // namespace

bool made_from_same_source(PyObject* code, PyObject* compiled) {
  const bool same =
      same_head(code, compiled) &&
      same_names(field<PyObject*>(code, compat.code_names), field<PyObject*>(compiled, compat.code_names)) &&
      same_names(field<PyObject*>(code, compat.code_local_names),
                 field<PyObject*>(compiled, compat.code_local_names)) &&
      same_constants(constants_of(code), constants_of(compiled)) &&
      same_inner_code(constants_of(code), constants_of(compiled), true) &&
      (!is_module(code) || same_inner_code(constants_of(compiled), constants_of(code), false));
  PyErr_Clear();
  return same;
}

Ref read_source(const std::string& path) {
  Ref source = read_file(path);
  if (!source) source = read_from_archive(path);
  PyErr_Clear();
  if (source && source.get()->type != &PyBytes_Type) return Ref();
  return source;
}

}  // namespace watcher::python

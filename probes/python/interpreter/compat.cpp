#include "probes/python/interpreter/compat.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "probes/python/interpreter/interned.h"

namespace watcher::python {

constinit Compat compat{};
constinit ThreadStateGetter get_thread_state = nullptr;
constinit thread_local void** own_thread_state = nullptr;

namespace {

constexpr Compat kPython38{.minor = 8,
                           .thread_frame = 24,
                           .thread_cframe = -1,
                           .cframe_frame = -1,
                           .frame_back = 24,
                           .frame_code = 32,
                           .frame_globals = 48,
                           .frame_locals = 56,
                           .frame_last = 104,
                           .frame_owner = -1,
                           .frame_values = 360,
                           .code_line_table = 120,
                           .code_first_line = 40,
                           .code_file = 104,
                           .code_name = 112,
                           .code_qualified_name = -1,
                           .code_instructions = -1,
                           .code_local_names = 72,
                           .code_cell_names = 88,
                           .code_free_names = 80,
                           .code_flags = 36,
                           .code_consts = 56,
                           .code_names = 64,
                           .type_qualified_name = 864,
                           .function_qualified_name = 104,
                           .text_ascii = 48,
                           .text_compact = 72};

constexpr Compat python310() {
  Compat c = kPython38;
  c.minor = 10;
  c.frame_last = 96;
  c.frame_values = 352;
  c.function_qualified_name = 40;
  return c;
}

constexpr Compat kPython311{.minor = 11,
                            .thread_frame = -1,
                            .thread_cframe = 56,
                            .cframe_frame = 8,
                            .frame_back = 48,
                            .frame_code = 32,
                            .frame_globals = 8,
                            .frame_locals = 24,
                            .frame_last = 56,
                            .frame_owner = 69,
                            .frame_values = 72,
                            .code_line_table = 136,
                            .code_first_line = 72,
                            .code_file = 112,
                            .code_name = 120,
                            .code_qualified_name = 128,
                            .code_instructions = 184,
                            .code_local_names = 96,
                            .code_cell_names = -1,
                            .code_free_names = -1,
                            .code_flags = 48,
                            .code_consts = 24,
                            .code_names = 32,
                            .type_qualified_name = 864,
                            .function_qualified_name = 40,
                            .text_ascii = 48,
                            .text_compact = 72};

constexpr Compat python312() {
  Compat c = kPython311;
  c.minor = 12;
  c.cframe_frame = 0;
  c.frame_back = 8;
  c.frame_code = 0;
  c.frame_globals = 24;
  c.frame_locals = 40;
  c.frame_owner = 70;
  c.code_first_line = 68;
  c.type_qualified_name = 872;
  c.code_instructions = 192;
  c.text_ascii = 40;
  c.text_compact = 56;
  return c;
}

constexpr Compat python313() {
  Compat c = python312();
  c.minor = 13;
  c.thread_frame = 72;
  c.thread_cframe = -1;
  c.code_instructions = 200;
  return c;
}

}  // namespace

bool Compat::load(Compat* out) {
  const char* version = Py_GetVersion();
  if (strncmp(version, "3.", 2) != 0 || strstr(version, "free-threading") != nullptr) return false;
  switch (atoi(version + 2)) {
    case 8:
      *out = kPython38;
      break;
    case 9:
      *out = kPython38;
      out->minor = 9;
      out->type_qualified_name = 856;
      break;
    case 10:
      *out = python310();
      break;
    case 11:
      *out = kPython311;
      break;
    case 12:
      *out = python312();
      break;
    case 13:
      *out = python313();
      break;
    default:
      return false;
  }
  get_thread_state = _PyThreadState_UncheckedGet != nullptr ? _PyThreadState_UncheckedGet : PyThreadState_GetUnchecked;
  return get_thread_state != nullptr;
}

namespace {

/// What __tls_get_addr is called with.
struct TlsIndex {
  unsigned long module = 0, offset = 0;
};

/// The thread-local variable that holds the running state has no name outside: it is the one word that does.
int find_thread_state(dl_phdr_info* object, std::size_t, void* out) {
  const auto getter = reinterpret_cast<unsigned long>(get_thread_state);
  bool its_own = false;
  std::size_t words = 0;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& part = object->dlpi_phdr[i];
    its_own = its_own || (part.p_type == PT_LOAD && getter - object->dlpi_addr - part.p_vaddr < part.p_memsz);
    if (part.p_type == PT_TLS) words = part.p_memsz / sizeof(void*);
  }
  if (!its_own) return 0;
  int found = 0;
  auto* const* block = static_cast<void**>(object->dlpi_tls_data);
  for (std::size_t i = 0; block != nullptr && i < words; ++i)
    if (block[i] == get_thread_state() && ++found == 1)
      *static_cast<TlsIndex*>(out) = {object->dlpi_tls_modid, i * sizeof(void*)};
  if (found != 1) *static_cast<TlsIndex*>(out) = {};
  return 1;
}

}  // namespace

extern "C" void* __tls_get_addr(TlsIndex* index);

void learn_own_thread_state() {
  if (compat.minor <= 11 || own_thread_state != nullptr || get_thread_state() == nullptr) return;
  static TlsIndex index = [] {
    TlsIndex out;
    dl_iterate_phdr(find_thread_state, &out);
    return out;
  }();
  if (index.module == 0) return;
  auto* const own = static_cast<void**>(__tls_get_addr(&index));
  if (*own == get_thread_state()) own_thread_state = own;
}

// Up to 3.9 a thread that went over the limit is marked, and has 50 more calls before the interpreter aborts: the
// host's.
constexpr int kThreadOverflowed = 36;

KeepException::KeepException() {
  PyErr_Fetch(&type_, &value_, &traceback_);
  overflowed_ = compat.minor <= 9 ? field<char>(thread_state(), kThreadOverflowed) : 0;
}

KeepException::~KeepException() {
  PyErr_Restore(type_, value_, traceback_);
  if (compat.minor <= 9) field_ref<char>(thread_state(), kThreadOverflowed) = overflowed_;
}

PyObject* loaded_modules() {
  constexpr int kThreadInterpreter = 16;
  static PyObject* const none = PyDict_New();  // process-lifetime
  if (!finalizing() && field(thread_state(), kThreadInterpreter) == PyInterpreterState_Main())
    return PyImport_GetModuleDict();
  PyObject* modules = PySys_GetObject("modules");
  return modules != nullptr && PyType_IsSubtype(modules->type, &PyDict_Type) != 0 ? modules : none;
}

bool finalizing() {
  if (Py_IsFinalizing != nullptr) return Py_IsFinalizing() != 0;
  return _Py_IsFinalizing != nullptr && _Py_IsFinalizing() != 0;
}

}  // namespace watcher::python

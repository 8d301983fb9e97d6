#include "probes/python/context/spans.h"

#include <string.h>

#include "probes/python/context/flows.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {

constinit bool spans_pending = false;

namespace {

constexpr ssize_t kMostEntries = 256;                                       // of a context: usually one or two
constexpr int kDictOffset = 288;                                            // of a type
constexpr unsigned long kManagedDict = 1ul << 4, kInlineValues = 1ul << 2;  // 3.11+, 3.13

// Process-lifetime once found.
constinit PyObject* variable = nullptr;  // of the current context
constinit PyObject* span_key = nullptr;
constinit PyObject* context_name = nullptr;  // "_context"
constinit std::uint32_t variable_hash = 0;   // as the mapping of context variables folds it

enum class Node : std::uint8_t { kBitmap, kArray, kCollision };

Node kind_of(const PyObject* node) {
  const char* name = type_name(node->type);  // "hamt_bitmap_node" and so on
  return name[5] == 'b' ? Node::kBitmap : name[5] == 'a' ? Node::kArray : Node::kCollision;
}

/// The variable's value in an immutable tree of hash bits, five a level.
PyObject* value_in(const PyObject* node) {
  for (std::uint32_t hash = variable_hash, levels = 0; node != nullptr && levels < 8; ++levels, hash >>= 5) {
    switch (kind_of(node)) {
      case Node::kBitmap: {
        const auto bitmap = field<std::uint32_t>(node, 24);
        const std::uint32_t bit = 1u << (hash & 31);
        if ((bitmap & bit) == 0) return nullptr;
        const int at = 32 + 16 * __builtin_popcount(bitmap & (bit - 1));
        auto* value = field<PyObject*>(node, at + 8);
        if (const auto* key = field<PyObject*>(node, at)) return key == variable ? value : nullptr;
        node = value;
        break;
      }
      case Node::kArray:
        node = field<PyObject*>(node, 16 + 8 * static_cast<int>(hash & 31));
        break;
      case Node::kCollision: {
        const ssize_t words = size_of(node);
        for (ssize_t i = 0; i + 1 < words; i += 2)
          if (field<PyObject*>(node, static_cast<int>(32 + 8 * i)) == variable)
            return field<PyObject*>(node, static_cast<int>(40 + 8 * i));
        return nullptr;
      }
    }
  }
  return nullptr;
}

PyObject* current_value(void* state) {
  constexpr int kContextVariables = 24, kRoot = 16;
  const PyObject* context = context_of(state);
  const auto* variables = context != nullptr ? field<PyObject*>(context, kContextVariables) : nullptr;
  return variables != nullptr ? value_in(field<PyObject*>(variables, kRoot)) : nullptr;
}

/// By identity: keys are constants of the API's, names are interned.
PyObject* entry_of(PyObject* dict, const PyObject* wanted) {
  PyObject *key, *value;
  ssize_t position = 0;
  for (ssize_t i = 0; i < kMostEntries && PyDict_Next(dict, &position, &key, &value) != 0; ++i)
    if (key == wanted) return value;
  return nullptr;
}

/// Attributes that lie in the object itself, in the order of names that its class keeps.
PyObject* entry_of_values(const PyObject* type, PyObject* const* values, const PyObject* wanted) {
  struct Entry {
    PyObject* name;
    PyObject* value;
  };
  const auto* keys = field<char*>(type, compat.minor >= 12 ? 880 : 872);
  if (keys == nullptr) return nullptr;
  const auto count = field<ssize_t>(keys, 24);
  const auto* entries = reinterpret_cast<const Entry*>(keys + 32 + (std::size_t{1} << field<std::uint8_t>(keys, 9)));
  for (ssize_t i = 0; i < count && i < kMostEntries; ++i)
    if (entries[i].name == wanted) return values[i];
  return nullptr;
}

/// Of an object of a class in Python, without running anything, not even making its __dict__.
PyObject* attribute_of(PyObject* object, const PyObject* name) {
  PyObject* type = object->type;
  if (!has_flag(type, kHeapType)) return nullptr;
  PyObject* dict = nullptr;
  if (compat.minor >= 11 && has_flag(type, kManagedDict)) {
    const auto word = field<std::uintptr_t>(object, -24);
    if (compat.minor == 11) {
      if (auto* values = field<PyObject**>(object, -32)) return entry_of_values(type, values, name);
    } else if (compat.minor == 12 && (word & 1) != 0) {
      return entry_of_values(type, reinterpret_cast<PyObject**>(word + 1), name);
    } else if (compat.minor >= 13 && has_flag(type, kInlineValues) && field<std::uint8_t>(object, 16 + 3) != 0) {
      return entry_of_values(type, &field_ref<PyObject*>(object, 16 + 8), name);
    }
    dict = reinterpret_cast<PyObject*>(word);
  } else if (const auto offset = field<ssize_t>(type, kDictOffset); offset > 0) {
    dict = field<PyObject*>(object, static_cast<int>(offset));
  }
  return dict != nullptr && has_flag(dict->type, kDictSubclass) ? entry_of(dict, name) : nullptr;
}

/// Big-endian. False: no positive integer of that many bytes.
bool put_integer(const PyObject* object, std::uint8_t* out, int bytes) {
  if (object == nullptr || !has_flag(object->type, kIntSubclass)) return false;
  const Digits digits = digits_of(object);
  if (digits.negative || digits.count == 0 || digits.count > 5) return false;
  unsigned __int128 number = 0;
  for (std::size_t i = digits.count; i-- > 0;) number = number << 30 | digits.digit[i];
  if (digits.count == 5 && digits.digit[4] >> 8 != 0) return false;
  for (int i = bytes; i-- > 0; number >>= 8) out[i] = static_cast<std::uint8_t>(number);
  return number == 0;
}

bool read_span(PyObject* span, SpanBlob* out) {
  PyObject* numbers = attribute_of(span, context_name);
  if (numbers == nullptr || !has_flag(numbers->type, kTupleSubclass) || size_of(numbers) < 4) return false;
  PyObject** items = tuple_items(numbers);
  SpanBlob found{};
  if (!put_integer(items[0], found.trace_id, sizeof found.trace_id)) return false;
  if (!put_integer(items[1], found.span_id, sizeof found.span_id)) return false;
  put_integer(items[3], &found.flags, 1);
  found.known = 1;
  *out = found;
  return true;
}

SpanBlob span_of(void* state) {
  SpanBlob span{};
  if (PyObject* context = current_value(state); context != nullptr && has_flag(context->type, kDictSubclass))
    if (PyObject* found = entry_of(context, span_key)) read_span(found, &span);
  return span;
}

/// Do we read the interpreter's structures right? A value that is set must be found, and a span's attribute.
bool self_check(PyObject* some_span, const PyObject* its_context) {
  bool good = false;
  Ref context(PyContext_New());
  if (!context || PyContext_Enter(context.get()) != 0) return false;
  if (Ref token(PyContextVar_Set(variable, some_span)); token)
    good = current_value(thread_state()) == some_span && attribute_of(some_span, context_name) == its_context;
  return PyContext_Exit(context.get()) == 0 && good;
}

PyObject* global_of(const char* module_name, const char* name) {
  PyObject* module = PyDict_GetItemString(loaded_modules(), module_name);
  PyObject* globals = module != nullptr && module->type == &PyModule_Type ? PyModule_GetDict(module) : nullptr;
  return globals != nullptr ? PyDict_GetItemString(globals, name) : nullptr;
}

void give_up(const char* why) {
  spans_pending = false;
  attention &= ~kSpans;
  runtime->log(WATCHER_INFO, "events do not tell OpenTelemetry's spans: %s", why);
}

}  // namespace

void find_spans() {
  if (!ring) return;
  KeepException keep;
  PyObject* key = global_of("opentelemetry.trace.propagation", "_SPAN_KEY");
  PyObject* manager = global_of("opentelemetry.context", "_RUNTIME_CONTEXT");
  PyObject* span = global_of("opentelemetry.trace.span", "INVALID_SPAN");
  PyObject* its_context = global_of("opentelemetry.trace.span", "INVALID_SPAN_CONTEXT");
  if (key == nullptr || manager == nullptr || manager == &_Py_NoneStruct || span == nullptr) return;
  context_name = PyUnicode_InternFromString("_context");
  Ref name(PyUnicode_InternFromString("_current_context"));
  PyObject* found = name ? attribute_of(manager, name.get()) : nullptr;
  if (found == nullptr || found->type != &PyContextVar_Type) return give_up("its context is not a context variable");
  const auto hash = static_cast<std::uint64_t>(PyObject_Hash(found));
  const auto folded = static_cast<std::uint32_t>(hash) ^ static_cast<std::uint32_t>(hash >> 32);
  variable_hash = folded == ~std::uint32_t{0} ? folded - 1 : folded;
  variable = Ref::borrow(found).release();
  span_key = Ref::borrow(key).release();
  spans_pending = false;
  in_entered_context();  // learns where a thread keeps its context
  const bool good = self_check(span, its_context);
  PyErr_Clear();
  if (!good) return give_up("this interpreter keeps them elsewhere");
  attention |= kSpans;
  runtime->memory_spans(span_of_writer);
}

void spans_see_import(PyObject* name) {
  if (variable != nullptr || spans_pending || name == nullptr || name->type != &PyUnicode_Type) return;
  const char* text = PyUnicode_AsUTF8AndSize(name, nullptr);
  if (text == nullptr) return PyErr_Clear();
  spans_pending = strcmp(text, "opentelemetry.context") == 0;
}

SpanBlob span_here() {
  return span_of(thread_state());
}

std::uint32_t span_of_writer(void* span, std::uint32_t* known) {
  void* state = PyGILState_GetThisThreadState();
  const SpanBlob found = state != nullptr ? span_of(state) : SpanBlob{};
  *known = found.known;
  if (found.known != 0) *static_cast<SpanBlob*>(span) = found;
  return 0;
}

}  // namespace watcher::python

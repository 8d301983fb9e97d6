#include "probes/python/events/repr.h"

#include "probes/python/events/emit.h"
#include "probes/python/events/values.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/objects/object_parts.h"

namespace watcher::python {
namespace {

// Digits of ints up to this many bits are below every limit that sys.set_int_max_str_digits accepts (640 digits).
constexpr std::size_t kMaxDecimalBits = 2048;

void put_generic(PyObject* object, BoundedText& text) {
  text.put("<");
  text.put(short_type_name(object->type));
  text.put(" object at ");
  text.put_address(object);
  text.put(">");
}

/// A str or bytes object, quoted as Python does it; only as much of it as can find room.
void put_quoted(const Ref& head, BoundedText& text, bool cut) {
  if (!head) return text.put("'...'");
  const Ref repr = repr_by_slot(head.get());
  char utf8[kMaxReprBytes * 4];
  std::uint64_t total = 0;
  if (repr) text.put({utf8, write_utf8(repr.get(), utf8, sizeof utf8, &total)});
  if (cut) text.put("...");
}

void put_text(PyObject* object, BoundedText& text) {
  const auto length = static_cast<std::size_t>(size_of(object));
  const std::size_t wanted = length < text.left() ? length : text.left();
  KeepException keep;
  put_quoted(Ref(PyUnicode_Substring(object, 0, static_cast<ssize_t>(wanted))), text, wanted < length);
}

void put_bytes(const char* data, std::size_t length, BoundedText& text) {
  const std::size_t wanted = length < text.left() ? length : text.left();
  KeepException keep;
  put_quoted(Ref(PyBytes_FromStringAndSize(data, static_cast<ssize_t>(wanted))), text, wanted < length);
}

void put_integer(PyObject* object, BoundedText& text) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
  if (overflow == 0) return text.put_number(value);
  const std::size_t bits = _PyLong_NumBits(object);
  if (bits <= kMaxDecimalBits && object->type == &PyLong_Type && describe_by_slot(object, text)) return;
  text.put("<int of ");
  text.put_number(static_cast<long long>(bits));
  text.put(" bits>");
}

void put_dict(PyObject* dict, BoundedText& text, int depth) {
  if (depth >= kMaxReprDepth) return text.put("{...}");
  text.put("{");
  PyObject *key, *value;
  ssize_t position = 0;
  for (std::size_t i = 0; !text.full() && PyDict_Next(dict, &position, &key, &value); ++i) {
    if (i != 0) text.put(", ");
    if (i == kMaxReprItems) {
      text.put("...");
      break;
    }
    describe(key, text, depth + 1);
    text.put(": ");
    describe(value, text, depth + 1);
  }
  text.put("}");
}

void put_set_items(PyObject* set, BoundedText& text, int depth) {
  PyObject* items[kMaxReprItems + 1];
  std::size_t count = 0;
  for (std::size_t at = 0; count <= kMaxReprItems;) {
    PyObject* item = next_of_set(set, &at);
    if (item == nullptr) break;
    items[count++] = item;
  }
  describe_items(items, count, text, "{", "}", depth);
}

void put_set(PyObject* set, BoundedText& text, int depth) {
  const std::string_view name = short_type_name(set->type);
  const bool plain = name == "set" && size_of_set(set) != 0;
  if (!plain) {
    text.put(name);
    text.put("(");
  }
  if (size_of_set(set) != 0) put_set_items(set, text, depth);
  if (!plain) text.put(")");
}

void put_tuple(PyObject* tuple, BoundedText& text, int depth) {
  const auto count = static_cast<std::size_t>(size_of(tuple));
  describe_items(tuple_items(tuple), count, text, "(", count == 1 ? ",)" : ")", depth);
}

void put_exception(PyObject* exception, BoundedText& text, int depth) {
  text.put(short_type_name(exception->type));
  PyObject* args = field<PyObject*>(exception, kExceptionArgs);
  if (args == nullptr || args->type != &PyTuple_Type) return text.put("(...)");
  describe_items(tuple_items(args), static_cast<std::size_t>(size_of(args)), text, "(", ")", depth);
}

void put_module(PyObject* module, BoundedText& text) {
  PyObject* dict = module_dict(module);
  PyObject* name = dict != nullptr ? PyDict_GetItemString(dict, "__name__") : nullptr;
  text.put("<module ");
  if (name != nullptr && name->type == &PyUnicode_Type)
    put_text(name, text);
  else
    text.put("?");
  text.put(">");
}

void put_deque(PyObject* deque, BoundedText& text, int depth) {
  PyObject* items[kMaxReprItems + 1];
  std::size_t count = 0;
  DequeItems all(deque);
  while (PyObject* item = count <= kMaxReprItems ? all.next() : nullptr) items[count++] = item;
  text.put(short_type_name(deque->type));
  describe_items(items, count, text, "([", "])", depth);
}

/// A subclass with a repr of its own, described by what its base holds: `Point(1, 2)`, `Counter({'a': 1})`.
struct Wrapped {
  Wrapped(PyObject* object, BoundedText& out, bool wrap) : text(out), active(wrap) {
    if (!active) return;
    text.put(short_type_name(object->type));
    text.put("(");
  }
  ~Wrapped() {
    if (active) text.put(")");
  }
  BoundedText& text;
  bool active;
};

bool describe_builtin(PyObject* object, BoundedText& text, int depth) {
  PyObject* type = object->type;
  const auto flags = field<unsigned long>(type, kTypeFlags);
  auto foreign = [&](const PyObject& base) { return field(type, kTypeRepr) != field(&base, kTypeRepr); };
  if ((flags & kIntSubclass) != 0 && type != &PyBool_Type) {
    Wrapped name(object, text, foreign(PyLong_Type));
    put_integer(object, text);
  } else if ((flags & kTextSubclass) != 0) {
    Wrapped name(object, text, foreign(PyUnicode_Type));
    put_text(object, text);
  } else if ((flags & kBytesSubclass) != 0) {
    Wrapped name(object, text, foreign(PyBytes_Type));
    put_bytes(bytes_data(object), static_cast<std::size_t>(size_of(object)), text);
  } else if ((flags & kListSubclass) != 0) {
    Wrapped name(object, text, foreign(PyList_Type));
    describe_items(list_items(object), static_cast<std::size_t>(size_of(object)), text, "[", "]", depth);
  } else if ((flags & kTupleSubclass) != 0) {
    if (foreign(PyTuple_Type)) text.put(short_type_name(type));
    put_tuple(object, text, depth);
  } else if ((flags & kDictSubclass) != 0) {
    Wrapped name(object, text, foreign(PyDict_Type));
    put_dict(object, text, depth);
  } else if ((flags & kExceptionSubclass) != 0) {
    put_exception(object, text, depth);
  } else {
    return false;
  }
  return true;
}

}  // namespace

void describe_items(PyObject* const* items, std::size_t count, BoundedText& text, std::string_view open,
                    std::string_view close, int depth) {
  text.put(open);
  if (depth >= kMaxReprDepth && count != 0) {
    text.put("...");
    count = 0;
  }
  for (std::size_t i = 0; i < count && !text.full(); ++i) {
    if (i != 0) text.put(", ");
    if (i == kMaxReprItems) {
      text.put("...");
      break;
    }
    describe(items[i], text, depth + 1);
  }
  text.put(close);
}

void describe(PyObject* object, BoundedText& text, int depth) {
  if (text.full()) return;
  if (object == nullptr) return text.put("<null>");  // an item of a container that is being built
  if (describe_builtin(object, text, depth)) return;
  PyObject* type = object->type;
  if (PyType_IsSubtype(type, &PySet_Type) != 0 || PyType_IsSubtype(type, &PyFrozenSet_Type) != 0)
    return put_set(object, text, depth);
  if (base_named(type, "collections.deque") != nullptr) return put_deque(object, text, depth);
  if (type == &PyModule_Type) return put_module(object, text);
  if (type == &PyByteArray_Type) {
    text.put("bytearray(");
    put_bytes(field<const char*>(object, kByteArrayStart), static_cast<std::size_t>(size_of(object)), text);
    return text.put(")");
  }
  if (describe_native(object, text, depth)) return;
  put_generic(object, text);
}

std::size_t write_repr(PyObject* object, char* out, std::size_t room) {
  BoundedText text(out, room);
  describe(object, text, 0);
  return text.finish();
}

}  // namespace watcher::python

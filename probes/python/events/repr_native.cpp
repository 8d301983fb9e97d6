// Reprs of types written in C. Those that call PyObject_Repr for their parts are put together here: see repr_by_slot.
#include <string.h>

#include "probes/python/events/repr.h"
#include "probes/python/events/values.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/interpreter/leading.h"

namespace watcher::python {
namespace {

void* repr_slot(const PyObject* type) {
  return field(type, kTypeRepr);
}

bool has_length(const PyObject* type) {
  return suite_slot(type, kTypeAsSequence, kSequenceLength) != nullptr ||
         suite_slot(type, kTypeAsMapping, kMappingLength) != nullptr;
}

/// The slot that calls a `__repr__` written in Python; null when it could not be learnt.
void* python_repr_slot() {
  static void* slot = nullptr;
  if (slot != nullptr) return slot;
  PyObject* modules = loaded_modules();
  PyObject* bootstrap = modules != nullptr ? PyDict_GetItemString(modules, "_frozen_importlib") : nullptr;
  if (bootstrap == nullptr || bootstrap->type != &PyModule_Type) return nullptr;
  PyObject* spec = PyDict_GetItemString(module_dict(bootstrap), "ModuleSpec");
  if (spec != nullptr && spec->type == &PyType_Type && has_flag(spec, kHeapType)) slot = repr_slot(spec);
  return slot;
}

bool has_native_repr(PyObject* object) {
  PyObject* type = object->type;
  // up to 3.10 a function that the collector has cleared has no name, and its repr crashes
  if (type == &PyFunction_Type) return field(object, compat.function_qualified_name) != nullptr;
  if (type == &PyFloat_Type || type == &PyBool_Type || object == &_Py_NoneStruct || type == &PyCFunction_Type)
    return true;
  if (repr_slot(type) == repr_slot(&PyBaseObject_Type)) return true;
  if (has_flag(type, kTypeSubclass)) return repr_slot(type) == repr_slot(&PyType_Type);
  const std::string_view name = type_name(type);
  if (name.find('.') == name.npos) return !has_flag(type, kHeapType) && !has_flag(type, kHaveGc);
  if (python_repr_slot() == nullptr || repr_slot(type) == python_repr_slot()) return false;
  if (name.starts_with("numpy.")) return !has_flag(type, kHaveGc) && !has_length(type);
  return name.starts_with("typing.") || name.starts_with("datetime.") || name.starts_with("decimal.") ||
         name.starts_with("re.");
}

// ---- <module.Class object at 0x7f0123456789>

bool put_name(PyObject* name, BoundedText& text) {
  char utf8[256];
  std::uint64_t total = 0;
  if (name == nullptr || name->type != &PyUnicode_Type) return false;
  const std::size_t used = write_utf8(name, utf8, sizeof utf8, &total);
  if (used != 0 && used == total) text.put({utf8, used});
  return used != 0 && used == total;
}

/// Of a class written in Python that has object's own repr: what that would make, without the objects it takes.
bool put_instance(PyObject* object, BoundedText& text) {
  static constinit Interned key("__module__");
  const PyObject* type = object->type;
  if (!has_flag(type, kHeapType)) return false;
  KeepException keep;
  char room[600];
  BoundedText shown(room, sizeof room);
  shown.put("<");
  if (!put_name(key.in(field<PyObject*>(type, kTypeDict)), shown)) return false;
  shown.put(".");
  if (!put_name(field<PyObject*>(type, compat.type_qualified_name), shown)) return false;
  shown.put(" object at ");
  shown.put_address(object);
  shown.put(">");
  const std::string_view whole(room, shown.finish());
  if (whole.starts_with("<builtins.")) return false;  // shown without
  text.put(whole);
  return true;
}

// ---- range(0, 10, 2)

void put_range(PyObject* range, BoundedText& text, int depth) {
  enum { kStart = 16, kStop = 24, kStep = 32 };
  text.put("range(");
  describe(field<PyObject*>(range, kStart), text, depth + 1);
  text.put(", ");
  describe(field<PyObject*>(range, kStop), text, depth + 1);
  PyObject* step = field<PyObject*>(range, kStep);
  if (step->type != &PyLong_Type || PyLong_AsLong(step) != 1) {
    PyErr_Clear();
    text.put(", ");
    describe(step, text, depth + 1);
  }
  text.put(")");
}

// ---- datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)

constexpr int kHasZone = 24;  // of datetime and time

PyObject* zone_of(PyObject* object, std::string_view name) {
  const bool time = name == "datetime.time";
  if ((!time && name != "datetime.datetime") || field<char>(object, kHasZone) == 0) return nullptr;
  return field<PyObject*>(object, time ? 32 : 40);
}

/// Of an aware one; its repr is that of a copy without the time zone, and then that.
bool put_aware(PyObject* object, PyObject* zone, BoundedText& text, int depth) {
  alignas(8) char copy[64];
  const auto size = static_cast<std::size_t>(field<ssize_t>(object->type, kTypeBasicSize));
  if (std::string_view(type_name(zone->type)) != "datetime.timezone" || size > sizeof copy) return false;
  memcpy(copy, object, size);
  copy[kHasZone] = 0;
  char room[128];
  BoundedText naive(room, sizeof room);
  if (!describe_by_slot(reinterpret_cast<PyObject*>(copy), naive)) return false;
  text.put({room, naive.finish() - 1});
  text.put(", tzinfo=");
  describe(zone, text, depth + 1);
  text.put(")");
  return true;
}

void put_zone(PyObject* zone, BoundedText& text, int depth) {
  enum { kOffset = 16, kName = 24, kDays = 24, kSeconds = 28, kMicroseconds = 32 };
  PyObject* offset = field<PyObject*>(zone, kOffset);
  PyObject* name = field<PyObject*>(zone, kName);
  const bool none = (field<int>(offset, kDays) | field<int>(offset, kSeconds) | field<int>(offset, kMicroseconds)) == 0;
  if (none && name == nullptr) return text.put("datetime.timezone.utc");
  text.put("datetime.timezone(");
  describe(offset, text, depth + 1);
  if (name != nullptr) {
    text.put(", ");
    describe(name, text, depth + 1);
  }
  text.put(")");
}

// ---- re.compile('a', re.IGNORECASE), <re.Match object; span=(0, 1), match='a'>

void put_pattern(PyObject* object, BoundedText& text, int depth) {
  enum { kPattern = 48, kFlags = 56, kUnicode = 32 };
  static constexpr std::string_view kNames[] = {"TEMPLATE", "IGNORECASE", "LOCALE", "MULTILINE", "DOTALL",
                                                "UNICODE",  "VERBOSE",    "DEBUG",  "ASCII"};
  PyObject* pattern = field<PyObject*>(object, kPattern);
  int flags = field<int>(object, kFlags);
  if (pattern == nullptr) return text.put("<re.Pattern>");  // the collector has cleared it
  if (pattern->type == &PyUnicode_Type) flags &= ~kUnicode;
  text.put("re.compile(");
  describe(pattern, text, depth + 1);
  std::string_view separator = ", re.";
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if ((flags >> i & 1) == 0) continue;
    text.put(separator);
    text.put(kNames[i]);
    separator = "|re.";
  }
  text.put(")");
}

void put_match(PyObject* match, BoundedText& text, int depth) {
  enum { kString = 24, kStart = 80, kEnd = 88 };
  PyObject* string = field<PyObject*>(match, kString);
  const auto start = field<ssize_t>(match, kStart), end = field<ssize_t>(match, kEnd);
  text.put("<re.Match object; span=(");
  text.put_number(start);
  text.put(", ");
  text.put_number(end);
  text.put("), match=");
  KeepException keep;
  Ref found;
  if (string != nullptr && string->type == &PyUnicode_Type)
    found = Ref(PyUnicode_Substring(string, start, end));
  else if (string != nullptr && string->type == &PyBytes_Type && end <= size_of(string))
    found = Ref(PyBytes_FromStringAndSize(bytes_data(string) + start, end - start));
  if (found)
    describe(found.get(), text, depth + 1);
  else
    text.put("...");
  text.put(">");
}

}  // namespace

Ref repr_by_slot(PyObject* object) {
  KeepException keep;
  auto* const slot = field<PyObject* (*)(PyObject*)>(object->type, kTypeRepr);
  return slot != nullptr ? Ref(slot(object)) : Ref();  // a type of C may not have been made ready
}

bool describe_by_slot(PyObject* object, BoundedText& text) {
  char utf8[512];
  std::uint64_t total = 0;
  std::size_t used = 0;
  {
    const Ref repr = repr_by_slot(object);
    if (repr && repr.get()->type == &PyUnicode_Type) used = write_utf8(repr.get(), utf8, sizeof utf8, &total);
  }
  text.put({utf8, used});
  if (used < total) text.put("...");
  return used != 0;
}

bool describe_native(PyObject* object, BoundedText& text, int depth) {
  if (!has_native_repr(object)) return false;
  if (repr_slot(object->type) == repr_slot(&PyBaseObject_Type) && put_instance(object, text)) return true;
  // a class of the program's may have any name
  const std::string_view name = is_python_class(object->type) ? std::string_view() : type_name(object->type);
  if (name == "range") return put_range(object, text, depth), true;
  if (name == "re.Pattern") return put_pattern(object, text, depth), true;
  if (name == "re.Match") return put_match(object, text, depth), true;
  if (name == "datetime.timezone") return put_zone(object, text, depth), true;
  if (PyObject* zone = zone_of(object, name)) return put_aware(object, zone, text, depth);
  return describe_by_slot(object, text);
}

}  // namespace watcher::python

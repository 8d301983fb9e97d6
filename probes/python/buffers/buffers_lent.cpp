// Memory that an object hands out by other ways than the buffer protocol: __array_interface__ (numpy's datetimes, which
// have no buffer format), DLPack (torch), and the one array behind a pandas object.
#include <string.h>

#include "probes/python/buffers/array_layout.h"
#include "probes/python/buffers/buffers.h"
#include "probes/python/objects/plain_parts.h"

namespace watcher::python {
namespace {

/// DLPack's structures, version 0 (dmlc/dlpack, include/dlpack/dlpack.h): what a capsule "dltensor" points to.
struct DlTensor {
  void* data;
  struct {
    std::int32_t type, id;
  } device;
  std::int32_t dimensions;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } item;
  const std::int64_t* shape;
  const std::int64_t* strides;  // in elements; null: contiguous
  std::uint64_t byte_offset;
};
constexpr std::int32_t kDlCpu = 1;
constexpr const char* kDlName = "dltensor";

bool type_has(PyObject* object, const char* name) {
  const Ref text(PyUnicode_InternFromString(name));
  return text && _PyType_Lookup(object->type, text.get()) != nullptr;
}

/// numpy's own, which computes nothing; that of others may be a method that makes a copy (an image is decoded for it).
bool has_c_interface(PyObject* object) {
  const Ref text(PyUnicode_InternFromString("__array_interface__"));
  const PyObject* found = text ? _PyType_Lookup(object->type, text.get()) : nullptr;
  return found != nullptr && found->type == &PyGetSetDescr_Type;
}

bool is_of_pandas(PyObject* object) {
  const Ref module(PyObject_GetAttrString(object->type, "__module__"));
  ssize_t bytes = 0;
  const char* name =
      module && module.get()->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(module.get(), &bytes) : nullptr;
  PyErr_Clear();
  return name != nullptr && strncmp(name, "pandas.", 7) == 0 && type_has(object, "__array__");
}

bool read_numbers(PyObject* tuple, std::int64_t* numbers, int* count) {
  const ssize_t length = tuple != nullptr ? PyTuple_Size(tuple) : -1;
  if (length < 0 || length > ArrayShape::kMaxDimensions) return false;
  for (ssize_t i = 0; i < length; ++i) numbers[i] = PyNumber_AsSsize_t(PyTuple_GetItem(tuple, i), nullptr);
  *count = static_cast<int>(length);
  return PyErr_Occurred() == nullptr;
}

/// numpy's typestr ("<f8", "<M8[s]", "|S3") as a format of PEP 3118; what that cannot say stays as it is.
bool read_item_type(const char* text, BufferMemory* memory) {
  if (text == nullptr || strlen(text) < 3) return false;
  const char kind = text[1];
  const auto number = static_cast<std::uint32_t>(strtoul(text + 2, nullptr, 10));
  memory->item_bytes = kind == 'U' ? 4 * number : number;
  memory->format = text[0] == '|' ? "" : std::string(1, text[0]);
  const auto sized = [&](const char* letters) {  // of 1, 2, 4, 8, 16 bytes
    const int at = number == 1 ? 0 : number == 2 ? 1 : number == 4 ? 2 : number == 8 ? 3 : 4;
    memory->format += letters[at];
  };
  switch (kind) {
    case 'b':
      memory->format += '?';
      break;
    case 'i':
      sized("bhiqq");
      break;
    case 'u':
      sized("BHIQQ");
      break;
    case 'f':
      sized("eefdg");
      break;
    case 'c':
      memory->format += number == 8 ? "Zf" : "Zd";
      break;
    case 'U':
      memory->format += std::to_string(number) + "w";
      break;
    case 'M':
    case 'm':
      memory->format += text + 1;
      break;
    default:
      memory->format = std::to_string(number) + "s";
  }
  return kind != 'O' && memory->item_bytes != 0;
}

bool read_interface(PyObject* object, BufferMemory* memory) {
  const Ref interface(PyObject_GetAttrString(object, "__array_interface__"));
  if (!interface || interface.get()->type != &PyDict_Type) return false;
  PyObject* data = PyDict_GetItemString(interface.get(), "data");
  PyObject* strides = PyDict_GetItemString(interface.get(), "strides");
  PyObject* type = PyDict_GetItemString(interface.get(), "typestr");
  ssize_t bytes = 0;
  ArrayShape shape;
  if (data == nullptr || type == nullptr || PyTuple_Size(data) != 2 ||
      !read_numbers(PyDict_GetItemString(interface.get(), "shape"), shape.lengths, &shape.dimensions) ||
      !read_item_type(PyUnicode_AsUTF8AndSize(type, &bytes), memory))
    return false;
  int count = 0;
  if (strides == nullptr || strides == &_Py_NoneStruct)
    shape.set_contiguous_strides(memory->item_bytes);
  else if (!read_numbers(strides, shape.strides, &count) || count != shape.dimensions)
    return false;
  const ssize_t address = PyNumber_AsSsize_t(PyTuple_GetItem(data, 0), nullptr);
  return address > 0 && describe_array(reinterpret_cast<void*>(address), shape, memory);
}

Ref own_attribute(PyObject* object, const char* name) {
  const Ref text(PyUnicode_InternFromString(name));
  Ref found(text ? PyObject_GenericGetAttr(object, text.get()) : nullptr);
  PyErr_Clear();
  return found;
}

/// The array behind a series, a frame whose columns are one block, or an array of times. The object's __array__ is not
/// asked: of several blocks it makes one, in place, which may be where views of other arrays were.
Ref array_behind(PyObject* object) {
  const Ref manager = own_attribute(object, "_mgr");
  const Ref blocks = manager ? own_attribute(manager.get(), "blocks") : Ref();
  const bool one = blocks && blocks.get()->type == &PyTuple_Type && PyTuple_Size(blocks.get()) == 1;
  Ref values = one ? own_attribute(PyTuple_GetItem(blocks.get(), 0), "values") : Ref::borrow(object);
  if ((manager && !one) || !values || type_has(values.get(), "categories")) return {};
  if (!has_c_interface(values.get())) values = own_attribute(values.get(), "_ndarray");
  return one && values ? own_attribute(values.get(), "T") : std::move(values);  // a block's rows are columns
}

bool read_pandas(PyObject* object, BufferMemory* memory) {
  Ref array = array_behind(object);
  if (!array || !read_interface(array.get(), memory)) return false;
  memory->kept = std::move(array);
  return true;
}

bool read_dl_type(const DlTensor& tensor, BufferMemory* memory) {
  enum : std::uint8_t { kInt, kUnsigned, kFloat, kComplex = 5, kBool };
  memory->item_bytes = static_cast<std::uint32_t>(tensor.item.bits) * tensor.item.lanes / 8;
  const char* kind = tensor.item.code == kInt        ? "<i"
                     : tensor.item.code == kUnsigned ? "<u"
                     : tensor.item.code == kFloat    ? "<f"
                     : tensor.item.code == kComplex  ? "<c"
                     : tensor.item.code == kBool     ? "|b"
                                                     : "|V";
  return read_item_type((kind + std::to_string(memory->item_bytes)).c_str(), memory);
}

bool read_dlpack(PyObject* object, BufferMemory* memory) {
  const Ref device(PyObject_CallMethod(object, "__dlpack_device__", nullptr));
  if (!device || PyTuple_Size(device.get()) != 2 ||
      PyNumber_AsSsize_t(PyTuple_GetItem(device.get(), 0), nullptr) != kDlCpu)
    return false;
  // torch does not hand out what takes part in differentiation; its detached twin has the same memory
  const Ref plain(type_has(object, "detach") ? PyObject_CallMethod(object, "detach", nullptr)
                                             : Ref::borrow(object).release());
  Ref capsule(plain ? PyObject_CallMethod(plain.get(), "__dlpack__", nullptr) : nullptr);
  if (!capsule || PyCapsule_IsValid(capsule.get(), kDlName) == 0) return false;
  const auto& tensor = *static_cast<const DlTensor*>(PyCapsule_GetPointer(capsule.get(), kDlName));
  ArrayShape shape;
  if (tensor.device.type != kDlCpu || tensor.dimensions < 0 || tensor.dimensions > ArrayShape::kMaxDimensions ||
      !read_dl_type(tensor, memory))
    return false;
  shape.dimensions = tensor.dimensions;
  for (int i = 0; i < shape.dimensions; ++i) shape.lengths[i] = tensor.shape[i];
  shape.set_contiguous_strides(memory->item_bytes);
  for (int i = 0; i < shape.dimensions && tensor.strides != nullptr; ++i)
    shape.strides[i] = tensor.strides[i] * memory->item_bytes;
  memory->kept = std::move(capsule);
  return describe_array(static_cast<std::byte*>(tensor.data) + tensor.byte_offset, shape, memory);
}

}  // namespace

bool lends_memory(PyObject* object, bool asked_for) {
  const bool compiled = parts_stay_plain(object->type);
  if (!compiled && (!asked_for || !has_flag(object->type, kHeapType))) return false;
  const bool by_method = type_has(object, "__array_interface__") || type_has(object, "__dlpack__");
  const bool by_itself = has_c_interface(object) || (type_has(object, "__dlpack__") && type_has(object, "detach"));
  return (asked_for ? by_method : by_itself) || (is_of_pandas(object) && array_behind(object));
}

bool read_lent_memory(PyObject* object, BufferMemory* memory) {
  const bool read = type_has(object, "__array_interface__") ? read_interface(object, memory)
                    : type_has(object, "__dlpack__")        ? read_dlpack(object, memory)
                                                            : read_pandas(object, memory);
  if (PyErr_Occurred() != nullptr) PyErr_Clear();
  return read;
}

}  // namespace watcher::python

// CPython's structures as far as they are the same from 3.8 to 3.13; see python_api.h.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

extern "C" {

struct PyObject {
  ssize_t refcount;  // 3.12+: the low 32 bits count, immortal objects have bit 31 set
  PyObject* type;
};
struct PyTypeObject : PyObject {
  char slots[304];  // compat.h has the offsets; what may lie behind differs from version to version
};
struct PyVarObject {
  PyObject object;
  ssize_t size;
};
struct PyMethodDef {
  const char* name;
  void* function;
  int flags;
  const char* doc;
};
struct PyModuleDef {
  PyObject object;
  void* init;
  ssize_t index;
  PyObject* copy;
  const char* name;
  const char* doc;
  ssize_t size;
  PyMethodDef* methods;
  void* slots;
  void* traverse;
  void* clear;
  void* free;
};
struct PyGetSetDef {
  const char* name;
  PyObject* (*get)(PyObject*, void*);
  int (*set)(PyObject*, PyObject*, void*);
  const char* doc;
  void* closure;
};
struct PyMemberDef {
  const char* name;
  int type;
  ssize_t offset;
  int flags;
  const char* doc;
};
struct PyTypeSlot {
  int slot;
  void* function;
};
struct PyTypeSpec {
  const char* name;
  int basicsize;
  int itemsize;
  unsigned flags;
  PyTypeSlot* slots;
};
struct PyBuffer {  // Py_buffer, same layout in all versions
  void* buf;
  PyObject* obj;
  ssize_t len;
  ssize_t itemsize;
  int readonly;
  int ndim;
  char* format;
  ssize_t* shape;
  ssize_t* strides;
  ssize_t* suboffsets;
  void* internal;
};

enum { kMethVarargs = 1, kMethKeywords = 2, kMethNoArgs = 4, kMethO = 8, kMethFastcall = 0x80 };
enum {
  kPyBufSimple = 0,
  kPyBufWritable = 1,
  kPyBufFormat = 4,
  kPyBufStrides = 0x10 | 8,
  kPyBufND = 8,
  kPyBufCContiguous = 0x20 | 0x18
};

typedef int (*PyAuditHook)(const char* event, PyObject* args, void* data);
typedef PyObject* (*PyVectorcall)(PyObject* callable, PyObject* const* args, size_t nargsf, PyObject* kwnames);

}  // extern "C"

// The part of CPython's C API that the probe uses, declared once for 3.8 to 3.13 (default builds with a GIL).
//
// Python.h is not used on purpose: its inline functions and structures bake one version in, and one object must serve
// all of them. Only functions whose ABI is the same in every supported version stand here; what differs is in compat.h.
// Everything is resolved from the host at load time; weak ones may be absent (compare with nullptr before use).
#pragma once

#include "probes/python/interpreter/python_types.h"

extern "C" {

#define WATCHER_WEAK __attribute__((weak))

const char* Py_GetVersion(void);
int Py_IsInitialized(void);
WATCHER_WEAK int Py_IsFinalizing(void);   // 3.13
WATCHER_WEAK int _Py_IsFinalizing(void);  // 3.7–3.12
int PySys_AddAuditHook(PyAuditHook hook, void* data);
PyObject* PySys_GetObject(const char* name);  // borrowed

void Py_IncRef(PyObject*), Py_DecRef(PyObject*), PyObject_GC_Track(void*), PyObject_GC_UnTrack(void*);
PyObject* PyErr_Occurred(void);
PyObject* PyErr_NoMemory(void);
void PyErr_Clear(void);
void PyErr_Fetch(PyObject** type, PyObject** value, PyObject** traceback);
void PyErr_Restore(PyObject* type, PyObject* value, PyObject* traceback);
void PyErr_SetString(PyObject* type, const char* text);
PyObject* PyErr_Format(PyObject* type, const char* format, ...);
PyObject* PyObject_GetAttr(PyObject*, PyObject*);
PyObject* PyObject_GetAttrString(PyObject*, const char*);
int PyObject_SetAttr(PyObject*, PyObject*, PyObject*);
int PyObject_SetAttrString(PyObject*, const char*, PyObject*);
PyObject* PyObject_Call(PyObject*, PyObject* args, PyObject* kwargs);
PyObject* PyObject_CallObject(PyObject*, PyObject* args);
PyObject* PyObject_CallFunctionObjArgs(PyObject*, ...);
PyObject* PyObject_CallFunction(PyObject*, const char*, ...);
PyObject* PyObject_CallMethod(PyObject*, const char*, const char*, ...);
PyObject* PyObject_Repr(PyObject*);
int Py_ReprEnter(PyObject*);
void Py_ReprLeave(PyObject*);
int PyObject_RichCompareBool(PyObject*, PyObject*, int op);
PyObject* PyObject_GenericGetAttr(PyObject*, PyObject*);
int PyObject_GenericSetAttr(PyObject*, PyObject*, PyObject*);
PyObject* _PyType_Lookup(PyObject* type, PyObject* name);  // borrowed, runs nothing of the host's
int PyObject_GetBuffer(PyObject*, PyBuffer*, int flags);
void PyBuffer_Release(PyBuffer*);
int PyObject_CheckBuffer(PyObject*);
PyObject* PyObject_GetIter(PyObject*);
PyObject* PyIter_Next(PyObject*);
ssize_t PyObject_Size(PyObject*), PyObject_Hash(PyObject*);

PyObject* PyLong_FromLong(long);
PyObject* PyLong_FromLongLong(long long);
PyObject* PyLong_FromSsize_t(ssize_t);
PyObject* PyLong_FromUnsignedLongLong(unsigned long long);
long long PyLong_AsLongLongAndOverflow(PyObject*, int* overflow);
long PyLong_AsLong(PyObject*);
ssize_t PyNumber_AsSsize_t(PyObject*, PyObject* error);
size_t _PyLong_NumBits(PyObject*);
PyObject* PyBool_FromLong(long);

PyObject* PyUnicode_Substring(PyObject*, ssize_t first, ssize_t end);
PyObject* PyUnicode_FromStringAndSize(const char*, ssize_t);
PyObject* PyUnicode_FromFormat(const char* format, ...);
PyObject* PyUnicode_FromString(const char*);
PyObject* PyUnicode_InternFromString(const char*);
const char* PyUnicode_AsUTF8AndSize(PyObject*, ssize_t*);
int PyUnicode_Compare(PyObject*, PyObject*);
int PyUnicode_CompareWithASCIIString(PyObject*, const char*);
PyObject *PyBytes_FromStringAndSize(const char*, ssize_t), *PyMemoryView_FromMemory(char*, ssize_t, int flags);

ssize_t PyTuple_Size(PyObject*);
PyObject* PyTuple_New(ssize_t);
PyObject* PyTuple_GetItem(PyObject*, ssize_t);  // borrowed
int PyTuple_SetItem(PyObject*, ssize_t, PyObject*);
PyObject* PyTuple_Pack(ssize_t, ...);
PyObject* PyList_New(ssize_t);
PyObject* PyList_AsTuple(PyObject* list);
ssize_t PyList_Size(PyObject*);
PyObject* PyList_GetItem(PyObject*, ssize_t);  // borrowed
int PyList_SetItem(PyObject*, ssize_t, PyObject*);
int PyList_Append(PyObject*, PyObject*);
int PyList_Insert(PyObject*, ssize_t, PyObject*);
int PySlice_Unpack(PyObject*, ssize_t* start, ssize_t* stop, ssize_t* step);
ssize_t PySlice_AdjustIndices(ssize_t length, ssize_t* start, ssize_t* stop, ssize_t step);
PyObject *PyDict_New(void), *PyDict_Copy(PyObject*);
PyObject* PyDict_GetItem(PyObject*, PyObject*);  // borrowed, swallows errors
PyObject* PyDict_GetItemString(PyObject*, const char*);
PyObject* PyDict_GetItemWithError(PyObject*, PyObject*);
int PyDict_SetItem(PyObject*, PyObject*, PyObject*), PyDict_SetItemString(PyObject*, const char*, PyObject*);
int PyDict_Next(PyObject*, ssize_t* position, PyObject** key, PyObject** value);
ssize_t PyDict_Size(PyObject*);
PyObject* PySet_New(PyObject* items);
int PySet_Add(PyObject*, PyObject*), PySequence_Contains(PyObject*, PyObject*), PySequence_DelItem(PyObject*, ssize_t);
PyObject* PySequence_List(PyObject*);

PyObject* PyImport_ImportModule(const char*);
PyObject* PyImport_GetModuleDict(void);
PyObject* PyModule_Create2(PyModuleDef*, int api);
PyObject* PyModule_GetDict(PyObject*);
PyObject* PyEval_GetBuiltins(void);
PyObject* PyEval_EvalCode(PyObject* code, PyObject* globals, PyObject* locals);
void* PyEval_GetFrame(void);
PyObject* Py_CompileString(const char* source, const char* filename, int start);

PyObject* PyCFunction_NewEx(PyMethodDef*, PyObject* self, PyObject* module);
PyObject* PyWeakref_NewRef(PyObject*, PyObject* callback);
int PyCapsule_IsValid(PyObject*, const char* name);
void* PyCapsule_GetPointer(PyObject*, const char* name);
PyObject* PyCapsule_New(void* pointer, const char* name, void* destructor);
PyObject* PyDescr_NewMethod(PyObject* type, PyMethodDef*);
PyObject* PyDescr_NewWrapper(PyObject* type, void* wrapper_base, void* slot);
PyObject* PyType_FromSpecWithBases(PyTypeSpec*, PyObject* bases);
void PyType_Modified(PyObject*);
int PyType_IsSubtype(PyObject*, PyObject*);

void* PyGILState_GetThisThreadState(void);
unsigned long PyThread_get_thread_ident(void);
int Py_AddPendingCall(int (*function)(void*), void* argument);
int PyThreadState_SetAsyncExc(unsigned long thread, PyObject* exception);
void* PyInterpreterState_Head(void);
void* PyInterpreterState_ThreadHead(void* interpreter);
void* PyThreadState_Next(void* state);
WATCHER_WEAK void* PyInterpreterState_Main(void);
WATCHER_WEAK void* PyInterpreterState_Get(void);                       // 3.9+
WATCHER_WEAK void* _PyThreadState_UncheckedGet(void);                  // 3.8–3.12
WATCHER_WEAK void* PyThreadState_GetUnchecked(void);                   // 3.13
WATCHER_WEAK void _PyInterpreterState_SetEvalFrameFunc(void*, void*);  // 3.9+
WATCHER_WEAK void* _PyInterpreterState_GetEvalFrameFunc(void*);        // 3.9+
WATCHER_WEAK PyObject* _PyEval_EvalFrameDefault(void);
WATCHER_WEAK int PyDict_AddWatcher(int (*)(int event, PyObject* dict, PyObject* key, PyObject* value));  // 3.12+
WATCHER_WEAK int PyDict_Watch(int id, PyObject* dict);                                                   // 3.12+
WATCHER_WEAK PyObject* PyCode_GetCode(PyObject* code);                                                   // 3.11+
WATCHER_WEAK int PyFunction_AddWatcher(int (*)(int event, PyObject* function, PyObject* value));         // 3.12+
WATCHER_WEAK int PyFunction_ClearWatcher(int id);                                                        // 3.12+
WATCHER_WEAK const char* _PyMem_GetCurrentAllocatorName(void);
void PyMem_Free(void*), PyObject_Free(void*);
PyObject *PyContext_New(void), *PyContextVar_Set(PyObject*, PyObject*);
int PyContext_Enter(PyObject*), PyContext_Exit(PyObject*);
int PyTraceMalloc_Untrack(unsigned domain, uintptr_t pointer);  // -2: tracemalloc does not trace
extern PyTypeObject PyType_Type, PyBaseObject_Type, PyCode_Type, PyModule_Type, PyLong_Type, PyBool_Type, PyFloat_Type,
    PyUnicode_Type, PyBytes_Type, PyByteArray_Type, PyTuple_Type, PyList_Type, PyDict_Type, PySet_Type,
    PyFrozenSet_Type, PyFunction_Type, PyCFunction_Type, PyMethodDescr_Type, PySlice_Type, PyMemoryView_Type,
    PyODict_Type, PyMemberDescr_Type, PyGetSetDescr_Type, PyWrapperDescr_Type, PyCell_Type, PyGen_Type, PyCoro_Type,
    PyAsyncGen_Type, PyContextVar_Type;
extern PyObject _Py_NoneStruct;
extern PyObject *PyExc_TypeError, *PyExc_ValueError, *PyExc_IndexError, *PyExc_ImportError, *PyExc_RuntimeError,
    *PyExc_Warning;

}  // extern "C"

// Reading and building the interpreter's own syntax tree (module `_ast`) through its attributes.
//
// Threads: the GIL is held. Functions returning Ref may return an empty one with a Python exception set.
#pragma once

#include <string_view>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

/// Node classes the transform looks at; every other one is kOther.
enum class Node : std::uint8_t {
  kOther,
  kModule,
  kAnnAssign,
  kAssign,
  kAsyncFor,
  kAsyncFunctionDef,
  kAsyncWith,
  kAttribute,
  kAugAssign,
  kBinOp,
  kBoolOp,
  kCall,
  kClassDef,
  kCompare,
  kConstant,
  kDelete,
  kDictComp,
  kExceptHandler,
  kExpr,
  kExpression,
  kFor,
  kFunctionDef,
  kGeneratorExp,
  kGlobal,
  kIf,
  kImport,
  kImportFrom,
  kInteractive,
  kLambda,
  kList,
  kListComp,
  kMatch,
  kMatchAs,
  kMatchMapping,
  kMatchStar,
  kName,
  kNamedExpr,
  kNonlocal,
  kPass,
  kRaise,
  kReturn,
  kSetComp,
  kStarred,
  kSubscript,
  kTry,
  kTryStar,
  kTuple,
  kTypeAlias,
  kWhile,
  kWith,
  kCount
};

/// Loads the classes; false with an exception when `_ast` is not what we know.
bool ast_start();

Node kind_of(PyObject* node);
bool is_node(PyObject* object);       // any AST object
bool is_statement(PyObject* object);  // ast.stmt

/// Attribute; empty when absent (no exception is left).
Ref get(PyObject* node, const char* attribute);
/// The attribute's UTF-8 text; empty when it is absent or not a str. Valid while the node lives.
std::string_view get_text(PyObject* node, const char* attribute);
int get_int(PyObject* node, const char* attribute, int fallback);
bool set(PyObject* node, const char* attribute, PyObject* value);

/// Number of elements and element (borrowed) of a list attribute's value.
inline ssize_t length(const Ref& list) {
  return list && list.get()->type == &PyList_Type ? size_of(list.get()) : 0;
}
inline PyObject* item(const Ref& list, ssize_t index) {
  return list_items(list.get())[index];
}

/// `_fields` of a node's class: a tuple of str, borrowed from the class.
Ref fields_of(PyObject* node);

/// Calls `visit` with each node directly below.
template <class Visit>
void for_each_child(PyObject* node, Visit&& visit) {
  Ref fields = fields_of(node);
  for (ssize_t i = 0; fields && i < size_of(fields.get()); ++i) {
    Ref value(PyObject_GetAttr(node, tuple_items(fields.get())[i]));
    if (!value) {
      PyErr_Clear();
      continue;
    }
    if (value.get()->type == &PyList_Type) {
      for (ssize_t k = 0; k < size_of(value.get()); ++k)
        if (is_node(list_items(value.get())[k])) visit(list_items(value.get())[k]);
    } else if (is_node(value.get())) {
      visit(value.get());
    }
  }
}

/// New nodes, placed where `at` is.
Ref make_name(PyObject* at, std::string_view name);
Ref make_constant(PyObject* at, PyObject* value);
Ref make_call(PyObject* at, PyObject* function, PyObject* argument);
Ref make_statement(PyObject* at, PyObject* expression);
Ref make_delete(PyObject* target);
/// `(targets…,) = value`
Ref make_unpacking(PyObject* at, PyObject* targets, PyObject* value);
Ref make_import(PyObject* at, PyObject* names);
/// `try: statement`, `except: handler…; raise`, the handler where `at` is.
Ref make_try(PyObject* statement, PyObject* at, PyObject* handler);
/// `None` that is nowhere (3.10+), to place others there.
Ref make_without_line(PyObject* at);
/// `if e: pass`: what the interactive mode prints nothing of.
Ref make_silent_statement(PyObject* at, PyObject* expression);
/// `(first, …, last)[n]`: evaluates in order, gives the one asked for: the last unless told.
Ref make_sequence(PyObject* at, PyObject* list, ssize_t wanted = -1);
/// `object[None]` as a target.
Ref make_item_target(PyObject* at, PyObject* object);
/// A copy of a whole tree; what its fields refer to besides nodes and lists is shared.
Ref copy_tree(PyObject* node);

}  // namespace watcher::python

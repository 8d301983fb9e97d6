#include "probes/python/transform/ast_nodes.h"

#include <string.h>

namespace watcher::python {
namespace {

struct NodeName {
  Node node;
  const char* name;
};
constexpr NodeName kNames[] = {
    {Node::kModule, "Module"},
    {Node::kAnnAssign, "AnnAssign"},
    {Node::kAssign, "Assign"},
    {Node::kAsyncFor, "AsyncFor"},
    {Node::kAsyncFunctionDef, "AsyncFunctionDef"},
    {Node::kAsyncWith, "AsyncWith"},
    {Node::kAttribute, "Attribute"},
    {Node::kAugAssign, "AugAssign"},
    {Node::kBinOp, "BinOp"},
    {Node::kBoolOp, "BoolOp"},
    {Node::kCall, "Call"},
    {Node::kClassDef, "ClassDef"},
    {Node::kCompare, "Compare"},
    {Node::kConstant, "Constant"},
    {Node::kDelete, "Delete"},
    {Node::kDictComp, "DictComp"},
    {Node::kExceptHandler, "ExceptHandler"},
    {Node::kExpr, "Expr"},
    {Node::kExpression, "Expression"},
    {Node::kFor, "For"},
    {Node::kFunctionDef, "FunctionDef"},
    {Node::kGeneratorExp, "GeneratorExp"},
    {Node::kGlobal, "Global"},
    {Node::kIf, "If"},
    {Node::kImport, "Import"},
    {Node::kImportFrom, "ImportFrom"},
    {Node::kInteractive, "Interactive"},
    {Node::kLambda, "Lambda"},
    {Node::kList, "List"},
    {Node::kListComp, "ListComp"},
    {Node::kMatch, "Match"},
    {Node::kMatchAs, "MatchAs"},
    {Node::kMatchMapping, "MatchMapping"},
    {Node::kMatchStar, "MatchStar"},
    {Node::kName, "Name"},
    {Node::kNamedExpr, "NamedExpr"},
    {Node::kNonlocal, "Nonlocal"},
    {Node::kPass, "Pass"},
    {Node::kRaise, "Raise"},
    {Node::kReturn, "Return"},
    {Node::kSetComp, "SetComp"},
    {Node::kStarred, "Starred"},
    {Node::kSubscript, "Subscript"},
    {Node::kTry, "Try"},
    {Node::kTryStar, "TryStar"},
    {Node::kTuple, "Tuple"},
    {Node::kTypeAlias, "TypeAlias"},
    {Node::kWhile, "While"},
    {Node::kWith, "With"},
};

constinit PyObject* classes[static_cast<std::size_t>(Node::kCount)];
constinit PyObject* base_class = nullptr;
constinit PyObject* statement_class = nullptr;
constinit PyObject* load_class = nullptr;
constinit PyObject* store_class = nullptr;
constinit PyObject* index_class = nullptr;  // 3.8: wraps a subscript
constinit PyObject* location_names[4];      // lineno, col_offset, end_lineno, end_col_offset

// Hash from class to Node: 64 buckets by address, filled once.
constexpr std::size_t kBuckets = 256;
struct Bucket {
  PyObject* type;
  Node node;
};
constinit Bucket buckets[kBuckets] = {};

std::size_t bucket_of(const PyObject* type) {
  return (reinterpret_cast<std::uintptr_t>(type) >> 4) * 0x9e3779b1u >> 8;
}

void add_bucket(PyObject* type, Node node) {
  std::size_t at = bucket_of(type) % kBuckets;
  while (buckets[at].type != nullptr) at = (at + 1) % kBuckets;
  buckets[at] = {type, node};
}

Ref copy_location(Ref node, PyObject* at) {
  for (PyObject* name : location_names) {
    Ref value(PyObject_GetAttr(at, name));
    if (!value) {
      PyErr_Clear();
      continue;
    }
    if (!node || PyObject_SetAttr(node.get(), name, value.get()) != 0) return Ref();
  }
  return node;
}

Ref make(Node node, PyObject* at) {
  return copy_location(Ref(PyObject_CallObject(classes[static_cast<int>(node)], nullptr)), at);
}

Ref load() {
  return Ref(PyObject_CallObject(load_class, nullptr));
}

}  // namespace

bool ast_start() {
  if (base_class != nullptr) return true;
  Ref module(PyImport_ImportModule("_ast"));
  if (!module) return false;
  for (const NodeName& entry : kNames) {
    PyObject* type = PyObject_GetAttrString(module.get(), entry.name);
    if (type == nullptr) {
      PyErr_Clear();  // a later version's statement
      continue;
    }
    classes[static_cast<std::size_t>(entry.node)] = type;
    add_bucket(type, entry.node);
  }
  statement_class = PyObject_GetAttrString(module.get(), "stmt");
  load_class = PyObject_GetAttrString(module.get(), "Load");
  store_class = PyObject_GetAttrString(module.get(), "Store");
  if (compat.minor == 8) index_class = PyObject_GetAttrString(module.get(), "Index");
  static constexpr const char* kLocation[] = {"lineno", "col_offset", "end_lineno", "end_col_offset"};
  for (int i = 0; i < 4; ++i) location_names[i] = PyUnicode_InternFromString(kLocation[i]);
  base_class = PyObject_GetAttrString(module.get(), "AST");
  return statement_class != nullptr && load_class != nullptr && store_class != nullptr && base_class != nullptr;
}

Node kind_of(PyObject* node) {
  for (std::size_t at = bucket_of(node->type) % kBuckets; buckets[at].type != nullptr; at = (at + 1) % kBuckets)
    if (buckets[at].type == node->type) return buckets[at].node;
  return Node::kOther;
}

bool is_node(PyObject* object) {
  return PyType_IsSubtype(object->type, base_class) != 0;
}
bool is_statement(PyObject* object) {
  return PyType_IsSubtype(object->type, statement_class) != 0;
}

Ref get(PyObject* node, const char* attribute) {
  Ref value(PyObject_GetAttrString(node, attribute));
  if (!value) PyErr_Clear();
  if (value.get() == &_Py_NoneStruct) return Ref();
  return value;
}

std::string_view get_text(PyObject* node, const char* attribute) {
  Ref value = get(node, attribute);  // the node keeps it alive
  if (!value || value.get()->type != &PyUnicode_Type) return {};
  ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(value.get(), &size);
  if (data == nullptr) {
    PyErr_Clear();
    return {};
  }
  return {data, static_cast<std::size_t>(size)};
}

int get_int(PyObject* node, const char* attribute, int fallback) {
  Ref value = get(node, attribute);
  return value && value.get()->type == &PyLong_Type ? static_cast<int>(PyLong_AsLong(value.get())) : fallback;
}

bool set(PyObject* node, const char* attribute, PyObject* value) {
  return value != nullptr && PyObject_SetAttrString(node, attribute, value) == 0;
}

Ref fields_of(PyObject* node) {
  return get(node->type, "_fields");
}

Ref make_name(PyObject* at, std::string_view name) {
  Ref node = make(Node::kName, at);
  Ref id(PyUnicode_FromStringAndSize(name.data(), static_cast<ssize_t>(name.size())));
  Ref context = load();
  if (!node || !set(node.get(), "id", id.get()) || !set(node.get(), "ctx", context.get())) return Ref();
  return node;
}

Ref make_constant(PyObject* at, PyObject* value) {
  Ref node = make(Node::kConstant, at);
  if (!node || !set(node.get(), "value", value) || !set(node.get(), "kind", &_Py_NoneStruct)) return Ref();
  return node;
}

Ref make_call(PyObject* at, PyObject* function, PyObject* argument) {
  Ref node = make(Node::kCall, at);
  Ref arguments(PyList_New(0));
  Ref keywords(PyList_New(0));
  if (!node || !arguments || !keywords || PyList_Append(arguments.get(), argument) != 0) return Ref();
  if (!set(node.get(), "func", function) || !set(node.get(), "args", arguments.get()) ||
      !set(node.get(), "keywords", keywords.get()))
    return Ref();
  return node;
}

Ref make_statement(PyObject* at, PyObject* expression) {
  Ref node = make(Node::kExpr, at);
  if (!node || !set(node.get(), "value", expression)) return Ref();
  return node;
}

Ref make_delete(PyObject* target) {
  Ref targets(PyList_New(0));
  Ref node = make(Node::kDelete, target);
  if (!node || !targets || PyList_Append(targets.get(), target) != 0 || !set(node.get(), "targets", targets.get()))
    return Ref();
  return node;
}

Ref make_unpacking(PyObject* at, PyObject* targets, PyObject* value) {
  Ref node = make(Node::kAssign, at);
  Ref tuple = make(Node::kTuple, at);
  Ref context(PyObject_CallObject(store_class, nullptr));
  Ref chain(PyList_New(0));
  if (!node || !tuple || !chain || !set(tuple.get(), "elts", targets) || !set(tuple.get(), "ctx", context.get()) ||
      PyList_Append(chain.get(), tuple.get()) != 0 || !set(node.get(), "targets", chain.get()) ||
      !set(node.get(), "value", value))
    return Ref();
  return node;
}

Ref make_import(PyObject* at, PyObject* names) {
  Ref node = make(Node::kImport, at);
  return node && set(node.get(), "names", names) ? static_cast<Ref&&>(node) : Ref();
}

Ref make_without_line(PyObject* at) {
  Ref node = make_constant(at, &_Py_NoneStruct);
  const Ref nowhere(PyLong_FromLongLong(-1));
  for (PyObject* name : location_names)
    if (!node || !nowhere || PyObject_SetAttr(node.get(), name, nowhere.get()) != 0) return Ref();
  return node;
}

Ref make_try(PyObject* statement, PyObject* at, PyObject* handler) {
  Ref node = make(Node::kTry, statement);
  Ref except = make(Node::kExceptHandler, at);
  Ref raise = make(Node::kRaise, at);
  Ref body(PyList_New(0)), handlers(PyList_New(0)), nothing(PyList_New(0));
  if (!node || !except || !raise || !body || !handlers || !nothing) return Ref();
  const bool whole = PyList_Append(handler, raise.get()) == 0 && set(except.get(), "body", handler) &&
                     PyList_Append(body.get(), statement) == 0 && PyList_Append(handlers.get(), except.get()) == 0 &&
                     set(node.get(), "body", body.get()) && set(node.get(), "handlers", handlers.get()) &&
                     set(node.get(), "orelse", nothing.get()) && set(node.get(), "finalbody", nothing.get());
  return whole ? static_cast<Ref&&>(node) : Ref();
}

Ref make_silent_statement(PyObject* at, PyObject* expression) {
  Ref node = make(Node::kIf, at);
  Ref pass = make(Node::kPass, at);
  Ref body(PyList_New(0));
  Ref otherwise(PyList_New(0));
  if (!node || !pass || !body || !otherwise || PyList_Append(body.get(), pass.get()) != 0 ||
      !set(node.get(), "test", expression) || !set(node.get(), "body", body.get()) ||
      !set(node.get(), "orelse", otherwise.get()))
    return Ref();
  return node;
}

namespace {

Ref make_subscript(PyObject* at, PyObject* value, PyObject* index, PyObject* context_class) {
  Ref subscript = make(Node::kSubscript, at);
  Ref slice = make_constant(at, index);
  if (compat.minor == 8 && slice) {
    Ref wrapped(PyObject_CallObject(index_class, nullptr));
    if (!wrapped || !set(wrapped.get(), "value", slice.get())) return Ref();
    slice = static_cast<Ref&&>(wrapped);
  }
  Ref context(PyObject_CallObject(context_class, nullptr));
  if (!subscript || !set(subscript.get(), "value", value) || !set(subscript.get(), "slice", slice.get()) ||
      !set(subscript.get(), "ctx", context.get()))
    return Ref();
  return subscript;
}

Ref copy_value(PyObject* value) {
  if (is_node(value)) return copy_tree(value);
  if (value->type != &PyList_Type) return Ref::borrow(value);
  Ref out(PyList_New(0));
  for (ssize_t i = 0; out && i < size_of(value); ++i) {
    Ref element = copy_value(list_items(value)[i]);
    if (!element || PyList_Append(out.get(), element.get()) != 0) return Ref();
  }
  return out;
}

}  // namespace

Ref make_sequence(PyObject* at, PyObject* list, ssize_t wanted) {
  Ref tuple = make(Node::kTuple, at);
  Ref index(PyLong_FromSsize_t(wanted < 0 ? size_of(list) - 1 : wanted));
  Ref context = load();
  if (!tuple || !index || !set(tuple.get(), "elts", list) || !set(tuple.get(), "ctx", context.get())) return Ref();
  return make_subscript(at, tuple.get(), index.get(), load_class);
}

Ref make_item_target(PyObject* at, PyObject* object) {
  return make_subscript(at, object, &_Py_NoneStruct, store_class);
}

Ref copy_tree(PyObject* node) {
  Ref copy(PyObject_CallObject(node->type, nullptr));
  if (!copy) return Ref();
  for (const char* group : {"_fields", "_attributes"}) {
    Ref names = get(node->type, group);
    for (ssize_t i = 0; names && i < size_of(names.get()); ++i) {
      PyObject* name = tuple_items(names.get())[i];
      Ref value(PyObject_GetAttr(node, name));
      if (!value) {
        PyErr_Clear();
        continue;
      }
      Ref copied = copy_value(value.get());
      if (!copied || PyObject_SetAttr(copy.get(), name, copied.get()) != 0) return Ref();
    }
  }
  return copy;
}

}  // namespace watcher::python

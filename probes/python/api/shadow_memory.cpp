#include "probes/python/api/shadow_memory.h"

#include <string.h>

#include <set>
#include <string>

#include "probes/python/context/frames.h"
#include "probes/python/context/sql.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr int kWritable = 0x200;  // PyBUF_WRITE
constexpr int kCellContent = 16;

/// One watched value. A list, dict, object or buffer is watched in place and needs no page.
struct ShadowPage {
  const WatchRequest* request;
  std::string name;
  std::string owner;
  Scope scope;
  DictionaryRef variable;
  PyObject* tracked;  // owned by the proxy
  DictionaryRef tracked_variable;
  std::byte* page;
  std::int64_t size;
  std::uint64_t region;
  bool ended;
  bool exposed;  // somebody may have a view of the page
};

std::set<ShadowPage*>& shadows() {
  static auto* all = new std::set<ShadowPage*>;  // process-lifetime
  return *all;
}

ShadowPage* shadow_of(PyObject* handle) {
  int overflow = 0;
  return reinterpret_cast<ShadowPage*>(PyLong_AsLongLongAndOverflow(handle, &overflow));
}

PyObject* none() {
  return Ref::borrow(&_Py_NoneStruct).release();
}

std::string_view canonical(const Value& value) {
  if (value.kind == ValueKind::kNone || value.kind == ValueKind::kUnbound) return {};
  if (is_inline(value.kind)) return {reinterpret_cast<const char*>(&value.word), sizeof value.word};
  return {value.data, value.stored};
}

void guard(ShadowPage* shadow) {
  const watcher_buffer buffer{.base = shadow->page,
                              .capacity = kPageBytes,
                              .live_size = &shadow->size,
                              .live_start = nullptr,
                              .live_item_bytes = 1,
                              .variable = shadow->variable,
                              .item_bytes = 1,
                              .scope = static_cast<std::uint8_t>(shadow->scope)};
  shadow->region = runtime->memory_watch(&buffer);
}

/// The engine would tell our own store as a stranger's: the page is let go for its time.
void fill(ShadowPage* shadow, const Value& value) {
  if (shadow->page == nullptr) return;
  if (shadow->region != 0) runtime->memory_unwatch(shadow->region, static_cast<int>(Op::kCount));
  const std::string_view bytes = canonical(value).substr(0, kPageBytes);
  memcpy(shadow->page, bytes.data(), bytes.size());
  shadow->size = static_cast<std::int64_t>(bytes.size());
  guard(shadow);
}

void end(ShadowPage* shadow) {
  if (shadow->ended) return;
  shadow->ended = true;
  if (shadow->tracked != nullptr) untrack_value(shadow->tracked, shadow->tracked_variable, nullptr);
  if (shadow->region != 0) runtime->memory_unwatch(shadow->region, static_cast<int>(Op::kCount));
}

void hold(ShadowPage* shadow, PyObject* value) {
  if (shadow->tracked != nullptr) untrack_value(shadow->tracked, shadow->tracked_variable, nullptr);
  const Tracked tracked{.name = shadow->name,
                        .owner = shadow->owner,
                        .scope = shadow->scope,
                        .references = 0,
                        .request = shadow->request};
  shadow->tracked_variable = track_value(value, tracked);
  shadow->tracked = shadow->tracked_variable != 0 ? value : nullptr;
  if (shadow->tracked == nullptr && shadow->page == nullptr)
    shadow->page = static_cast<std::byte*>(runtime->memory_allocate(kPageBytes));
  if (shadow->tracked == nullptr) fill(shadow, encode(value, scratch_before));
}

PyObject* open(PyObject* value, const WatchRequest* request) {
  if (!ensure_session()) return PyLong_FromLong(0);
  KeepException keep;
  if (request->threads) track_threads();
  if (request->sql) sql_start();
  const Position here = position_here();
  const Scope scope = here.function == "<module>" ? Scope::kGlobal : Scope::kLocal;
  auto* shadow =
      new ShadowPage{.request = request,
                     .name = request->name.empty() ? here.file + ":" + std::to_string(here.line) : request->name,
                     .owner = here.file + "\n" + here.function,
                     .scope = scope,
                     .variable = 0,
                     .tracked = nullptr,
                     .tracked_variable = 0,
                     .page = nullptr,
                     .size = 0,
                     .region = 0,
                     .ended = false,
                     .exposed = false};  // until it is closed
  shadow->variable = intern_variable(shadow->name, shadow->owner, scope, request);
  hold(shadow, value);
  shadows().insert(shadow);
  return PyLong_FromLongLong(reinterpret_cast<long long>(shadow));
}

PyObject* shadow_open(PyObject*, PyObject* const* args, ssize_t count, PyObject* keywords) {
  WatchRequest request;
  PyObject* value = nullptr;
  bool proxy = false;
  if (!parse_request("ShadowMemory", args, count, keywords, &value, &proxy, &request)) return nullptr;
  return open(value, keep_request(request));
}

PyObject* shadow_store(PyObject*, PyObject* const* args, ssize_t count, PyObject*) {
  ShadowPage* shadow = count == 3 ? shadow_of(args[0]) : nullptr;
  if (shadow == nullptr || shadow->ended) return none();
  KeepException keep;
  const Subject subject{.variable = shadow->variable, .place = place_here(), .scope = shadow->scope};
  emit(Op::kStore, subject, nullptr, encode(args[1], scratch_before), encode(args[2], scratch_after));
  hold(shadow, args[2]);
  return none();
}

PyObject* shadow_read(PyObject*, PyObject* handle) {
  ShadowPage* shadow = shadow_of(handle);
  if (shadow == nullptr) return PyBytes_FromStringAndSize(nullptr, 0);
  if (shadow->page != nullptr && shadow->tracked == nullptr)
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(shadow->page), shadow->size);
  const std::string_view bytes = canonical(encode(shadow->tracked, scratch_before));
  return PyBytes_FromStringAndSize(bytes.data(), static_cast<ssize_t>(bytes.size()));
}

PyObject* shadow_memory(PyObject*, PyObject* handle) {
  ShadowPage* shadow = shadow_of(handle);
  if (shadow == nullptr || shadow->page == nullptr || shadow->tracked != nullptr) return none();
  shadow->exposed = true;
  return PyMemoryView_FromMemory(reinterpret_cast<char*>(shadow->page), shadow->size, kWritable);
}

/// Names of the running function, or of its module, that are bound to the object. Frames' `f_locals` would hold on to
/// it.
PyObject* bound_names(PyObject*, PyObject* object) {
  Ref names(PyList_New(0));
  void* frame = innermost_python_frame(thread_state());
  if (!names || frame == nullptr) return names.release();
  const PyObject* code = code_of(frame);
  int index = 0;
  auto look = [&](int names_at) {
    auto* own = field<PyObject*>(code, names_at);
    for (ssize_t i = 0; i < size_of(own); ++i, ++index) {
      auto* value = field<PyObject*>(frame, compat.frame_values + index * 8);
      if (value != nullptr && value->type == &PyCell_Type) value = field<PyObject*>(value, kCellContent);
      if (value == object) PyList_Append(names.get(), tuple_items(own)[i]);
    }
  };
  look(compat.code_local_names);
  if (compat.code_cell_names >= 0) look(compat.code_cell_names);
  if (compat.code_free_names >= 0) look(compat.code_free_names);
  PyObject *name, *value;
  ssize_t position = 0;
  auto* globals = field<PyObject*>(frame, compat.frame_globals);
  while (PyDict_Next(globals, &position, &name, &value) != 0)
    if (value == object) PyList_Append(names.get(), name);
  return names.release();
}

PyObject* shadow_close(PyObject*, PyObject* handle) {
  ShadowPage* shadow = shadow_of(handle);
  if (shadow == nullptr) return none();
  KeepException keep;
  end(shadow);
  shadows().erase(shadow);
  if (shadow->page != nullptr && !shadow->exposed) runtime->memory_free(shadow->page);
  delete shadow;
  return none();
}

}  // namespace

PyMethodDef shadow_functions[] = {
    {"_shadow_open", reinterpret_cast<void*>(shadow_open), kMethFastcall | kMethKeywords, nullptr},
    {"_shadow_store", reinterpret_cast<void*>(shadow_store), kMethFastcall | kMethKeywords, nullptr},
    {"_shadow_read", reinterpret_cast<void*>(shadow_read), kMethO, nullptr},
    {"_shadow_memory", reinterpret_cast<void*>(shadow_memory), kMethO, nullptr},
    {"_bound_names", reinterpret_cast<void*>(bound_names), kMethO, nullptr},
    {"_shadow_close", reinterpret_cast<void*>(shadow_close), kMethO, nullptr},
    {nullptr, nullptr, 0, nullptr}};

static Ref proxy_type() {
  const Ref package(PyImport_ImportModule("watcher"));
  return package ? Ref(PyObject_GetAttrString(package.get(), "WatchProxy")) : Ref();
}

bool is_proxy(const PyObject* object) {
  PyObject* module = PyDict_GetItemString(loaded_modules(), "watcher._proxy");
  PyObject* names = module != nullptr && module->type == &PyModule_Type ? module_dict(module) : nullptr;
  return names != nullptr && PyDict_GetItemString(names, "WatchProxy") == object->type;
}

PyObject* close_proxy(PyObject* proxy) {
  const Ref shadow(PyObject_GetAttrString(proxy, "_watcher_shadow"));
  if (!shadow || shadow.get() == &_Py_NoneStruct) return shadow ? none() : nullptr;
  return PyObject_CallMethod(shadow.get(), "close", nullptr);
}

void unwatch_shadows(std::string_view name) {
  for (ShadowPage* shadow : shadows())
    if (shadow->name == name) end(shadow);
}

PyObject* make_proxy_block(PyObject* value, const WatchRequest* request) {
  const Ref proxy(make_proxy(value, request));
  const Ref shadow(proxy ? PyObject_GetAttrString(proxy.get(), "_watcher_shadow") : nullptr);
  return shadow ? PyTuple_Pack(2, proxy.get(), shadow.get()) : nullptr;
}

PyObject* make_proxy(PyObject* value, const WatchRequest* request) {
  const Ref type = proxy_type();
  const Ref handle(type ? open(value, request) : nullptr);
  return handle ? PyObject_CallMethod(type.get(), "_over", "OO", value, handle.get()) : nullptr;
}

}  // namespace watcher::python

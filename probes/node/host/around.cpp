#include "probes/node/host/around.h"

#include <dlfcn.h>

#include <vector>

#include "probes/node/addon.h"
#include "probes/node/events/emit.h"
#include "probes/node/host/napi_values.h"
#include "probes/node/memory/arrays.h"

namespace watcher::node {
namespace {

/// N-API's own calls throw an error anew, at the place of the caller; V8's leave it alone. Handles are words: V8's and
/// N-API's are the same.
struct CallApi {
  void* (*isolate)();
  napi_value (*context)(void* isolate);
  napi_value (*call)(napi_value function, napi_value context, napi_value receiver, int count, napi_value* arguments);
};

template <class Function>
bool find(Function* function, const char* name) {
  *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  return *function != nullptr;
}

const CallApi* call_api() {
  static CallApi api;
  static const bool whole = find(&api.isolate, "_ZN2v87Isolate13TryGetCurrentEv") &&
                            find(&api.context, "_ZN2v87Isolate17GetCurrentContextEv") &&
                            find(&api.call, "_ZN2v88Function4CallENS_5LocalINS_7ContextEEENS1_INS_5ValueEEEiPS5_");
  return whole ? &api : nullptr;
}

/// As long as the function made of it.
struct Wrapped {
  napi_ref original;
  napi_ref before;
  napi_ref after;
  bool in_span = false;  // what is in front sets the thread's span, for this call only
  int stored = 0;        // of instead(): the argument that is stored to; -1: `this`
};

napi_value referred(napi_env env, napi_ref reference) {
  napi_value value = nullptr;
  if (reference != nullptr) napi_get_reference_value(env, reference, &value);
  return value;
}

struct Call {
  napi_value receiver = nullptr;
  std::vector<napi_value> arguments;
  Wrapped* wrapped = nullptr;

  Call(napi_env env, napi_callback_info info) : arguments(8) {
    std::size_t count = arguments.size();
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, arguments.data(), &receiver, &data);
    const bool all = count <= arguments.size();
    arguments.resize(count);
    if (!all) napi_get_cb_info(env, info, &count, arguments.data(), nullptr, nullptr);
    wrapped = static_cast<Wrapped*>(data);
  }
};

/// What is in front may give other arguments: an array. It never throws.
void run_before(napi_env env, Call* call) {
  napi_value result = nullptr;
  const napi_value before = referred(env, call->wrapped->before);
  if (napi_call_function(env, call->receiver, before, call->arguments.size(), call->arguments.data(), &result) !=
      napi_ok)
    return;
  bool replaced = false;
  if (napi_is_array(env, result, &replaced) != napi_ok || !replaced) return;
  std::uint32_t count = 0;
  napi_get_array_length(env, result, &count);
  call->arguments.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) napi_get_element(env, result, i, &call->arguments[i]);
}

napi_value call_original(napi_env env, Call* call) {
  const CallApi* api = call_api();
  return api->call(referred(env, call->wrapped->original), api->context(api->isolate()), call->receiver,
                   static_cast<int>(call->arguments.size()), call->arguments.data());
}

napi_value run(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const SpanBlob outer = thread_span();
  run_before(env, &call);
  const napi_value result = call_original(env, &call);
  if (call.wrapped->in_span) thread_span() = outer;
  if (result == nullptr) return nullptr;  // it threw
  if (const napi_value after = referred(env, call.wrapped->after)) {
    napi_value seen[] = {call.receiver, result};
    napi_value ignored = nullptr;
    napi_call_function(env, call.receiver, after, 2, seen, &ignored);
  }
  return result;
}

napi_value run_instead(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const auto which = static_cast<std::size_t>(call.wrapped->stored);
  const napi_value target = call.wrapped->stored < 0        ? call.receiver
                            : which < call.arguments.size() ? call.arguments[which]
                                                            : nullptr;
  napi_value done = nullptr, result = nullptr;
  bool is_done = false;
  if (may_be_watched(env, target) &&
      napi_call_function(env, call.receiver, referred(env, call.wrapped->before), call.arguments.size(),
                         call.arguments.data(), &done) == napi_ok &&
      napi_is_array(env, done, &is_done) == napi_ok && is_done)
    napi_get_element(env, done, 0, &result);
  return is_done ? result : call_original(env, &call);
}

napi_ref refer(napi_env env, napi_value value) {
  napi_valuetype kind = napi_undefined;
  napi_ref reference = nullptr;
  if (value != nullptr) napi_typeof(env, value, &kind);
  if (kind == napi_function) napi_create_reference(env, value, 1, &reference);
  return reference;
}

void forget(napi_env env, void* data, void*) {
  auto* wrapped = static_cast<Wrapped*>(data);
  for (napi_ref reference : {wrapped->original, wrapped->before, wrapped->after})
    if (reference != nullptr) napi_delete_reference(env, reference);
  delete wrapped;
}

/// around(original, before, after, inSpan): `original` with `before(...arguments)` in front, called with the same
/// `this`; what it returns, if an array, are the arguments then. `after(this, result)` follows a call that returned.
/// With `inSpan`, a span that is set in front ends with the call.
napi_value make_around(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  if (call_api() == nullptr) return arguments.values[0];
  bool in_span = false;
  if (arguments.count > 3) napi_get_value_bool(env, arguments.values[3], &in_span);
  auto* wrapped = new Wrapped{refer(env, arguments.values[0]), refer(env, arguments.values[1]),
                              refer(env, arguments.values[2]), in_span};
  napi_value function = nullptr;
  napi_create_function(env, nullptr, 0, run, wrapped, &function);
  napi_add_finalizer(env, function, wrapped, forget, nullptr, nullptr);
  return function;
}

/// instead(original, other, stored): `other(...arguments)` in the place of `original`, where the argument at `stored`
/// (-1: `this`) lies in watched memory; what it returns, in an array, is the result. Without one `original` is called.
napi_value make_instead(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  if (call_api() == nullptr) return arguments.values[0];
  auto* wrapped = new Wrapped{refer(env, arguments.values[0]), refer(env, arguments.values[1]), nullptr, false,
                              static_cast<int>(number_of(env, arguments.values[2], -1))};
  napi_value function = nullptr;
  napi_create_function(env, nullptr, 0, run_instead, wrapped, &function);
  napi_add_finalizer(env, function, wrapped, forget, nullptr, nullptr);
  return function;
}

}  // namespace

void add_around(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {{"around", make_around}, {"instead", make_instead}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node

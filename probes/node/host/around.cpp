#include "probes/node/host/around.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>
#include <string_view>
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
  void (*begin_try)(void* block, void* isolate);
  void (*end_try)(void* block);
  bool (*has_terminated)(const void* block);
  void (*terminate)(void* isolate);
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
                            find(&api.call, "_ZN2v88Function4CallENS_5LocalINS_7ContextEEENS1_INS_5ValueEEEiPS5_") &&
                            find(&api.begin_try, "_ZN2v88TryCatchC1EPNS_7IsolateE") &&
                            find(&api.end_try, "_ZN2v88TryCatchD1Ev") &&
                            find(&api.has_terminated, "_ZNK2v88TryCatch13HasTerminatedEv") &&
                            find(&api.terminate, "_ZN2v87Isolate18TerminateExecutionEv");
  return whole ? &api : nullptr;
}

constexpr int kThis = -1;
constexpr int kNothing = -2;  // it is called always

/// Calls a function of ours; nullptr: it threw, and the program goes on as without us. That a thread or a script with a
/// time limit is to end may be noticed in there, and N-API's calls forget it.
napi_value call_ours(napi_value function, napi_value receiver, std::size_t count, napi_value* arguments) {
  const CallApi* api = call_api();
  void* isolate = api->isolate();
  alignas(16) char block[256];  // a v8::TryCatch, of some 50 bytes
  api->begin_try(block, isolate);
  const napi_value result = api->call(function, api->context(isolate), receiver, static_cast<int>(count), arguments);
  const bool terminated = api->has_terminated(block);
  api->end_try(block);
  if (terminated) api->terminate(isolate);
  return result;
}

/// As long as the function made of it.
struct Wrapped {
  napi_ref original;
  napi_ref before;
  napi_ref after;
  bool in_span = false;  // what is in front sets the thread's span, for this call only
  int stored = 0;        // of instead(): the argument that is stored to; kThis, or kNothing
  std::vector<std::string> words =
      {};  // not empty: what is in front is called where the first argument is one of these
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

bool concerns(napi_env env, const Call& call) {
  if (call.wrapped->words.empty()) return true;
  char first[32];  // longer than every word
  std::size_t bytes = 0;
  if (call.arguments.empty() ||
      napi_get_value_string_utf8(env, call.arguments[0], first, sizeof first, &bytes) != napi_ok)
    return false;
  const std::string_view asked(first, bytes);
  return std::ranges::any_of(call.wrapped->words, [&](const std::string& word) { return word == asked; });
}

/// What is in front may give other arguments: an array. Should it fail, the program goes on as without us.
void run_before(napi_env env, Call* call) {
  const napi_value before = referred(env, call->wrapped->before);
  if (before == nullptr) return;
  const napi_value result = call_ours(before, call->receiver, call->arguments.size(), call->arguments.data());
  bool replaced = false;
  if (result == nullptr || napi_is_array(env, result, &replaced) != napi_ok || !replaced) return;
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
  if (concerns(env, call)) run_before(env, &call);
  const napi_value result = call_original(env, &call);
  if (call.wrapped->in_span) thread_span() = outer;
  if (result == nullptr) return nullptr;  // it threw
  if (const napi_value after = referred(env, call.wrapped->after)) {
    napi_value seen[] = {call.receiver, result};
    call_ours(after, call.receiver, 2, seen);
  }
  return result;
}

napi_value run_instead(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const auto which = static_cast<std::size_t>(call.wrapped->stored);
  const napi_value target = call.wrapped->stored == kThis   ? call.receiver
                            : which < call.arguments.size() ? call.arguments[which]
                                                            : nullptr;
  napi_value done = nullptr, result = nullptr;
  bool is_done = false;
  if (call.wrapped->stored == kNothing || may_be_watched(env, target))
    done = call_ours(referred(env, call.wrapped->before), call.receiver, call.arguments.size(), call.arguments.data());
  if (done != nullptr && napi_is_array(env, done, &is_done) == napi_ok && is_done)
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

napi_value make_led(napi_env env, const char* name, Wrapped* wrapped) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, run, wrapped, &function);
  napi_add_finalizer(env, function, wrapped, forget, nullptr, nullptr);
  return function;
}

/// around(original, before, after, inSpan): `original` with `before(...arguments)` in front, called with the same
/// `this`; what it returns, if an array, are the arguments then. `after(this, result)` follows a call that returned.
/// With `inSpan`, a span that is set in front ends with the call.
napi_value make_around(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  if (call_api() == nullptr) return arguments.values[0];
  bool in_span = false;
  if (arguments.count > 3) napi_get_value_bool(env, arguments.values[3], &in_span);
  return make_led(env, nullptr,
                  new Wrapped{refer(env, arguments.values[0]), refer(env, arguments.values[1]),
                              refer(env, arguments.values[2]), in_span});
}

std::vector<std::string> words_of(napi_env env, napi_value list) {
  std::uint32_t count = 0;
  napi_get_array_length(env, list, &count);
  std::vector<std::string> words(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    napi_value word = nullptr;
    napi_get_element(env, list, i, &word);
    words[i] = text_of(env, word);
  }
  return words;
}

void set_prototype(napi_env env, napi_value object, napi_value prototype) {
  napi_value global = nullptr, kind = nullptr, set = nullptr, ignored = nullptr;
  napi_get_global(env, &global);
  napi_get_named_property(env, global, "Object", &kind);
  napi_get_named_property(env, kind, "setPrototypeOf", &set);
  napi_value both[] = {object, prototype};
  napi_call_function(env, kind, set, 2, both, &ignored);
}

/// Stack traces name a method by the property that holds it, which V8 looks for in the prototypes, too: in an object of
/// ours between `owner` and its prototype.
void keep_original(napi_env env, napi_value owner, napi_value name, napi_value original) {
  static constexpr napi_type_tag kOurs{0x7761746368657231, 0x6f726967696e616c};
  napi_value behind = nullptr;
  bool ours = false;
  napi_get_prototype(env, owner, &behind);
  napi_check_object_type_tag(env, behind, &kOurs, &ours);
  if (!ours) {
    const napi_value prototype = behind;
    napi_create_object(env, &behind);
    napi_type_tag_object(env, behind, &kOurs);
    set_prototype(env, behind, prototype);
    set_prototype(env, owner, behind);
  }
  bool had = false;
  napi_has_own_property(env, behind, name, &had);
  if (!had) napi_set_property(env, behind, name, original);
}

/// lead(owner, name, before, after, words): puts around(owner[name], before, after) in its place, unseen by stack
/// traces, and gives the original. With `words`, `before` is called only where one of them is the first argument.
napi_value lead(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  const auto& [owner, name, before, after, words] = arguments.values;
  napi_value original = nullptr;
  napi_get_property(env, owner, name, &original);
  if (call_api() == nullptr) return original;
  auto* wrapped = new Wrapped{refer(env, original), refer(env, before), refer(env, after)};
  if (arguments.count > 4) wrapped->words = words_of(env, words);
  const napi_value led = make_led(env, nullptr, wrapped);
  for (const char* kept : {"name", "length"}) {
    napi_value value = nullptr;
    napi_get_named_property(env, original, kept, &value);
    const napi_property_descriptor same{kept, nullptr, nullptr, nullptr, nullptr, value, napi_configurable, nullptr};
    napi_define_properties(env, led, 1, &same);
  }
  keep_original(env, owner, name, original);
  napi_set_property(env, owner, name, led);
  return original;
}

/// instead(original, other, stored): `other(...arguments)` in the place of `original`, where the argument at `stored`
/// (-1: `this`) lies in watched memory (-2: wherever); what it returns, in an array, is the result. Without one
/// `original` is called.
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
  static constexpr BindingFunction kFunctions[] = {{"around", make_around}, {"lead", lead}, {"instead", make_instead}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node

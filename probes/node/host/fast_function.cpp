#include "probes/node/host/fast_function.h"

#include <dlfcn.h>

#include "probes/node/host/v8_api.h"

namespace watcher::node {
namespace {

// v8-fast-api-calls.h of V8 11.3 to 13.6. Before, the numbers of types are others, and optimised code calls no C.
enum class CType : std::uint8_t { kVoid = 0, kUint32 = 4, kFloat64 = 8, kV8Value = 10 };
struct CTypeInfo {
  CType type;
  std::uint8_t sequence = 0;
  std::uint8_t flags = 0;
};
struct CFunctionInfo {
  CTypeInfo result;
  std::uint8_t int64_representation;
  std::uint32_t count;
  const CTypeInfo* arguments;
};
struct CFunction {
  const void* address;
  const CFunctionInfo* info;
};
static_assert(sizeof(CTypeInfo) == 3 && sizeof(CFunctionInfo) == 16);

constexpr int kThrowWhenConstructed = 0;

constinit const CTypeInfo kStoreArguments[] = {
    {CType::kV8Value}, {CType::kUint32}, {CType::kUint32}, {CType::kFloat64}, {CType::kFloat64}};
constinit const CFunctionInfo kInfos[] = {
    {{CType::kVoid}, 0, 1, kStoreArguments},
    {{CType::kVoid}, 0, 5, kStoreArguments},
    {{CType::kUint32}, 0, 1, kStoreArguments},
};

struct FunctionApi {
  void* (*isolate)();
  void* (*context)(void* isolate);
  void* (*make)(void* isolate, SlowCall call, void* data, void* signature, int length, int constructor, int side_effect,
                const CFunction* fast, std::uint16_t, std::uint16_t, std::uint16_t);
  napi_value (*instance)(void* made, void* context);
};

template <class Function>
bool find(Function* function, const char* name) {
  *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  return *function != nullptr;
}

const FunctionApi* function_api() {
  static FunctionApi api;
  static const bool whole =
      find(&api.isolate, "_ZN2v87Isolate13TryGetCurrentEv") &&
      find(&api.context, "_ZN2v87Isolate17GetCurrentContextEv") &&
      find(&api.make,
           "_ZN2v816FunctionTemplate3NewEPNS_7IsolateEPFvRKNS_20FunctionCallbackInfoINS_5ValueEEEENS_5LocalIS4_EENSA_"
           "INS_9SignatureEEEiNS_19ConstructorBehaviorENS_14SideEffectTypeEPKNS_9CFunctionEttt") &&
      find(&api.instance, "_ZN2v816FunctionTemplate11GetFunctionENS_5LocalINS_7ContextEEE");
  return whole ? &api : nullptr;
}

}  // namespace

constinit thread_local napi_env thread_env = nullptr;

void add_function(napi_value binding, const char* name, SlowCall slow, FastCall fast) {
  const FunctionApi* api = function_api();
  if (api == nullptr || !load_v8_api()) return;
  const bool old = v8.version()[0] == '1' && v8.version()[1] == '0';
  const CFunction as_c{fast.address, &kInfos[fast.kind]};
  void* isolate = api->isolate();
  void* made = api->make(isolate, slow, nullptr, nullptr, 0, kThrowWhenConstructed, 0,
                         fast.address != nullptr && !old ? &as_c : nullptr, 0, 0, 0);
  napi_set_named_property(thread_env, binding, name, api->instance(made, api->context(isolate)));
}

}  // namespace watcher::node

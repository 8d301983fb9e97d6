#include "probes/node/host/v8_api.h"

#include <dlfcn.h>

namespace watcher::node {

constinit V8Api v8 = {};

namespace {

template <class Function>
bool find(Function* function, const char* name) {
  *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  return *function != nullptr;
}

}  // namespace

bool load_v8_api() {
  static const bool loaded = [] {
    const bool by_slot = find(&v8.globalize_slot, "_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEPm");
    const bool by_value = find(&v8.globalize_value, "_ZN2v812api_internal18GlobalizeReferenceEPNS_8internal7IsolateEm");
    return (by_slot || by_value) && find(&v8.current_isolate, "_ZN2v87Isolate13TryGetCurrentEv") &&
           find(&v8.sample, "_ZN2v87Isolate14GetStackSampleERKNS_13RegisterStateEPPvmPNS_10SampleInfoE") &&
           find(&v8.listen,
                "_ZN2v87Isolate22SetJitCodeEventHandlerENS_19JitCodeEventOptionsEPFvPKNS_12JitCodeEventEE") &&
           find(&v8.version, "_ZN2v82V810GetVersionEv") && find(&v8.script_id, "_ZNK2v813UnboundScript5GetIdEv") &&
           find(&v8.line_number, "_ZN2v813UnboundScript13GetLineNumberEi");
  }();
  return loaded;
}

}  // namespace watcher::node

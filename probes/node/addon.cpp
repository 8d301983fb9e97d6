#include "probes/node/addon.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>

#include "probes/node/context/sql.h"
#include "probes/node/events/emit.h"
#include "probes/node/host/around.h"
#include "probes/node/host/fast_function.h"
#include "probes/node/host/napi_values.h"
#include "probes/node/loading/main_script.h"
#include "probes/node/memory/arrays.h"
#include "probes/node/names/stores.h"
#include "probes/node/objects/records.h"
#include "probes/node/positions/code_map.h"
#include "probes/node/positions/heap_words.h"
#include "probes/node/positions/positions.h"
#include "probes/node/positions/stack_place.h"

namespace watcher::node {
namespace {

// process-lifetime
constinit std::string* own_option = nullptr;

Scope scope_of(const std::string& name) {
  return name == "local" ? Scope::kLocal : name == "global" ? Scope::kGlobal : Scope::kUnknown;
}

/// optionsWithoutUs(text): what the user has in NODE_OPTIONS; null: no such variable. Undefined: we are not in there.
napi_value give_options_without_us(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::string text = text_of(env, arguments.values[0]);
  if (!text.starts_with(*own_option)) return nullptr;
  if (text.size() > own_option->size()) return make_text(env, std::string_view(text).substr(own_option->size() + 1));
  napi_value none = nullptr;
  napi_get_null(env, &none);
  return none;
}

/// ownOption(): that has node load boot.cjs.
napi_value give_own_option(napi_env env, napi_callback_info) {
  return make_text(env, *own_option);
}

/// asked(): is this run to be watched, whatever the program says?
napi_value give_asked(napi_env env, napi_callback_info) {
  return make_bool(env, runtime->asked() != 0);
}

/// option(name): its text, or undefined.
napi_value give_option(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const char* value = runtime->option(text_of(env, arguments.values[0]).c_str());
  return value != nullptr ? make_text(env, value) : nullptr;
}

/// hasRules(): does the configuration name variables?
napi_value give_has_rules(napi_env env, napi_callback_info) {
  return make_bool(env, runtime->has_rules() != 0);
}

/// log(level, text)
napi_value write_log(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  runtime->log(static_cast<watcher_log_level>(number_of(env, arguments.values[0])), "%s",
               text_of(env, arguments.values[1]).c_str());
  return nullptr;
}

/// start(): the session; false when it cannot run.
napi_value start_session(napi_env env, napi_callback_info) {
  return make_bool(env, ensure_session());
}

/// variable(name, scope, owner = ''): a reference for events of an object; 0 without a session.
napi_value make_variable(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  if (!ensure_session()) return make_number(env, 0);
  return make_number(env, intern_variable(text_of(env, arguments.values[0]), text_of(env, arguments.values[2]),
                                          scope_of(text_of(env, arguments.values[1])), {}));
}

/// place(function, file, line): a reference; a negative line is one that may be wrong.
napi_value make_place(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  if (!ensure_session()) return make_number(env, 0);
  return make_number(env, intern_place(text_of(env, arguments.values[0]), text_of(env, arguments.values[1]),
                                       static_cast<int>(number_of(env, arguments.values[2]))));
}

/// placeHere(): of the JavaScript code that called; 0 when it is not known.
napi_value make_place_here(napi_env env, napi_callback_info) {
  return make_number(env, ensure_session() ? place_here() : 0);
}

/// threadName(name): what this thread's events say from now on.
napi_value set_thread_name(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!ensure_session()) return nullptr;
  context_parts().thread_name = ring.dictionary().intern(text_of(env, arguments.values[0]));
  renew_thread_context();
  return nullptr;
}

/// stats(): what happened so far.
napi_value give_stats(napi_env env, napi_callback_info) {
  watcher_stats stats{};
  runtime->stats(&stats);
  napi_value object = nullptr;
  napi_create_object(env, &object);
  const auto put = [&](const char* name, napi_value value) { napi_set_named_property(env, object, name, value); };
  put("emitted", make_number(env, static_cast<double>(stats.emitted)));
  put("dropped", make_number(env, static_cast<double>(stats.dropped)));
  put("blocked", make_number(env, static_cast<double>(stats.blocked)));
  put("neighbourTraps", make_number(env, static_cast<double>(stats.neighbour_traps)));
  put("kernelRedirects", make_number(env, static_cast<double>(stats.kernel_redirects)));
  put("singleSteps", make_number(env, static_cast<double>(stats.single_steps)));
  put("regions", make_number(env, static_cast<double>(stats.regions)));
  put("engine", make_text(env, stats.engine));
  put("engineReason", make_text(env, stats.engine_reason));
  return object;
}

/// listen(): V8 tells of the code it makes; false when positions cannot be had.
napi_value listen(napi_env env, napi_callback_info) {
  const bool listening = listen_to_code();
  if (listening) note_thread_isolate();
  return make_bool(env, listening);
}

/// knownTiers(): of which compilers of V8's the lines can be had, besides TurboFan.
napi_value give_known_tiers(napi_env env, napi_callback_info) {
  const HeapLayout* layout = load_v8_api() ? heap_layout() : nullptr;
  napi_value object = nullptr;
  napi_create_object(env, &object);
  napi_set_named_property(env, object, "baseline", make_bool(env, layout != nullptr));
  napi_set_named_property(env, object, "maglev", make_bool(env, layout != nullptr && layout->maglev));
  return object;
}

/// noInlining(): V8's flags are set so.
napi_value set_no_inlining(napi_env, napi_callback_info) {
  expect_no_inlining();
  return nullptr;
}

constinit std::atomic<bool> hooks_are_ours{false};

/// startHooks(): the thread that module.register() starts before 22.15 is there because of us. False: it must not be,
/// for where address space is limited V8 may end the process for want of room for that thread's isolate.
napi_value start_hooks(napi_env env, napi_callback_info) {
  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    static std::atomic<bool> said{false};
    if (!said.exchange(true))
      runtime->log(
          WATCHER_WARNING,
          "the address space is limited (ulimit -v): names in ES modules are not watched, and import 'watcher' "
          "is not found");
    return make_bool(env, false);
  }
  hooks_are_ours.store(true, std::memory_order_relaxed);
  return make_bool(env, true);
}

/// inOurHooks(): may this be that thread? A worker has a port to its parent.
napi_value give_in_our_hooks(napi_env env, napi_callback_info) {
  return make_bool(env, hooks_are_ours.load(std::memory_order_relaxed) && gettid() != getpid());
}

/// Hooks of `import` in the thread itself, before which we follow no `import` that nobody asked for.
bool has_early_hooks(napi_env env) {
  const napi_node_version* version = nullptr;
  if (napi_get_node_version(env, &version) != napi_ok) return false;
  const auto least = [&](std::uint32_t minor) { return version->minor >= minor; };
  return version->major > 23 || (version->major == 23 && least(5)) || (version->major == 22 && least(15));
}

/// mentions(eval, main, flags): what the program says of us (main_script.h); `eval` is its text, if it is not the file
/// `main`. Undefined: not known. Less work than in JavaScript, for programs that are none of our business.
napi_value give_mentions(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  const std::string text = text_of(env, arguments.values[0]), main = text_of(env, arguments.values[1]);
  const std::string flags = text_of(env, arguments.values[2]);
  static constinit std::atomic<int> program_said{0};
  std::optional<int> said;
  if (!text.empty())
    said = mentions_in(text, flags);
  else if (main.starts_with('/'))
    said = mentions(main, flags);
  else if (gettid() != getpid())  // a worker, whose script is not known yet
    said = program_said.load(std::memory_order_relaxed) | kImports | kImportsWorkers;
  if (!said) return nullptr;
  if ((*said & kMentionsUs) != 0) program_said.store(kMentionsUs, std::memory_order_relaxed);
  // without those hooks an import of ours fails all the same
  return make_number(env, has_early_hooks(env) ? *said : *said & ~kImports);
}

/// isInert(said): is the program known to ask for nothing?
napi_value give_is_inert(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  napi_valuetype type = napi_undefined;
  const bool silent = napi_typeof(env, arguments.values[0], &type) == napi_ok && type == napi_number &&
                      number_of(env, arguments.values[0]) == 0;
  return make_bool(env, silent && runtime->asked() == 0 && runtime->has_rules() == 0 &&
                            !hooks_are_ours.load(std::memory_order_relaxed));
}

void leave_environment(void*) {
  forget_thread_isolate();
  forget_isolate();
}

/// complete(): what only a program needs that is watched.
napi_value complete_binding(napi_env env, napi_callback_info info) {
  static constexpr BindingFunction kFunctions[] = {{"start", start_session},
                                                   {"variable", make_variable},
                                                   {"place", make_place},
                                                   {"placeHere", make_place_here},
                                                   {"threadName", set_thread_name},
                                                   {"stats", give_stats},
                                                   {"listen", listen},
                                                   {"noInlining", set_no_inlining},
                                                   {"knownTiers", give_known_tiers}};
  napi_value binding = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, &binding, nullptr);
  add_functions(env, binding, kFunctions);
  add_records(env, binding);
  add_stores(env, binding);
  add_stack_place(binding);
  add_sql(env, binding);
  add_memory_functions(env, binding);
  return nullptr;
}

napi_value fill_binding(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {{"optionsWithoutUs", give_options_without_us},
                                                   {"ownOption", give_own_option},
                                                   {"isInert", give_is_inert},
                                                   {"asked", give_asked},
                                                   {"option", give_option},
                                                   {"hasRules", give_has_rules},
                                                   {"log", write_log},
                                                   {"mentions", give_mentions},
                                                   {"startHooks", start_hooks},
                                                   {"inOurHooks", give_in_our_hooks},
                                                   {"complete", complete_binding}};
  thread_env = env;
  add_functions(env, binding, kFunctions);
  add_around(env, binding);
  napi_add_env_cleanup_hook(env, leave_environment, nullptr);
  return binding;
}

}  // namespace

void offer_addon(const std::string& own) {
  own_option = new std::string(own);
  static napi_module module{.nm_version = NAPI_MODULE_VERSION,
                            .nm_flags = 0,
                            .nm_filename = "watcher_node.so",
                            .nm_register_func = fill_binding,
                            .nm_modname = "watcher",
                            .nm_priv = nullptr,
                            .reserved = {}};
  napi_module_register(&module);
}

}  // namespace watcher::node

#include "probes/node/positions/stack_place.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

#include <string>
#include <unordered_map>

#include "probes/node/events/emit.h"
#include "probes/node/host/fast_function.h"
#include "probes/node/host/napi_values.h"
#include "probes/node/host/v8_api.h"
#include "probes/node/positions/positions.h"

namespace watcher::node {
namespace {

/// v8::Location: returned in one register.
struct Location {
  int line, column;  // counted from 0
};

/// Handles are words: V8's and N-API's are the same.
struct StackApi {
  void* (*isolate)();
  napi_value (*trace)(void* isolate, int frames, int options);
  int (*frame_count)(napi_value trace);
  napi_value (*frame)(napi_value trace, void* isolate, std::uint32_t index);
  Location (*location)(napi_value frame);
  int (*script_id)(napi_value frame);
  napi_value (*script_name)(napi_value frame);
  napi_value (*function_name)(napi_value frame);
};

template <class Function>
bool find(Function* function, const char* name) {
  *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  return *function != nullptr;
}

const StackApi* stack_api() {
  static StackApi api;
  static const bool whole =
      find(&api.isolate, "_ZN2v87Isolate13TryGetCurrentEv") &&
      find(&api.trace, "_ZN2v810StackTrace17CurrentStackTraceEPNS_7IsolateEiNS0_17StackTraceOptionsE") &&
      find(&api.frame_count, "_ZNK2v810StackTrace13GetFrameCountEv") &&
      find(&api.frame, "_ZNK2v810StackTrace8GetFrameEPNS_7IsolateEj") &&
      find(&api.location, "_ZNK2v810StackFrame11GetLocationEv") &&
      find(&api.script_id, "_ZNK2v810StackFrame11GetScriptIdEv") &&
      find(&api.script_name, "_ZNK2v810StackFrame13GetScriptNameEv") &&
      find(&api.function_name, "_ZNK2v810StackFrame15GetFunctionNameEv");
  return whole ? &api : nullptr;
}

constexpr int kDetailed = 0x7f;
constexpr int kFewFrames = 3;  // a trap's, what tells, the caller's
constexpr int kManyFrames = 32;

/// What is known of scripts and of lines in them, by the isolate's own numbers.
struct Known {
  std::unordered_map<int, bool> ours;
  std::unordered_map<std::uint64_t, DictionaryRef> places;
};

Known& known() {
  static thread_local Known table;
  return table;
}

const std::string& own_directory() {
  static const std::string directory = [] {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(stack_api), &info) == 0 || info.dli_fname == nullptr) return std::string();
    char resolved[PATH_MAX];
    const std::string path(realpath(info.dli_fname, resolved) != nullptr ? resolved : info.dli_fname);
    return path.substr(0, path.rfind('/') + 1);
  }();
  return directory;
}

bool is_ours(const StackApi& api, napi_env env, napi_value frame) {
  const int script = api.script_id(frame);
  const auto [entry, fresh] = known().ours.try_emplace(script, false);
  if (!fresh) return entry->second;
  const napi_value name = api.script_name(frame);
  const std::string file = name != nullptr ? text_of(env, name) : std::string();
  return entry->second = file.empty() || file.starts_with(own_directory());
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string path_of(std::string name) {
  static constexpr std::string_view kUrl = "file://";
  if (!name.starts_with(kUrl)) return name;
  std::string path;
  for (std::size_t i = kUrl.size(); i < name.size(); ++i) {
    const bool escaped =
        name[i] == '%' && i + 2 < name.size() && hex_digit(name[i + 1]) >= 0 && hex_digit(name[i + 2]) >= 0;
    path += escaped ? static_cast<char>(hex_digit(name[i + 1]) * 16 + hex_digit(name[i + 2])) : name[i];
    if (escaped) i += 2;
  }
  return path;
}

/// A module's own code has no name, and is called by node's loader.
bool is_module_body(const StackApi& api, napi_env env, napi_value caller) {
  const napi_value name = caller != nullptr ? api.script_name(caller) : nullptr;
  return name != nullptr && text_of(env, name).starts_with("node:internal/modules/");
}

std::string function_at(const StackApi& api, napi_env env, napi_value frame, napi_value caller) {
  const napi_value name = api.function_name(frame);
  const std::string function = name != nullptr ? text_of(env, name) : std::string();
  if (!function.empty()) return function;
  return is_module_body(api, env, caller) ? "<module>" : "<anonymous>";
}

DictionaryRef& known_place(const StackApi& api, napi_value frame, const Location& location, bool certain) {
  const std::uint64_t key = static_cast<std::uint64_t>(api.script_id(frame)) << 40 ^
                            static_cast<std::uint64_t>(location.line) << 16 ^
                            static_cast<std::uint64_t>(location.column & 0x7fff) << 1 ^ (certain ? 0 : 1);
  return known().places[key];
}

struct FoundPlace {
  DictionaryRef place = 0;  // none: no frame of the program is among those asked for, or its caller is needed, too
  int script_id = -1;
};

FoundPlace find_place(const StackApi& api, napi_env env, int most, bool certain) {
  void* isolate = api.isolate();
  const napi_value trace = api.trace(isolate, most, kDetailed);
  const int count = trace != nullptr ? api.frame_count(trace) : 0;
  const auto frame_at = [&](int i) { return api.frame(trace, isolate, static_cast<std::uint32_t>(i)); };
  int i = 0;
  while (i < count && is_ours(api, env, frame_at(i))) ++i;
  if (i == count) return {};
  const napi_value frame = frame_at(i);
  const Location location = api.location(frame);
  DictionaryRef& place = known_place(api, frame, location, certain);
  const int script_id = api.script_id(frame);
  if (place != 0 || (i + 1 == count && count == most)) return {place, script_id};
  const std::string function = function_at(api, env, frame, i + 1 < count ? frame_at(i + 1) : nullptr);
  const int line = location.line + 1;
  place = intern_place(function, path_of(text_of(env, api.script_name(frame))), certain ? line : -line);
  return {place, script_id};
}

/// 0 when there is none. Not `certain`: the event says that the line may be another one.
DictionaryRef calling_place(napi_env env, bool certain) {
  const StackApi* api = stack_api();
  if (api == nullptr || !ring) return 0;
  // a trace costs microseconds, but the same address always gives the same one
  KnownAddress* caller = certain ? program_caller() : nullptr;
  if (caller != nullptr && caller->place != 0) return caller->place;
  FoundPlace found = find_place(*api, env, kFewFrames, certain);
  if (found.place == 0) found = find_place(*api, env, kManyFrames, certain);
  if (caller != nullptr && caller->script_id == found.script_id) caller->place = found.place;
  return found.place;
}

/// callingPlace(certain): a reference for change(), of the innermost frame that is no script of ours.
void give_calling_place(const CallInfo& info) {
  bool certain = true;
  napi_get_value_bool(thread_env, info.argument(0), &certain);
  info.give(calling_place(thread_env, certain));
}

/// The frame that V8 10.2 (node 18, where optimised code calls no C) keeps of a call of ours: behind it are our
/// caller's. The arguments are on the caller's stack. Called by CallApiCallback, the implicit ones lie between them and
/// the frame; by HandleApiCall, V8's own: the new target, the target, their count, padding.
const std::uintptr_t* frame_of_call(const CallInfo& info) {
  constexpr std::ptrdiff_t kImplicit = 6, kReceiver = 1, kOwn = 4, kFrame = 2;
  const std::uintptr_t* first = info.slots - kReceiver;
  return first - kFrame - (first - info.implicit == kImplicit ? kImplicit : kOwn);
}

/// nearPlace(): the same, if it is quickly found; 0: it is not.
void give_near_place_slowly(const CallInfo& info) {
  static const bool has_frame = std::string_view(v8.version()).starts_with("10.2.");
  if (!has_frame || !ring) return info.give(0);
  const std::uintptr_t* frame = frame_of_call(info);
  info.give(place_behind(frame[1], reinterpret_cast<const std::uintptr_t*>(frame[0])));
}

__attribute__((noinline)) std::uint32_t give_near_place(void*) {
  const auto* own = static_cast<const std::uintptr_t*>(__builtin_frame_address(0));
  // read here: the call may be a jump that leaves this frame
  return ring ? place_behind(own[1], reinterpret_cast<const std::uintptr_t*>(own[0])) : 0;
}

}  // namespace

void add_stack_place(napi_value binding) {
  add_function(binding, "callingPlace", give_calling_place);
  add_function(binding, "nearPlace", give_near_place_slowly, FastCall(give_near_place));
}

}  // namespace watcher::node

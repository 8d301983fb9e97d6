#include "probes/node/memory/arrays.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "config/condition.h"
#include "probes/node/addon.h"
#include "probes/node/events/emit.h"
#include "probes/node/host/host_allocator.h"
#include "probes/node/host/host_calls.h"
#include "probes/node/host/napi_values.h"
#include "probes/node/positions/positions.h"

namespace watcher::node {
namespace {

struct Bytes {
  std::byte* base = nullptr;
  std::size_t size = 0;
  std::size_t offset = 0;  // in its buffer
};

struct WatchedRange {
  std::uintptr_t begin, end;
  std::uint32_t variable;
  std::uint8_t scope;
};

// Any thread: V8 frees buffers on threads of its own. Never taken in a fault handler.
std::mutex& ranges_lock() {
  static auto* lock = new std::mutex;  // process-lifetime
  return *lock;
}
auto& ranges() {
  static auto* map = new std::map<std::uint64_t, WatchedRange>;  // by region
  return *map;
}

/// What the garbage collector takes away is no change of a variable, and comes at a time of its own: told, as the
/// initial state is, on request.
Op end_of_collected() {
  static const Op op = std::string_view(runtime->option("record_init")) == "true" ? Op::kFreed : Op::kCount;
  return op;
}

// The runtime knows of whole pages only, not of the blocks on them.
void end_watches(std::uintptr_t begin, std::uintptr_t end) {
  const std::lock_guard guard(ranges_lock());
  std::erase_if(ranges(), [begin, end](const auto& entry) {
    const bool inside = entry.second.begin >= begin && entry.second.begin < end;
    if (inside) runtime->memory_unwatch(entry.first, static_cast<int>(end_of_collected()));
    return inside;
  });
}

Bytes bytes_of(napi_env env, napi_value view) {
  constexpr auto kFloat16Array = static_cast<napi_typedarray_type>(11);
  napi_typedarray_type type = kFloat16Array;  // node 24 has no word for it, and leaves the type as it is
  Bytes bytes;
  void* base = nullptr;
  if (view == nullptr ||
      napi_get_typedarray_info(env, view, &type, &bytes.size, &base, nullptr, &bytes.offset) != napi_ok)
    return {};
  bytes.base = static_cast<std::byte*>(base);
  const bool wide = type == napi_int16_array || type == napi_uint16_array || type == kFloat16Array;
  const bool wider = type == napi_int32_array || type == napi_uint32_array || type == napi_float32_array;
  const bool widest = type == napi_float64_array || type == napi_bigint64_array || type == napi_biguint64_array;
  bytes.size *= widest ? 8 : wider ? 4 : wide ? 2 : 1;
  return bytes;
}

/// Memory on pages without an allocator's books: ours, a mapping of V8's (WebAssembly, resizable buffers), or one that
/// malloc made for this block alone.
bool can_be_watched(const Bytes& bytes) {
  constexpr std::uintptr_t kPageMask = 4095;
  constexpr std::size_t kIsMapped = 2;  // in the size word before a block of glibc's
  constexpr std::size_t kMappedBytes = 128 * 1024;
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.base) - bytes.offset;
  if (in_our_pages(address) || (address & kPageMask) == 0) return true;
  std::size_t size_word = 0;
  if ((address & kPageMask) != 2 * sizeof size_word) return false;
  memcpy(&size_word, bytes.base - bytes.offset - sizeof size_word, sizeof size_word);
  return size_word >= kMappedBytes && (size_word & kIsMapped) != 0;
}

/// isOurs(bytes): can the memory behind this Uint8Array be watched?
napi_value give_is_ours(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return make_bool(env, can_be_watched(bytes_of(env, arguments.values[0])));
}

/// learning(bytes): array buffers of that size, made until learnt(), show where node allocates them.
napi_value start_learning(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!lead_host_allocator()) return make_bool(env, false);
  lead_host_calls();
  when_range_ends(end_watches);
  begin_learning(static_cast<std::size_t>(number_of(env, arguments.values[0])));
  return make_bool(env, true);
}

napi_value stop_learning(napi_env env, napi_callback_info) {
  return make_number(env, static_cast<double>(end_learning()));
}

napi_value set_own_pages(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  bool wanted = false;
  napi_get_value_bool(env, arguments.values[0], &wanted);
  want_own_pages(wanted);
  return nullptr;
}

/// Where watch() was called: names what has no name, and whose variable it is.
struct Caller {
  std::string function, file;
  int line = 0;
};
Caller find_caller() {
  Caller caller;
  PlaceBlob place{};
  const Dictionary& dictionary = ring.dictionary();
  if (!dictionary.read(BlobKind::kPlace, place_here(), &place)) return caller;
  caller.function = dictionary.string(place.function);
  caller.file = dictionary.string(place.file);
  caller.line = place.line < 0 ? -place.line : place.line;
  return caller;
}

/// The region's number, or what is wrong, negative.
double watch_buffer(const watcher_buffer& buffer) {
  const std::uint64_t region = runtime->memory_watch(&buffer);
  if (region == 0) return -errno;
  const auto begin = reinterpret_cast<std::uintptr_t>(buffer.base);
  const std::lock_guard guard(ranges_lock());
  ranges()[region] = {begin, begin + buffer.capacity, buffer.variable, buffer.scope};
  return static_cast<double>(region);
}

/// watchMemory(bytes, name, format, itemBytes, depth, when, sample, maxPerSecond): the region's number, or 0.
napi_value watch_memory(napi_env env, napi_callback_info info) {
  const Arguments<8> arguments(env, info);
  const Bytes bytes = bytes_of(env, arguments.values[0]);
  if (bytes.size == 0 || !ensure_session() || !can_be_watched(bytes)) return make_number(env, 0);
  const Caller caller = find_caller();
  std::string name = text_of(env, arguments.values[1]);
  if (name.empty()) name = caller.file + ":" + std::to_string(caller.line);
  const std::string format = text_of(env, arguments.values[2]);
  const std::string when = text_of(env, arguments.values[5]);
  const auto item_bytes = static_cast<std::uint32_t>(number_of(env, arguments.values[3], 1));
  const VariableTerms terms{.format = format,
                            .item_bytes = item_bytes,
                            .mutation_depth = static_cast<std::uint32_t>(number_of(env, arguments.values[4])),
                            .when = when,
                            .sample = number_of(env, arguments.values[6], 1),
                            .max_per_second = static_cast<std::uint32_t>(number_of(env, arguments.values[7]))};
  const Scope scope = caller.function.empty()         ? Scope::kUnknown
                      : caller.function == "<module>" ? Scope::kGlobal
                                                      : Scope::kLocal;
  const watcher_buffer buffer{.base = bytes.base,
                              .capacity = bytes.size,
                              .live_size = nullptr,
                              .live_start = nullptr,
                              .live_item_bytes = 1,
                              .variable = intern_variable(name, caller.file + "\n" + caller.function, scope, terms),
                              .item_bytes = item_bytes,
                              .scope = static_cast<std::uint8_t>(scope)};
  return make_number(env, watch_buffer(buffer));
}

/// memoryVariable(region): under which it is watched, as rewatchMemory() takes it.
napi_value give_memory_variable(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::lock_guard guard(ranges_lock());
  const auto found = ranges().find(static_cast<std::uint64_t>(number_of(env, arguments.values[0])));
  if (found == ranges().end()) return nullptr;
  return make_number(env, found->second.variable * 4.0 + found->second.scope);
}

/// rewatchMemory(bytes, itemBytes, variable): the number of a region for memory that has grown or moved, or 0.
napi_value rewatch_memory(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  const Bytes bytes = bytes_of(env, arguments.values[0]);
  if (bytes.size == 0 || !can_be_watched(bytes)) return make_number(env, 0);
  const auto variable = static_cast<std::uint64_t>(number_of(env, arguments.values[2]));
  return make_number(env,
                     watch_buffer({.base = bytes.base,
                                   .capacity = bytes.size,
                                   .live_size = nullptr,
                                   .live_start = nullptr,
                                   .live_item_bytes = 1,
                                   .variable = static_cast<std::uint32_t>(variable / 4),
                                   .item_bytes = static_cast<std::uint32_t>(number_of(env, arguments.values[1], 1)),
                                   .scope = static_cast<std::uint8_t>(variable % 4)}));
}

/// unwatchMemory(region): false when it had ended.
napi_value unwatch_memory(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const auto region = static_cast<std::uint64_t>(number_of(env, arguments.values[0]));
  const std::lock_guard guard(ranges_lock());
  if (ranges().erase(region) == 0) return make_bool(env, false);
  runtime->memory_unwatch(region, static_cast<int>(Op::kCount));
  return make_bool(env, true);
}

/// storeMemory(array, offset, values, stores): the values' bytes into the array's memory, as one event. False: not
/// done.
napi_value store_memory(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const Bytes to = bytes_of(env, arguments.values[0]);
  const Bytes from = bytes_of(env, arguments.values[2]);
  const auto offset = static_cast<std::size_t>(number_of(env, arguments.values[1]));
  if (from.size == 0 || offset > to.size || from.size > to.size - offset) return make_bool(env, false);
  const auto stores = static_cast<std::uint64_t>(number_of(env, arguments.values[3], 1));
  const int error =
      runtime->memory_store(to.base + offset, from.base, from.size, stores, place_here(), thread_context());
  return make_bool(env, error == 0);
}

/// checkCondition(text): what is wrong with it, or undefined.
napi_value check_condition(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Result<Condition> compiled = Condition::compile(text_of(env, arguments.values[0]));
  return compiled ? nullptr : make_text(env, compiled.error().message);
}

napi_value pause_memory(napi_env env, napi_callback_info) {
  return make_number(env, runtime->memory_pause());
}

napi_value resume_memory(napi_env env, napi_callback_info) {
  return make_number(env, runtime->memory_resume());
}

}  // namespace

bool may_be_watched(napi_env env, napi_value value) {
  const Bytes bytes = bytes_of(env, value);
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.base);
  const std::lock_guard guard(ranges_lock());
  return std::any_of(ranges().begin(), ranges().end(), [&](const auto& entry) {
    return entry.second.begin < begin + bytes.size && begin < entry.second.end;
  });
}

void add_memory_functions(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {{"isOurs", give_is_ours},
                                                   {"learning", start_learning},
                                                   {"learnt", stop_learning},
                                                   {"ownPages", set_own_pages},
                                                   {"watchMemory", watch_memory},
                                                   {"unwatchMemory", unwatch_memory},
                                                   {"pauseMemory", pause_memory},
                                                   {"resumeMemory", resume_memory},
                                                   {"storeMemory", store_memory},
                                                   {"checkCondition", check_condition},
                                                   {"memoryVariable", give_memory_variable},
                                                   {"rewatchMemory", rewatch_memory}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node

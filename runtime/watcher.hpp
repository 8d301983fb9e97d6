// Watcher's core interface for C++20 programs; see watcher.h, over which it is written, for what each call does, for
// states, threads and errors. Header-only, so that it is compiled by the program's compiler with the program's library.
//
// Calls return false, or nothing, on failure; lastError() has a sentence then. No exceptions but std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "watcher.h"

namespace watcher::core {

/// An element type and a scope, combined by `|`.
enum class EventFlags : std::uint32_t {
  kBytes = WATCHER_BYTES,
  kInt8 = WATCHER_INT8,
  kUInt8 = WATCHER_UINT8,
  kInt16 = WATCHER_INT16,
  kUInt16 = WATCHER_UINT16,
  kInt32 = WATCHER_INT32,
  kUInt32 = WATCHER_UINT32,
  kInt64 = WATCHER_INT64,
  kUInt64 = WATCHER_UINT64,
  kFloat32 = WATCHER_FLOAT32,
  kFloat64 = WATCHER_FLOAT64,
  kBool = WATCHER_BOOL,
  kLocal = WATCHER_LOCAL,
  kGlobal = WATCHER_GLOBAL
};
constexpr EventFlags operator|(EventFlags left, EventFlags right) {
  return static_cast<EventFlags>(static_cast<std::uint32_t>(left) | static_cast<std::uint32_t>(right));
}

/// How many changed bytes an event lists.
struct MutationDepth {
  std::uint32_t bytes = WATCHER_FULL_DEPTH;
  static constexpr MutationDepth full() { return {}; }
};

enum class State {
  kNew = WATCHER_STATE_NEW,
  kInitialized = WATCHER_STATE_INITIALIZED,
  kRunning = WATCHER_STATE_RUNNING,
  kPaused = WATCHER_STATE_PAUSED,
  kStopped = WATCHER_STATE_STOPPED,
  kFailed = WATCHER_STATE_FAILED
};

using Stats = watcher_stats;

inline bool initialize(const std::string& output_dir = {}, std::size_t max_queue_size = 0) {
  return watcher_initialize(output_dir.c_str(), max_queue_size) == WATCHER_OK;
}

/// The variable's id; empty on failure.
inline std::string registerPage(void* page_base, std::size_t page_size, const std::string& name,
                                EventFlags flags = EventFlags::kBytes, const MutationDepth& mutation_depth = {}) {
  char id[WATCHER_ID_BYTES] = {};
  const auto bits = static_cast<std::uint32_t>(flags);
  const int code = watcher_register(page_base, page_size, name.c_str(), bits, mutation_depth.bytes, id);
  return code == WATCHER_OK ? std::string(id) : std::string();
}

/// The element type of a number, or of an array of numbers; bytes for everything else.
template <class T>
constexpr EventFlags flags_of() {
  using Item = std::remove_cv_t<std::remove_all_extents_t<T>>;
  if constexpr (std::is_same_v<Item, bool>) return EventFlags::kBool;
  if constexpr (std::is_same_v<Item, float>) return EventFlags::kFloat32;
  if constexpr (std::is_same_v<Item, double>) return EventFlags::kFloat64;
  if constexpr (!std::is_integral_v<Item> || sizeof(Item) > 8) return EventFlags::kBytes;
  // 1, 2, 4, 8 bytes: the signed ones are 1, 3, 5, 7
  std::uint32_t flag = 1;
  for (std::size_t bytes = 1; bytes < sizeof(Item); bytes *= 2) flag += 2;
  return static_cast<EventFlags>(flag + (std::is_unsigned_v<Item> ? 1 : 0));
}

/// registerPage of an object, which must stay where it is.
template <class T>
std::string registerVariable(T& variable, const std::string& name, EventFlags scope = EventFlags::kGlobal,
                             const MutationDepth& mutation_depth = {}) {
  return registerPage(&variable, sizeof variable, name, flags_of<T>() | scope, mutation_depth);
}

inline bool unregister(const std::string& variable_id) {
  return watcher_unregister(variable_id.c_str()) == WATCHER_OK;
}

/// The variable's bytes; empty on failure.
inline std::vector<std::uint8_t> readSnapshot(const std::string& variable_id) {
  std::size_t size = 0;
  if (watcher_read_snapshot(variable_id.c_str(), nullptr, 0, &size) != WATCHER_OK) return {};
  std::vector<std::uint8_t> bytes(size);
  if (watcher_read_snapshot(variable_id.c_str(), bytes.data(), size, nullptr) != WATCHER_OK) return {};
  return bytes;
}

inline bool writeSnapshot(const std::string& variable_id, std::span<const std::uint8_t> snapshot) {
  return watcher_write_snapshot(variable_id.c_str(), snapshot.data(), snapshot.size()) == WATCHER_OK;
}

inline bool start() {
  return watcher_start() == WATCHER_OK;
}
inline bool pause() {
  return watcher_pause() == WATCHER_OK;
}
inline bool resume() {
  return watcher_resume() == WATCHER_OK;
}
inline bool stop() {
  return watcher_stop() == WATCHER_OK;
}

inline std::optional<Stats> stats() {
  Stats stats{};
  if (watcher_get_stats(&stats, sizeof stats) != WATCHER_OK) return std::nullopt;
  return stats;
}
inline State state() {
  return static_cast<State>(watcher_get_state());
}
inline std::string lastError() {
  return watcher_last_error();
}

}  // namespace watcher::core

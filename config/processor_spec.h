// One `[[processor]]` table: what stands between an event and the output. They are asked in the order of the file, the
// option `custom_processor` after them.
//
// Any thread; ordinary zone; no exceptions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

/// Which events a built-in filter is about: each list that is not empty must have an entry that fits.
struct FilterSpec {
  std::vector<std::string> names;      // globs
  std::vector<std::string> files;      // as in a [[watch]] table
  std::vector<std::string> functions;  // globs
  std::vector<std::string> scopes;
  std::vector<std::string> threads;  // globs of names, or numbers
  std::uint64_t min_deltas = 0;
  std::uint64_t max_deltas = ~std::uint64_t{0};
  std::string when;                  // a Condition
  bool drop_fitting = false;         // action = "drop"
  std::uint32_t max_per_second = 0;  // of each variable; 0: no limit
  std::uint32_t fold_ms = 0;         // an event equal to the variable's last one, within this time, is left out
  bool operator==(const FilterSpec&) const = default;
};

struct ProcessorSpec {
  enum class Type { kScript, kPlugin, kNoop, kLogging, kFilter };

  Type type = Type::kScript;
  std::string path;  // the script, the shared object, the log
  std::vector<std::string> args;
  std::uint32_t timeout_ms = 100;  // for one event
  std::uint32_t memory_mb = 512;  // of a worker
  bool subprocesses = false;       // may a worker start processes
  FilterSpec filter;
  bool operator==(const ProcessorSpec&) const = default;

  bool needs_worker() const { return type == Type::kScript || type == Type::kPlugin; }
};

std::string_view processor_type_name(ProcessorSpec::Type type);

/// A value of a configuration file, whatever its format; `at` says where it stands.
struct ConfigValue {
  std::variant<std::monostate, bool, std::int64_t, std::string, std::vector<ConfigValue>> content;
  std::string at;
};
struct ConfigEntry {
  std::string key;
  std::string key_at;
  ConfigValue value;
};

/// Paths are relative to the file `name`. `at` is the place of the table itself.
Result<ProcessorSpec> read_processor(std::span<const ConfigEntry> entries, const std::string& at,
                                     const std::string& name);

/// The spec of `custom_processor`.
Result<ProcessorSpec> script_processor(const std::string& path, const std::string& origin);

}  // namespace watcher

#include "config/processor_spec.h"

#include <algorithm>
#include <utility>

#include "config/condition.h"
#include "config/config_file.h"
#include "config/options.h"
#include "config/spelling.h"

namespace watcher {
namespace {

using Type = ProcessorSpec::Type;
using Texts = std::vector<std::string>;

constexpr std::string_view kTypes[] = {"script", "plugin", "noop", "logging", "filter"};

struct Reader {
  ProcessorSpec spec;
  const std::string& file_name;
  bool typed = false;
};

Error wrong(const ConfigEntry& entry, const std::string& right) {
  return Error{0, entry.value.at + ": " + entry.key + " is " + right};
}

Result<void> read_count(const ConfigEntry& entry, std::int64_t lowest, std::int64_t highest, std::int64_t* count) {
  const auto* number = std::get_if<std::int64_t>(&entry.value.content);
  if (number == nullptr || *number < lowest || *number > highest)
    return wrong(entry, "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest));
  *count = *number;
  return {};
}

template <class Count>
Result<void> read_count(const ConfigEntry& entry, std::int64_t lowest, std::int64_t highest, Count* target) {
  std::int64_t count = 0;
  if (auto read = read_count(entry, lowest, highest, &count); !read) return read;
  *target = static_cast<Count>(count);
  return {};
}

Result<void> read_flag(const ConfigEntry& entry, bool* flag) {
  const auto* value = std::get_if<bool>(&entry.value.content);
  if (value == nullptr) return wrong(entry, "true or false, without quotes");
  *flag = *value;
  return {};
}

bool add_text(const ConfigValue& value, Texts* texts) {
  const auto* number = std::get_if<std::int64_t>(&value.content);
  const auto* text = std::get_if<std::string>(&value.content);
  if (text != nullptr && text->find('\0') != std::string::npos) return false;
  if (number == nullptr && text == nullptr) return false;
  texts->push_back(text != nullptr ? *text : std::to_string(*number));
  return true;
}

Result<void> read_texts(const ConfigEntry& entry, Texts* texts) {
  const auto* list = std::get_if<std::vector<ConfigValue>>(&entry.value.content);
  const std::span<const ConfigValue> values = list != nullptr ? std::span(*list) : std::span(&entry.value, 1);
  for (const ConfigValue& value : values)
    if (!add_text(value, texts))
      return Error{0, value.at + ": " + entry.key + " is a text in quotes, or a list of them"};
  return {};
}

Result<void> read_scopes(const ConfigEntry& entry, Texts* scopes) {
  if (auto read = read_texts(entry, scopes); !read) return read;
  for (const std::string& scope : *scopes)
    if (!parse_scope(scope)) return wrong(entry, "one of local, global, both, unknown, not " + in_quotes(scope));
  return {};
}

Result<void> read_text(const ConfigEntry& entry, const char* right, std::string* target) {
  const auto* text = std::get_if<std::string>(&entry.value.content);
  if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) return wrong(entry, right);
  *target = *text;
  return {};
}

Result<void> read_type(const ConfigEntry& entry, Reader* reader) {
  std::string name;
  const char* right = "one of script, plugin, noop, logging, filter";
  if (auto read = read_text(entry, right, &name); !read) return read;
  const auto* found = std::ranges::find(kTypes, name);
  if (found == std::end(kTypes)) return wrong(entry, right + (", not " + in_quotes(name)) + did_you_mean(name, kTypes));
  reader->spec.type = static_cast<Type>(found - kTypes);
  reader->typed = true;
  return {};
}

Result<void> read_path(const ConfigEntry& entry, Reader* reader) {
  std::string path;
  if (auto read = read_text(entry, "a path, in quotes", &path); !read) return read;
  reader->spec.path = relative_to_file(reader->file_name, path);
  return {};
}

Result<void> read_when(const ConfigEntry& entry, FilterSpec* filter) {
  const char* right = "a condition such as \"new > 100 and old <= 100\", in quotes";
  if (auto read = read_text(entry, right, &filter->when); !read) return read;
  if (const auto condition = Condition::compile(filter->when); !condition)
    return wrong(entry, "no condition: " + condition.error().message);
  return {};
}

Result<void> read_action(const ConfigEntry& entry, FilterSpec* filter) {
  std::string action;
  if (auto read = read_text(entry, "keep or drop, in quotes", &action); !read) return read;
  if (action != "keep" && action != "drop") return wrong(entry, "keep or drop, not " + in_quotes(action));
  filter->drop_fitting = action == "drop";
  return {};
}

enum Users : unsigned {
  kScripts = 1,
  kPlugins = 2,
  kLogs = 4,
  kFilters = 8,
  kWorkers = kScripts | kPlugins,
  kAll = 15
};

struct Key {
  std::string_view name;
  unsigned users;
  Result<void> (*read)(const ConfigEntry& entry, Reader* reader);
};

constexpr std::int64_t kMost = 1'000'000'000;

constexpr Key kKeys[] = {
    {"type", kAll, read_type},
    {"path", kWorkers | kLogs, read_path},
    {"args", kWorkers, [](const ConfigEntry& e, Reader* r) { return read_texts(e, &r->spec.args); }},
    {"timeout_ms", kWorkers,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 1, 60'000, &r->spec.timeout_ms); }},
    {"memory_mb", kWorkers,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 64, 1 << 20, &r->spec.memory_mb); }},
    {"subprocesses", kWorkers, [](const ConfigEntry& e, Reader* r) { return read_flag(e, &r->spec.subprocesses); }},
    {"name", kFilters, [](const ConfigEntry& e, Reader* r) { return read_texts(e, &r->spec.filter.names); }},
    {"file", kFilters, [](const ConfigEntry& e, Reader* r) { return read_texts(e, &r->spec.filter.files); }},
    {"function", kFilters, [](const ConfigEntry& e, Reader* r) { return read_texts(e, &r->spec.filter.functions); }},
    {"scope", kFilters, [](const ConfigEntry& e, Reader* r) { return read_scopes(e, &r->spec.filter.scopes); }},
    {"thread", kFilters, [](const ConfigEntry& e, Reader* r) { return read_texts(e, &r->spec.filter.threads); }},
    {"min_deltas", kFilters,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 0, kMost, &r->spec.filter.min_deltas); }},
    {"max_deltas", kFilters,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 0, kMost, &r->spec.filter.max_deltas); }},
    {"when", kFilters, [](const ConfigEntry& e, Reader* r) { return read_when(e, &r->spec.filter); }},
    {"action", kFilters, [](const ConfigEntry& e, Reader* r) { return read_action(e, &r->spec.filter); }},
    {"max_per_second", kFilters,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 1, kMost, &r->spec.filter.max_per_second); }},
    {"fold_ms", kFilters,
     [](const ConfigEntry& e, Reader* r) { return read_count(e, 1, kMost, &r->spec.filter.fold_ms); }},
};

constexpr unsigned kUsersOf[] = {kScripts, kPlugins, 0, kLogs, kFilters};

unsigned user_bit(Type type) {
  return kUsersOf[static_cast<std::size_t>(type)];
}

Error unknown_key(const ConfigEntry& entry, Type type) {
  std::vector<std::string_view> names;
  std::string listed;
  for (const Key& key : kKeys) {
    if (key.name != "type" && (key.users & user_bit(type)) == 0) continue;
    names.push_back(key.name);
    listed += (listed.empty() ? "" : ", ") + std::string(key.name);
  }
  return Error{0, entry.key_at + ": a [[processor]] of type " + std::string(processor_type_name(type)) +
                      " has no key " + in_quotes(entry.key) + "; it has " + listed + did_you_mean(entry.key, names)};
}

Result<void> check_script_name(const ProcessorSpec& spec, const std::string& at) {
  for (const char* ending : {".py", ".js", ".cjs", ".mjs"})
    if (spec.path.ends_with(ending)) return {};
  return Error{0, at + ": a processor is a .py, .js, .cjs or .mjs file, not " + in_quotes(spec.path) +
                      "; a shared object needs type = \"plugin\""};
}

}  // namespace

std::string_view processor_type_name(Type type) {
  return kTypes[static_cast<std::size_t>(type)];
}

Result<ProcessorSpec> read_processor(std::span<const ConfigEntry> entries, const std::string& at,
                                     const std::string& name) {
  Reader reader{{}, name};
  for (const ConfigEntry& entry : entries)
    if (entry.key == "type")
      if (auto read = read_type(entry, &reader); !read) return read.error();
  for (const ConfigEntry& entry : entries) {
    if (entry.key == "type") continue;
    const auto* key = std::ranges::find(kKeys, std::string_view(entry.key), &Key::name);
    if (key == std::end(kKeys) || (key->users & user_bit(reader.spec.type)) == 0)
      return unknown_key(entry, reader.spec.type);
    if (auto read = key->read(entry, &reader); !read) return read.error();
  }
  if (reader.spec.needs_worker() && reader.spec.path.empty())
    return Error{
        0, at + ": a [[processor]] needs a path, such as path = \"processor.py\", or a type: noop, logging or filter"};
  if (reader.spec.type == Type::kScript)
    if (auto checked = check_script_name(reader.spec, at); !checked) return checked.error();
  return std::move(reader.spec);
}

Result<ProcessorSpec> script_processor(const std::string& path, const std::string& origin) {
  ProcessorSpec spec;
  spec.path = path;
  if (auto checked = check_script_name(spec, origin); !checked) return checked.error();
  return spec;
}

}  // namespace watcher

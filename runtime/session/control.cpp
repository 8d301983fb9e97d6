#include "runtime/session/control.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <iterator>
#include <mutex>

#include "runtime/queue/variable_id.h"
#include "runtime/session/session.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxNameBytes = 4096;
constexpr std::size_t kIdDigits = WATCHER_ID_BYTES - 1;

/// What a variable's flags say of it.
struct ItemType {
  const char* name;
  const char* format;  // PEP 3118
  std::uint32_t bytes;
};
constexpr ItemType kItemTypes[] = {{"bytes", "", 1},   {"int8", "b", 1},    {"uint8", "B", 1},   {"int16", "h", 2},
                                   {"uint16", "H", 2}, {"int32", "i", 4},   {"uint32", "I", 4},  {"int64", "q", 8},
                                   {"uint64", "Q", 8}, {"float32", "f", 4}, {"float64", "d", 8}, {"bool", "?", 1}};
constexpr unsigned kScopeShift = 8;
static_assert(WATCHER_LOCAL == static_cast<unsigned>(Scope::kLocal) << kScopeShift);
static_assert(WATCHER_GLOBAL == static_cast<unsigned>(Scope::kGlobal) << kScopeShift);

/// Null for flags that mean nothing.
const ItemType* item_type(std::uint32_t flags) {
  const std::uint32_t type = flags & 0xff;
  const bool known = type < std::size(kItemTypes) && flags >> kScopeShift <= static_cast<unsigned>(Scope::kGlobal);
  return known ? &kItemTypes[type] : nullptr;
}

constexpr unsigned bit(watcher_state state) {
  return 1u << state;
}
constexpr unsigned kWatching = bit(WATCHER_STATE_INITIALIZED) | bit(WATCHER_STATE_RUNNING) | bit(WATCHER_STATE_PAUSED);

constinit thread_local char error_text[512] = "";
constinit char failure_text[576] = "";  // why the session failed: written once, before the state says so

// What a program has that no shim came along with.
constinit watcher_runtime_hooks own_hooks = {};
constinit const watcher_real_functions no_functions = {};

__attribute__((format(printf, 2, 3))) int fail(int code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error_text, sizeof error_text, format, arguments);
  va_end(arguments);
  return code;
}

const char* description(watcher_state state) {
  switch (state) {
    case WATCHER_STATE_NEW:
      return "watcher_initialize has not been called";
    case WATCHER_STATE_INITIALIZED:
      return "capture has not been started";
    case WATCHER_STATE_RUNNING:
      return "capture is running";
    case WATCHER_STATE_PAUSED:
      return "capture is paused";
    case WATCHER_STATE_STOPPED:
      return "the session has been stopped, and there is one a process";
    default:
      return failure_text;
  }
}

bool forbidden() {
  const char* disable = getenv("WATCHER_DISABLE");
  return getauxval(AT_SECURE) != 0 || (disable != nullptr && strcmp(disable, "1") == 0);
}

std::string own_directory() {
  Dl_info info{};
  if (dladdr(&own_hooks, &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string own_program() {
  char path[PATH_MAX];
  const ssize_t bytes = readlink("/proc/self/exe", path, sizeof path);
  return bytes > 0 ? std::string(path, static_cast<std::size_t>(bytes)) : std::string();
}

/// The shim's tables when it is in the process, so that its interposers work for us.
void find_tables(watcher_runtime_hooks** hooks, const watcher_real_functions** real) {
  *hooks = &own_hooks;
  *real = &no_functions;
  const auto shim = reinterpret_cast<decltype(&watcher_shim_tables)>(dlsym(RTLD_DEFAULT, "watcher_shim_tables"));
  if (shim == nullptr || shim(hooks, real) != 0) dlerror();  // taken away, so that the program does not find it
}

const char* refusal(int error) {
  switch (error) {
    case EFAULT:
      return "it is not mapped as writable memory from its first byte to its last";
    case EBUSY:
      return "it lies on a page of a thread's stack or thread-local storage, which must stay writable; keep the "
             "variable in static memory, on the heap, or in memory of watcher_allocate";
    default:
      return strerror(error);
  }
}

/// The id of the nth variable of that name.
std::uint64_t numbered_id(std::string_view name, Scope scope, unsigned number) {
  static const auto& program = *new std::string(own_program());
  return variable_id(name, number == 0 ? program : program + "#" + std::to_string(number), scope);
}

DictionaryRef intern_variable(std::uint64_t id, std::string_view name, const ItemType& item, std::uint32_t depth) {
  Dictionary& dictionary = session()->ring().dictionary();
  const VariableBlob variable{.id = id,
                              .name = dictionary.intern(name),
                              .format = item.format[0] != '\0' ? dictionary.intern(item.format) : 0,
                              .item_size = item.bytes,
                              .mutation_depth = depth,
                              .filter = 0,
                              .flags = 0};
  return dictionary.intern(BlobKind::kVariable, variable);
}

}  // namespace

constinit Control control;

const char* last_error() {
  return error_text;
}

bool Control::allowed(unsigned states, const char* what) const {
  if ((states & bit(state())) != 0) return true;
  fail(0, "cannot %s: %s", what, description(state()));
  return false;
}

int Control::initialize(const char* output, std::size_t max_queue_size) {
  std::lock_guard guard(*this);
  if (state() == WATCHER_STATE_INITIALIZED)
    return fail(WATCHER_E_STATE, "cannot initialize: it is initialized already");
  if (!allowed(bit(WATCHER_STATE_NEW), "initialize")) return WATCHER_E_STATE;
  const int code = set_up(output, max_queue_size);
  if (code != WATCHER_OK) {
    snprintf(failure_text, sizeof failure_text, "watcher_initialize failed: %s", error_text);
    state_ = WATCHER_STATE_FAILED;
    return code;
  }
  registry_ = new Registry;
  state_ = WATCHER_STATE_INITIALIZED;
  return code;
}

int Control::set_up(const char* output, std::size_t max_queue_size) {
  if (forbidden()) return fail(WATCHER_E_DISABLED, "WATCHER_DISABLE or the program's privileges forbid watching");
  if (session() != nullptr) return fail(WATCHER_E_STATE, "this process is recorded already, by LD_PRELOAD");
  watcher_runtime_hooks* hooks = nullptr;
  const watcher_real_functions* real = nullptr;
  find_tables(&hooks, &real);
  memory_pause();               // nothing is recorded before start()
  auto* session = new Session;  // process-lifetime
  const Result<void> attached = session->attach_program(own_directory(), hooks, real, output, max_queue_size);
  if (!attached) return fail(WATCHER_E_SYSTEM, "%s", attached.error().message.c_str());
  // registered behind the session's, so locked before it holds stores off
  pthread_atfork([] { control.lock(); }, [] { control.unlock(); }, [] { control.unlock(); });
  return WATCHER_OK;
}

int Control::add(void* base, std::size_t bytes, const char* name, std::uint32_t flags, std::uint32_t mutation_depth,
                 char* id) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "register a variable")) return WATCHER_E_STATE;
  if (id == nullptr) return fail(WATCHER_E_ARGUMENT, "cannot register a variable: no room given for its id");
  id[0] = '\0';
  if (name == nullptr || name[0] == '\0' || strlen(name) > kMaxNameBytes)
    return fail(WATCHER_E_ARGUMENT, "cannot register a variable: its name must have 1 to %zu bytes", kMaxNameBytes);
  const ItemType* item = item_type(flags);
  if (item == nullptr) return fail(WATCHER_E_ARGUMENT, "cannot register %s: unknown flags 0x%x", name, flags);
  if (base == nullptr || bytes == 0) return fail(WATCHER_E_ARGUMENT, "cannot register %s: no memory given", name);
  if (bytes % item->bytes != 0)
    return fail(WATCHER_E_ARGUMENT, "cannot register %s: %zu bytes are no whole number of %s", name, bytes, item->name);
  const auto scope = static_cast<Scope>(flags >> kScopeShift);
  const std::uint64_t first = numbered_id(name, scope, 0);
  unsigned& same = registry_->of_one_name[first];
  std::uint64_t number = 0;
  for (unsigned n = same; registry_->variables.contains(number = numbered_id(name, scope, n)); ++n) {
  }
  const DictionaryRef variable = intern_variable(number, name, *item, mutation_depth);
  if (variable == 0) return fail(WATCHER_E_SYSTEM, "cannot register %s: there are too many names", name);
  const RegionId region = memory_watch({.base = base,
                                        .capacity = bytes,
                                        .variable = variable,
                                        .item_bytes = item->bytes,
                                        .scope = scope,
                                        .mutation_depth = mutation_depth});
  if (region == 0) {
    const int code = errno == ENOMEM ? WATCHER_E_SYSTEM : WATCHER_E_MEMORY;
    return fail(code, "cannot register %s, %zu bytes at %p: %s", name, bytes, base, refusal(errno));
  }
  registry_->variables.insert({number, {region, bytes, name, first}});
  ++same;
  snprintf(id, WATCHER_ID_BYTES, "%016llx", static_cast<unsigned long long>(number));
  return WATCHER_OK;
}

Control::Found Control::find(const char* id, const char* what) {
  char* end = nullptr;
  const std::uint64_t number = id != nullptr && strlen(id) == kIdDigits ? strtoull(id, &end, 16) : 0;
  auto& variables = registry_->variables;
  const auto found = end != nullptr && *end == '\0' ? variables.find(number) : variables.end();
  if (found == variables.end())
    fail(0, "cannot %s: no variable has the id %.*s", what, static_cast<int>(kIdDigits), id != nullptr ? id : "(null)");
  return found;
}

int Control::remove(const char* id) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "unregister a variable")) return WATCHER_E_STATE;
  const auto found = find(id, "unregister a variable");
  if (found == registry_->variables.end()) return WATCHER_E_UNKNOWN;
  memory_unwatch(found->second.region, Op::kCount);
  --registry_->of_one_name[found->second.first_of_name];
  registry_->variables.erase(found);
  return WATCHER_OK;
}

int Control::read(const char* id, void* to, std::size_t bytes, std::size_t* variable_bytes) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "read a snapshot")) return WATCHER_E_STATE;
  const auto found = find(id, "read a snapshot");
  if (found == registry_->variables.end()) return WATCHER_E_UNKNOWN;
  const Variable& variable = found->second;
  if (variable_bytes != nullptr) *variable_bytes = variable.bytes;
  if (bytes > variable.bytes || (bytes != 0 && to == nullptr))
    return fail(WATCHER_E_ARGUMENT, "cannot read a snapshot: %s has %zu bytes", variable.name.c_str(), variable.bytes);
  if (memory_read(variable.region, to, bytes) == 0) return WATCHER_OK;
  return fail(WATCHER_E_MEMORY, "cannot read a snapshot: the memory of %s is gone", variable.name.c_str());
}

int Control::write(const char* id, const void* from, std::size_t bytes, std::uintptr_t ip) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "write a snapshot")) return WATCHER_E_STATE;
  const auto found = find(id, "write a snapshot");
  if (found == registry_->variables.end()) return WATCHER_E_UNKNOWN;
  const Variable& variable = found->second;
  if (from == nullptr) return fail(WATCHER_E_ARGUMENT, "cannot write a snapshot of %zu bytes: no bytes given", bytes);
  if (bytes != variable.bytes)
    return fail(WATCHER_E_ARGUMENT, "cannot write a snapshot of %zu bytes: %s has %zu", bytes, variable.name.c_str(),
                variable.bytes);
  if (memory_write(variable.region, from, bytes, ip) == 0) return WATCHER_OK;
  return fail(WATCHER_E_MEMORY, "cannot write a snapshot: the memory of %s is gone", variable.name.c_str());
}

int Control::start() {
  std::lock_guard guard(*this);
  if (!allowed(bit(WATCHER_STATE_INITIALIZED), "start")) return WATCHER_E_STATE;
  const int error = memory_resume();
  state_ = WATCHER_STATE_RUNNING;
  return error == 0 ? WATCHER_OK
                    : fail(WATCHER_E_SYSTEM, "started, but some variables are not watched: %s", strerror(error));
}

int Control::pause() {
  std::lock_guard guard(*this);
  if (!allowed(bit(WATCHER_STATE_RUNNING), "pause")) return WATCHER_E_STATE;
  const int error = memory_pause();
  if (error != 0)
    return fail(WATCHER_E_SYSTEM, "cannot pause: no room for a copy of what is watched: %s", strerror(error));
  state_ = WATCHER_STATE_PAUSED;
  return WATCHER_OK;
}

int Control::resume() {
  std::lock_guard guard(*this);
  if (!allowed(bit(WATCHER_STATE_PAUSED), "resume")) return WATCHER_E_STATE;
  const int error = memory_resume();
  state_ = WATCHER_STATE_RUNNING;
  return error == 0 ? WATCHER_OK
                    : fail(WATCHER_E_SYSTEM, "resumed, but some variables are not watched: %s", strerror(error));
}

int Control::stop() {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "stop")) return WATCHER_E_STATE;
  for (const auto& [id, variable] : registry_->variables) memory_unwatch(variable.region, Op::kCount);
  registry_->variables.clear();
  state_ = WATCHER_STATE_STOPPED;
  if (session()->stop()) return WATCHER_OK;
  return fail(WATCHER_E_SYSTEM, "stopped, but no collector took the last events; they wait in the output directory");
}

int Control::stats(watcher_stats* stats, std::size_t bytes) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching | bit(WATCHER_STATE_STOPPED), "tell statistics")) return WATCHER_E_STATE;
  if (stats == nullptr) return fail(WATCHER_E_ARGUMENT, "cannot tell statistics: no room given for them");
  watcher_stats all{};
  session()->fill(&all);
  memcpy(stats, &all, bytes < sizeof all ? bytes : sizeof all);
  return WATCHER_OK;
}

void* Control::allocate(std::size_t bytes) {
  std::lock_guard guard(*this);
  if (!allowed(kWatching, "allocate memory")) return nullptr;
  void* memory = memory_allocate(bytes);
  if (memory == nullptr) fail(0, "cannot allocate %zu bytes: %s", bytes, strerror(errno));
  return memory;
}

void Control::free(void* memory) {
  std::lock_guard guard(*this);
  if (memory != nullptr) memory_free(memory);
}

}  // namespace watcher

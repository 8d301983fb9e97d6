#include "runtime/session/probe_table.h"

#include <string>

#include "config/condition.h"
#include "runtime/capture/memory_watch.h"
#include "runtime/session/log.h"
#include "runtime/session/session.h"

namespace watcher {
namespace {

int asked() {
  return session()->asked();
}
int start() {
  return session()->start();
}
void* ring() {
  return session()->ring().header();
}
void revive_collector() {
  session()->start_collector();
}
size_t rules(const char* path, const watcher_rule** found) {
  return session()->rules(path, found);
}
int has_rules() {
  return !session()->options().rules().empty();
}

const char* option(const char* name) {
  const std::string& value = session()->options().get(name);
  return value.empty() ? nullptr : value.c_str();
}

void* allocate(size_t bytes) {
  return session()->start_memory() == 0 ? memory_allocate(bytes) : nullptr;
}

uint64_t watch(const watcher_buffer* buffer) {
  if (session()->start_memory() != 0) return 0;
  VariableBlob variable{};
  session()->ring().dictionary().read(BlobKind::kVariable, buffer->variable, &variable);
  return memory_watch({.base = buffer->base,
                       .capacity = buffer->capacity,
                       .live_size = buffer->live_size,
                       .live_start = buffer->live_start,
                       .live_item_bytes = buffer->live_item_bytes,
                       .variable = buffer->variable,
                       .item_bytes = buffer->item_bytes,
                       .scope = static_cast<Scope>(buffer->scope),
                       .mutation_depth = variable.mutation_depth});
}

void unwatch(uint64_t region, int op) {
  memory_unwatch(region, static_cast<Op>(op));
}

void close_session() {
  session()->close();
}

void stats(watcher_stats* stats) {
  session()->fill(stats);
}

const char* condition_fault(const char* condition) {
  thread_local std::string fault;
  const auto compiled = Condition::compile(condition);
  if (compiled) return nullptr;
  fault = compiled.error().message;
  return fault.c_str();
}

void log_line(watcher_log_level level, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vlog(level, format, arguments);
  va_end(arguments);
}

constinit const watcher_runtime table{.abi = WATCHER_PROBE_ABI,
                                      .bytes = sizeof(watcher_runtime),
                                      .asked = asked,
                                      .start = start,
                                      .ring = ring,
                                      .revive_collector = revive_collector,
                                      .rules = rules,
                                      .has_rules = has_rules,
                                      .option = option,
                                      .memory_allocate = allocate,
                                      .memory_allocated = memory_allocated,
                                      .memory_free = memory_free,
                                      .memory_watch = watch,
                                      .memory_unwatch = unwatch,
                                      .log = log_line,
                                      .close = close_session,
                                      .memory_pause = memory_pause,
                                      .memory_resume = memory_resume,
                                      .stats = stats,
                                      .condition_fault = condition_fault,
                                      .memory_store = memory_store,
                                      .memory_spans = memory_record_spans};

}  // namespace

const watcher_runtime* probe_table() {
  return &table;
}

}  // namespace watcher

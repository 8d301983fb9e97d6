// watcher.h: unpacks and forwards.
#include "runtime/session/control.h"
#include "runtime/watcher.h"

using watcher::control;

extern "C" {

int watcher_initialize(const char* output_dir, size_t max_queue_size) {
  return control.initialize(output_dir, max_queue_size);
}

int watcher_register(void* base, size_t size, const char* name, uint32_t flags, uint32_t mutation_depth, char* id) {
  return control.add(base, size, name, flags, mutation_depth, id);
}

int watcher_unregister(const char* id) {
  return control.remove(id);
}

int watcher_read_snapshot(const char* id, void* to, size_t size, size_t* variable_size) {
  return control.read(id, to, size, variable_size);
}

int watcher_write_snapshot(const char* id, const void* from, size_t size) {
  return control.write(id, from, size, reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

int watcher_start(void) {
  return control.start();
}

int watcher_pause(void) {
  return control.pause();
}

int watcher_resume(void) {
  return control.resume();
}

int watcher_stop(void) {
  return control.stop();
}

int watcher_get_stats(watcher_stats* stats, size_t bytes) {
  return control.stats(stats, bytes);
}

watcher_state watcher_get_state(void) {
  return control.state();
}

const char* watcher_last_error(void) {
  return watcher::last_error();
}

void* watcher_allocate(size_t bytes) {
  return control.allocate(bytes);
}

void watcher_free(void* memory) {
  control.free(memory);
}

}  // extern "C"

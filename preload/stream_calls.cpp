// stdio's readers: for large requests libc lets the kernel write straight into the caller's buffer, by a read that does
// not come through our interposer.
#include <stdio.h>
#include <sys/syscall.h>

#include "preload/real_functions.h"
#include "preload/redirection.h"

namespace watcher {
namespace {

// Redirected, fread counts single bytes: an incomplete last item arrives as well.
template <class Call>
__attribute__((noinline, cold)) size_t redirect_items(KernelWriteBegin begin, void* buffer, size_t item_bytes,
                                                      size_t count, Call call) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(item_bytes, count, &bytes)) return call(buffer, item_bytes, count);
  Redirection redirection(begin, buffer, bytes);
  if (!redirection.active()) return call(buffer, item_bytes, count);
  const size_t arrived = call(redirection.target(), 1, bytes);
  redirection.finish(static_cast<ssize_t>(arrived), SYS_read);
  return arrived == bytes ? count : arrived / item_bytes;
}

/// `call(target, item_bytes, count)` is fread.
template <class Call>
inline size_t into_items(void* buffer, size_t item_bytes, size_t count, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr ? call(buffer, item_bytes, count) : redirect_items(begin, buffer, item_bytes, count, call);
}

/// fgets that knows how many bytes it stored: a line may hold NULs, so its length cannot be measured afterwards.
/// As libc does, an error loses the line, save for EAGAIN, and so does an end of file before the first byte.
char* line_into(char* line, int capacity, FILE* stream, size_t* stored) {
  size_t length = 0;
  bool failed = false;
  flockfile(stream);
  while (length + 1 < static_cast<size_t>(capacity)) {
    const int byte = fgetc(stream);
    if (byte == EOF) {
      failed = length == 0 || (!feof(stream) && errno != EAGAIN);
      break;
    }
    line[length++] = static_cast<char>(byte);
    if (byte == '\n') break;
  }
  funlockfile(stream);
  *stored = failed ? length : length + 1;
  if (failed) return nullptr;
  line[length] = '\0';
  return line;
}

template <class Call>
__attribute__((noinline, cold)) char* redirect_line(KernelWriteBegin begin, char* line, int capacity, FILE* stream,
                                                    Call call) {
  Redirection redirection(begin, line, capacity > 0 ? static_cast<size_t>(capacity) : 0);
  if (!redirection.active()) return call(line);
  size_t stored = 0;
  const char* result = line_into(static_cast<char*>(redirection.target()), capacity, stream, &stored);
  redirection.finish(static_cast<ssize_t>(stored), SYS_read);
  return result == nullptr ? nullptr : line;
}

/// `call(line)` is fgets into the caller's own buffer.
template <class Call>
inline char* into_line(char* line, int capacity, FILE* stream, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr ? call(line) : redirect_line(begin, line, capacity, stream, call);
}

}  // namespace

WATCHER_INTERPOSER size_t fread(void* buffer, size_t item_bytes, size_t count, FILE* stream) {
  return into_items(buffer, item_bytes, count,
                    [=](void* target, size_t each, size_t items) { return real::fread(target, each, items, stream); });
}

WATCHER_INTERPOSER size_t fread_unlocked(void* buffer, size_t item_bytes, size_t count, FILE* stream) {
  return into_items(buffer, item_bytes, count, [=](void* target, size_t each, size_t items) {
    return real::fread_unlocked(target, each, items, stream);
  });
}

WATCHER_INTERPOSER size_t __fread_chk(void* buffer, size_t capacity, size_t item_bytes, size_t count, FILE* stream) {
  return into_items(buffer, item_bytes, count, [=](void* target, size_t each, size_t items) {
    return real::__fread_chk(target, capacity, each, items, stream);
  });
}

WATCHER_INTERPOSER size_t __fread_unlocked_chk(void* buffer, size_t capacity, size_t item_bytes, size_t count,
                                               FILE* stream) {
  return into_items(buffer, item_bytes, count, [=](void* target, size_t each, size_t items) {
    return real::__fread_unlocked_chk(target, capacity, each, items, stream);
  });
}

WATCHER_INTERPOSER char* fgets(char* line, int capacity, FILE* stream) {
  return into_line(line, capacity, stream, [=](char* target) { return real::fgets(target, capacity, stream); });
}

WATCHER_INTERPOSER char* fgets_unlocked(char* line, int capacity, FILE* stream) {
  return into_line(line, capacity, stream,
                   [=](char* target) { return real::fgets_unlocked(target, capacity, stream); });
}

// `bytes` is the size of the whole array: the caller's request is checked against it before anything is redirected.
WATCHER_INTERPOSER char* __fgets_chk(char* line, size_t bytes, int capacity, FILE* stream) {
  if (capacity > 0 && static_cast<size_t>(capacity) > bytes) return real::__fgets_chk(line, bytes, capacity, stream);
  return into_line(line, capacity, stream,
                   [=](char* target) { return real::__fgets_chk(target, bytes, capacity, stream); });
}

WATCHER_INTERPOSER char* __fgets_unlocked_chk(char* line, size_t bytes, int capacity, FILE* stream) {
  if (capacity > 0 && static_cast<size_t>(capacity) > bytes)
    return real::__fgets_unlocked_chk(line, bytes, capacity, stream);
  return into_line(line, capacity, stream,
                   [=](char* target) { return real::__fgets_unlocked_chk(target, bytes, capacity, stream); });
}

}  // namespace watcher

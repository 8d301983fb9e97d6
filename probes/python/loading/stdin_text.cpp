#include "probes/python/loading/stdin_text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "probes/python/events/emit.h"

extern "C" {
__attribute__((weak)) extern char* (*PyOS_ReadlineFunctionPointer)(FILE*, FILE*, const char*);
__attribute__((weak)) char* PyOS_StdioReadline(FILE*, FILE*, const char*);
__attribute__((weak)) extern int Py_InteractiveFlag;
}

namespace watcher::python {
namespace {

constinit bool known = false;  // false: nobody listened from the beginning
constinit bool whole_file = false;
constinit off_t file_start = 0;

std::string& text() {
  static auto* bytes = new std::string;  // process-lifetime
  return *bytes;
}

// ---- a stream in the place of stdin

#ifdef __GLIBC__
constinit FILE* original = nullptr;
constinit bool unbuffered = false;
constexpr std::size_t kChunk = 8192;
constinit char chunk[kChunk];
constinit std::size_t chunk_size = 0, chunk_read = 0, chunk_limit = kChunk;

// A line at a time, so that what was handed out is what the parser has read; from the file as much as stdio takes.
ssize_t read_line(void*, char* out, std::size_t room) {
  if (chunk_read == chunk_size) {
    const ssize_t got = read(STDIN_FILENO, chunk, unbuffered ? 1 : chunk_limit);
    if (got <= 0) return got;
    chunk_size = static_cast<std::size_t>(got);
    chunk_read = 0;
  }
  std::size_t count = chunk_size - chunk_read;
  if (count > room) count = room;
  if (const void* end = memchr(chunk + chunk_read, '\n', count))
    count = static_cast<std::size_t>(static_cast<const char*>(end) - (chunk + chunk_read)) + 1;
  memcpy(out, chunk + chunk_read, count);
  chunk_read += count;
  text().append(out, count);
  return static_cast<ssize_t>(count);
}

void replace_stdin(const struct stat& status) {
  constexpr int kUnbuffered = 2;  // _IO_UNBUFFERED: python -u
  FILE* stream = fopencookie(nullptr, "r", {.read = read_line, .write = nullptr, .seek = nullptr, .close = nullptr});
  if (stream == nullptr) return;
  unbuffered = (stdin->_flags & kUnbuffered) != 0;
  if (status.st_blksize > 0 && status.st_blksize < static_cast<blksize_t>(kChunk))
    chunk_limit = static_cast<std::size_t>(status.st_blksize);
  if (unbuffered) setvbuf(stream, nullptr, _IONBF, 0);
  stream->_fileno = STDIN_FILENO;  // the interpreter asks whether it is a terminal
  original = stdin;
  stdin = stream;
  known = true;
}

/// A program was read to its end: the host has its own stream back.
void restore_stdin() {
  if (original == nullptr || (&Py_InteractiveFlag != nullptr && Py_InteractiveFlag != 0)) return;
  stdin = original;  // ours stays allocated: the interpreter may still hold it
  original = nullptr;
}
#else
void replace_stdin(const struct stat&) {}
void restore_stdin() {}
#endif

// ---- at a terminal

using ReadLine = char* (*)(FILE*, FILE*, const char*);
constinit ReadLine previous_read_line = nullptr;

char* keep_line(FILE* in, FILE* out, const char* prompt) {
  char* line = previous_read_line(in, out, prompt);
  if (line != nullptr) text() += line;
  return line;
}

// Importing `readline` sets it, at the latest before the first prompt.
void listen_to_terminal() {
  if (&PyOS_ReadlineFunctionPointer == nullptr || PyOS_ReadlineFunctionPointer == keep_line) return;
  previous_read_line = PyOS_ReadlineFunctionPointer != nullptr ? PyOS_ReadlineFunctionPointer : PyOS_StdioReadline;
  if (previous_read_line == nullptr) return;
  PyOS_ReadlineFunctionPointer = keep_line;
  known = true;
}

std::string read_file_again() {
  std::string bytes;
  char room[8192];
  off_t at = file_start;
  for (ssize_t got; (got = pread(STDIN_FILENO, room, sizeof room, at)) > 0; at += got)
    bytes.append(room, static_cast<std::size_t>(got));
  return bytes;
}

}  // namespace

// A regular file keeps the stream it has: the parser reads the descriptor itself when the source declares an encoding.
void stdin_begins() {
  if (runtime->asked() == 0) return;
  struct stat status;
  if (isatty(STDIN_FILENO) != 0 || fstat(STDIN_FILENO, &status) != 0 || known) return;
  const bool interactive = &Py_InteractiveFlag != nullptr && Py_InteractiveFlag != 0;
  if (!S_ISREG(status.st_mode) || interactive) return replace_stdin(status);
  file_start = lseek(STDIN_FILENO, 0, SEEK_CUR);
  known = whole_file = file_start >= 0;
}

void stdin_statement_begins() {
  if (runtime->asked() == 0) return;
  if (isatty(STDIN_FILENO) != 0) listen_to_terminal();
  text().clear();
}

Ref stdin_text() {
  if (!known) return Ref();
  if (whole_file) text() = read_file_again();
  restore_stdin();
  return Ref(PyBytes_FromStringAndSize(text().data(), static_cast<ssize_t>(text().size())));
}

bool is_stdin(PyObject* filename) {
  ssize_t size = 0;
  const char* name = filename->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(filename, &size) : nullptr;
  if (name == nullptr) PyErr_Clear();
  return name != nullptr && (strcmp(name, "<stdin>") == 0 || strncmp(name, "<stdin>-", 8) == 0);
}

}  // namespace watcher::python

// The scenarios of stream_calls.
#include <fcntl.h>

#include "tests/behaviour/shim/host.h"

extern "C" {
size_t __fread_chk(void*, size_t, size_t, size_t, FILE*);
size_t __fread_unlocked_chk(void*, size_t, size_t, size_t, FILE*);
char* __fgets_chk(char*, size_t, int, FILE*);
char* __fgets_unlocked_chk(char*, size_t, int, FILE*);
}

namespace {

char* const kLine = reinterpret_cast<char*>(shim_watched) + 77;

FILE* stream_of(int fd) {
  return fdopen(fd, "r");
}

void show_items(const char* what, size_t items, FILE* stream) {
  printf("position %ld end %d error %d; ", ftell(stream), feof(stream) != 0, ferror(stream) != 0);
  show(what, static_cast<long>(items));
}

void show_line(const char* what, const char* result, FILE* stream) {
  printf("own buffer %d end %d error %d; ", result == kLine, feof(stream) != 0, ferror(stream) != 0);
  show(what, 0);
}

void all_lines(const char* text, size_t bytes, int capacity) {
  FILE* stream = stream_of(pipe_fd(text, bytes));
  for (int i = 0; i < 6; ++i) show_line("fgets", fgets(kLine, capacity, stream), stream);
  fclose(stream);
}

/// A pipe whose writer lives on: after its content a reader that may not wait gets EAGAIN.
void line_without_end() {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK) != 0 || write(ends[1], "half a line", 11) < 0) abort();
  FILE* stream = stream_of(ends[0]);
  show_line("fgets half a line", fgets(kLine, 100, stream), stream);
  show_line("fgets nothing there", fgets(kLine, 100, stream), stream);
  if (write(ends[1], " and its rest\n", 14) < 0) abort();
  show_line("fgets its rest, error flag still set", fgets(kLine, 100, stream), stream);
}

}  // namespace

void stream_scenario() {
  FILE* stream = stream_of(content_fd(300000));
  show_items("fread small", fread(kLine, 1, 10, stream), stream);
  show_items("fread larger than libc's buffer", fread(kLine, 1, 100000, stream), stream);
  show_items("fread items", fread(kLine, 7, 100, stream), stream);
  show_items("fread no items", fread(kLine, 7, 0, stream), stream);
  show_items("fread empty items", fread(kLine, 0, 7, stream), stream);
  show_items("fread_unlocked", fread_unlocked(kLine, 3, 5000, stream), stream);
  show_items("__fread_chk", __fread_chk(kLine, 1000, 10, 100, stream), stream);
  show_items("__fread_unlocked_chk", __fread_unlocked_chk(kLine, 1000, 10, 100, stream), stream);
  show_items("fread incomplete last item", fread(kLine, 4099, 200, stream), stream);
  show_items("fread at the end", fread(kLine, 4099, 200, stream), stream);
  FILE* output = fopen("/dev/null", "w");
  show_items("fread from an output", fread(kLine, 1, 10, output), output);
}

void line_scenario() {
  constexpr char kText[] = "first\n\nwith a \0 inside\na rather long line that does not fit\nno newline";
  all_lines(kText, sizeof kText - 1, 100);
  all_lines(kText, sizeof kText - 1, 12);
  all_lines(kText, sizeof kText - 1, 2);
  all_lines(kText, sizeof kText - 1, 1);
  all_lines("", 0, 100);
  line_without_end();
  FILE* stream = stream_of(pipe_fd(kText, sizeof kText - 1));
  show_line("fgets_unlocked", fgets_unlocked(kLine, 50, stream), stream);
  show_line("__fgets_chk", __fgets_chk(kLine, 50, 50, stream), stream);
  show_line("__fgets_unlocked_chk", __fgets_unlocked_chk(kLine, 50, 50, stream), stream);
  FILE* output = fopen("/dev/null", "w");
  show_line("fgets from an output", fgets(kLine, 10, output), output);
}

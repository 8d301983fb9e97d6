/* A program that brings its own malloc, as jemalloc does: no pointer of it may reach libc's free. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static char arena[1 << 20];
static size_t used;
static int frees;

void *malloc(size_t bytes) {
  bytes = (bytes + 31) & ~(size_t)15;
  if (used + bytes > sizeof arena) return NULL;
  char *block = arena + used;
  *(size_t *)(void *)block = bytes - 16;
  used += bytes;
  return block + 16;
}

void free(void *pointer) { frees += pointer != NULL; }

void *calloc(size_t count, size_t bytes) {
  void *block = malloc(count * bytes);
  return block == NULL ? NULL : memset(block, 0, count * bytes);
}

void *realloc(void *pointer, size_t bytes) {
  void *block = malloc(bytes);
  if (block != NULL && pointer != NULL) {
    size_t old = *(size_t *)(void *)((char *)pointer - 16);
    memcpy(block, pointer, old < bytes ? old : bytes);
  }
  return block;
}

int main(void) {
  char line[64];
  FILE *stream = fopen("/dev/zero", "r");
  size_t got = stream == NULL ? 0 : fread(line, 1, sizeof line, stream);
  if (stream != NULL) fclose(stream);
  printf("read %zu, freed some: %d\n", got, frees > 0);
  return 0;
}

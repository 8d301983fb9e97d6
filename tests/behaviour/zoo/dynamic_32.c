/* A dynamic i386 program without the i386 headers and start files. */
int puts(const char *text);
void exit(int status);

void _start(void) {
  puts("thirty-two bits");
  exit(4);
}

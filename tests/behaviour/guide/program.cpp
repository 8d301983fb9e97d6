// Something with a symbol, a file and a line.
static volatile int touched;
extern "C" void touch() {
  touched = touched + 1;
}
int main() {
  touch();
  return touched - 1;
}

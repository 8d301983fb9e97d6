/* The zoo's small programs, one function each, built in many ways. What they print, and how they end, must not depend on a
 * preloaded object. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int start_errno;

/* What was open, without the descriptor that looks; descriptors below 3 are the caller's. */
static int descriptors(void) {
  int count = 0;
  for (int fd = 3; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) != -1;
  printf("open: %d\n", count);
  return 0;
}

static int lowest_descriptor(void) { return 100 + open("/dev/null", O_RDONLY); }

static int tasks(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/task");
  while (directory != NULL && readdir(directory) != NULL) ++count;
  printf("tasks: %d\n", count - 2);
  return 0;
}

static int signals(void) {
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof line, status) != NULL)
    if (strncmp(line, "SigQ", 4) != 0 && (strncmp(line, "Sig", 3) == 0 || strncmp(line, "Shd", 3) == 0)) fputs(line, stdout);
  return 0;
}

static int state(void) {
  /* the first two are what a constructor of ours might leave behind */
  printf("errno %d\n", start_errno);
  const char *error = dlerror();
  printf("dlerror %s\n", error == NULL ? "none" : error);
  return 0;
}

static int memory(void) {
  void *blocks[1000];
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 1000; ++i) blocks[i] = realloc(malloc((size_t)i + 1), (size_t)(i * 7 % 5000) + 1);
    for (int i = 0; i < 1000; ++i) free(blocks[i]);
  }
  errno = 42;
  free(malloc(1 << 20));
  printf("errno %d\n", errno);
  return 0;
}

static int echo(void) {
  char text[64];
  if (fgets(text, sizeof text, stdin) != NULL) fputs(text, stdout);
  size_t got = fread(text, 1, sizeof text, stdin);
  fwrite(text, 1, got, stdout);
  printf("read %zd\n", read(0, text, sizeof text));
  return 0;
}

static void *thread_body(void *argument) {
  static __thread char local[4096];
  memset(local, 1, sizeof local);
  free(malloc(100));
  return argument;
}

static int threads(void) {
  pthread_t made[16];
  long sum = 0;
  for (long i = 0; i < 16; ++i) pthread_create(&made[i], NULL, thread_body, (void *)i);
  for (int i = 0; i < 16; ++i) {
    void *result;
    pthread_join(made[i], &result);
    sum += (long)result;
  }
  printf("sum %ld\n", sum);
  return 0;
}

static int children(void) {
  int status = 0;
  pid_t child = vfork();
  if (child == 0) _exit(7);
  waitpid(child, &status, 0);
  printf("vfork %d\n", WEXITSTATUS(status));
  fflush(stdout);
  child = fork();
  if (child == 0) {
    signal(SIGTERM, SIG_IGN);
    free(malloc(10));
    _Exit(8);
  }
  waitpid(child, &status, 0);
  printf("fork %d\n", WEXITSTATUS(status));
  return 0;
}

static int fork_limit(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  printf("fork %s\n", child < 0 ? strerror(errno) : "works");
  return 0;
}

/* Nothing but read, write and exit is left: a symbol that is looked up only now would end the process. */
static int strict_seccomp(void) {
  char text[16] = "";
  if (prctl(PR_SET_SECCOMP, 1) != 0) return 1;
  ssize_t got = read(0, text, sizeof text);
  if (write(1, text, got > 0 ? (size_t)got : 0) < 0) text[0] = 0;
  syscall(SYS_exit, 9);
  return 0;
}

static int aborts(void) {
  abort();
  return 0;
}

static int crashes(void) {
  raise(SIGSEGV);
  return 0;
}

static int deep_bind(void) {
#ifdef RTLD_DEEPBIND
  void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_DEEPBIND);
  printf("library %d\n", library != NULL);
#endif
  return 0;
}

static int masks(void) {
  sigset_t set, previous;
  sigfillset(&set);
  int result = pthread_sigmask(SIG_BLOCK, &set, &previous);
  sigprocmask(SIG_SETMASK, &previous, &set);
  printf("%d %d %d\n", result, sigismember(&previous, SIGSEGV), sigismember(&set, SIGSEGV));
  return 0;
}

static const struct {
  const char *name;
  int (*run)(void);
} kAnimals[] = {
    {"descriptors", descriptors}, {"lowest_descriptor", lowest_descriptor}, {"tasks", tasks}, {"signals", signals},
    {"state", state}, {"memory", memory}, {"echo", echo}, {"threads", threads}, {"children", children},
    {"fork_limit", fork_limit}, {"strict_seccomp", strict_seccomp}, {"aborts", aborts}, {"crashes", crashes},
    {"deep_bind", deep_bind}, {"masks", masks},
};

int main(int count, char **arguments) {
  start_errno = errno;
  for (size_t i = 0; i < sizeof kAnimals / sizeof kAnimals[0]; ++i)
    if (count > 1 && strcmp(arguments[1], kAnimals[i].name) == 0) return kAnimals[i].run();
  return 2;
}

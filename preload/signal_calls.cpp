// Signals the engines live on must arrive whatever the host does with them, and the host must see what it asked for.
// Any thread, signal handlers and vfork children included. Alternate stacks, signalfd and the temporary masks of ppoll,
// pselect, epoll_pwait and sigsuspend do not come through here: they belong to the host.
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "preload/attached_runtime.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

// The kernel's set has 64 signals. Callers exist that pass no more than these 8 bytes where libc declares 128.
using SignalWord = uint64_t;

// What this thread asked to block and we let through. A thread starts with none of its creator's, and a mask changed
// inside a signal handler is not undone here on return: both concern only what is reported, for signals nobody blocks
// in earnest.
__attribute__((tls_model("initial-exec"))) constinit thread_local SignalWord withheld = 0;

SignalWord word_of(const sigset_t* set) {
  SignalWord word;
  memcpy(&word, set, sizeof word);
  return word;
}

/// What the filter takes out of `asked`.
SignalWord taken_out(decltype(hooks.filter_mask) filter, SignalWord asked) {
  sigset_t set = {};
  memcpy(&set, &asked, sizeof asked);
  ErrnoKeeper keeper;
  filter(&set);
  return asked & ~word_of(&set);
}

SignalWord withheld_after(int how, SignalWord asked, SignalWord taken) {
  switch (how) {
    case SIG_BLOCK:
      return withheld | taken;
    case SIG_UNBLOCK:
      return withheld & ~asked;
    default:
      return taken;
  }
}

/// `call(set)` is sigprocmask or pthread_sigmask; both return 0 on success.
template <class Call>
int change_mask(int how, const sigset_t* set, sigset_t* previous, Call call) {
  auto* filter = attached(hooks.filter_mask);
  if (filter == nullptr) return call(set);

  const SignalWord before = withheld;
  SignalWord after = before;
  sigset_t allowed = {};
  if (set != nullptr) {
    const SignalWord asked = word_of(set);
    const SignalWord taken = how == SIG_UNBLOCK ? 0 : taken_out(filter, asked);
    const SignalWord passed = asked & ~taken;
    memcpy(&allowed, &passed, sizeof passed);
    after = withheld_after(how, asked, taken);
  }
  const int result = call(set == nullptr ? nullptr : &allowed);
  if (result != 0) return result;
  withheld = after;
  if (previous != nullptr) {
    const SignalWord reported = word_of(previous) | before;
    memcpy(previous, &reported, sizeof reported);
  }
  return result;
}

}  // namespace

WATCHER_INTERPOSER int sigaction(int signal_number, const struct sigaction* action,
                                 struct sigaction* previous) noexcept {
  int result = 0;
  if (auto* hook = attached(hooks.set_action);
      hook != nullptr && in_owning_process() && hook(signal_number, action, previous, &result))
    return result;
  return real::sigaction(signal_number, action, previous);
}

WATCHER_INTERPOSER sighandler_t signal(int signal_number, sighandler_t handler) noexcept {
  auto* hook = attached(hooks.set_action);
  if (hook == nullptr || !in_owning_process()) return real::signal(signal_number, handler);
  // BSD semantics, as libc has them: the signal is blocked while it is handled, system calls start again.
  struct sigaction action = {};
  struct sigaction previous = {};
  int result = 0;
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaddset(&action.sa_mask, signal_number);
  if (!hook(signal_number, &action, &previous, &result)) return real::signal(signal_number, handler);
  return result == 0 ? previous.sa_handler : SIG_ERR;
}

WATCHER_INTERPOSER int sigprocmask(int how, const sigset_t* set, sigset_t* previous) noexcept {
  return change_mask(how, set, previous,
                     [=](const sigset_t* passed) { return real::sigprocmask(how, passed, previous); });
}

WATCHER_INTERPOSER int pthread_sigmask(int how, const sigset_t* set, sigset_t* previous) noexcept {
  return change_mask(how, set, previous,
                     [=](const sigset_t* passed) { return real::pthread_sigmask(how, passed, previous); });
}

}  // namespace watcher

// Signals the engines live on must arrive whatever the host does with them, and the host must see what it asked for.
// Any thread, signal handlers and vfork children included. The older names for the same stand in old_signal_calls.cpp.
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/attached_runtime.h"
#include "preload/filling.h"
#include "preload/real_functions.h"
#include "preload/redirection.h"
#include "preload/signal_words.h"

namespace watcher {
namespace {

// What this thread asked to block and we let through. A thread starts with none of its creator's, and a mask changed
// inside a signal handler is not undone here on return: both concern only what is reported, for signals nobody blocks
// in earnest.
__attribute__((tls_model("initial-exec"))) constinit thread_local SignalWord withheld = 0;

// The same for the masks of handlers: while one runs, a watched store must trap as anywhere. By signal number; relaxed,
// for a host that installs one handler from two threads at once has no order to lose.
constexpr int kSignals = 65;
constinit SignalWord withheld_in_handler[kSignals] = {};

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
  if (filter == nullptr || (set != nullptr && !readable(set, sizeof(SignalWord)))) return call(set);

  const SignalWord before = withheld;
  SignalWord after = before;
  sigset_t allowed = {};
  if (set != nullptr) {
    const SignalWord asked = word_of(set);
    const SignalWord taken = how == SIG_UNBLOCK ? 0 : taken_out(filter, asked);
    const SignalWord passed = asked & ~taken;
    allowed = set_of(passed);
    after = withheld_after(how, asked, taken);
  }
  const int result = call(set == nullptr ? nullptr : &allowed);
  if (result != 0) return result;
  withheld = after;
  if (previous != nullptr && before != 0) {
    const SignalWord reported = word_of(previous) | before;
    memcpy(previous, &reported, sizeof reported);
  }
  return result;
}

/// For signals that are the host's own.
__attribute__((noinline, cold)) int change_action(decltype(hooks.filter_mask) filter, int signal_number,
                                                  const struct sigaction* action, struct sigaction* previous) {
  if (signal_number <= 0 || signal_number >= kSignals || (action != nullptr && !readable(action, sizeof *action)))
    return real::sigaction(signal_number, action, previous);
  struct sigaction passed = {};
  SignalWord taken = 0;
  if (action != nullptr) {
    passed = *action;
    taken = taken_out(filter, word_of(&action->sa_mask));
    passed.sa_mask = set_of(word_of(&action->sa_mask) & ~taken);
  }
  const int result = real::sigaction(signal_number, action == nullptr ? nullptr : &passed, previous);
  if (result != 0) return result;
  SignalWord* withheld_here = &withheld_in_handler[signal_number];
  const SignalWord before = __atomic_load_n(withheld_here, __ATOMIC_RELAXED);
  if (action != nullptr) __atomic_store_n(withheld_here, taken, __ATOMIC_RELAXED);
  if (previous != nullptr) {
    const SignalWord reported = word_of(&previous->sa_mask) | before;
    memcpy(&previous->sa_mask, &reported, sizeof reported);
  }
  return result;
}

}  // namespace

SignalWord taken_out(decltype(hooks.filter_mask) filter, SignalWord asked) {
  sigset_t set = set_of(asked);
  ErrnoKeeper keeper;
  filter(&set);
  return asked & ~word_of(&set);
}

WATCHER_INTERPOSER int sigaction(int signal_number, const struct sigaction* action,
                                 struct sigaction* previous) noexcept {
  auto* hook = attached(hooks.set_action);
  auto* filter = attached(hooks.filter_mask);
  if ((hook == nullptr && filter == nullptr) || !in_owning_process())
    return real::sigaction(signal_number, action, previous);
  int result = 0;
  if (hook != nullptr && hook(signal_number, action, previous, &result)) return result;
  return filter == nullptr ? real::sigaction(signal_number, action, previous)
                           : change_action(filter, signal_number, action, previous);
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
  return change_mask(how, set, previous, [=](const sigset_t* passed) {
    return fill(SYS_rt_sigprocmask, real::sigprocmask, how, passed, out(previous, sizeof(SignalWord)));
  });
}

WATCHER_INTERPOSER int pthread_sigmask(int how, const sigset_t* set, sigset_t* previous) noexcept {
  return change_mask(how, set, previous, [=](const sigset_t* passed) {
    return fill(SYS_rt_sigprocmask, real::pthread_sigmask, how, passed, changed(previous, sizeof(SignalWord)));
  });
}

/// The mask a thread will begin with; what it is told of that later lacks our signals, which nobody blocks in earnest.
WATCHER_INTERPOSER int pthread_attr_setsigmask_np(pthread_attr_t* attributes, const sigset_t* mask) {
  return real::pthread_attr_setsigmask_np(attributes, PassingMask(mask).get());
}

WATCHER_INTERPOSER int sigaltstack(const stack_t* stack, stack_t* previous) noexcept {
  auto* hook = attached(hooks.set_stack);
  int result = 0;
  if (hook != nullptr && in_owning_process() && hook(stack, previous, &result)) return result;
  return real::sigaltstack(stack, previous);
}

}  // namespace watcher

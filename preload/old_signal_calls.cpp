// The names signals had before sigaction. libc's own do not come through our sigaction; with a runtime these do.
#include <signal.h>

#include "preload/attached_runtime.h"
#include "preload/real_functions.h"
#include "preload/signal_words.h"

namespace watcher {
namespace {

bool ours_to_answer() {
  return attached(hooks.set_action) != nullptr && in_owning_process();
}

SignalWord bit_of(int signal_number) {
  return SignalWord{1} << (signal_number - 1);
}

bool is_signal(int signal_number) {
  if (signal_number > 0 && signal_number < 65) return true;
  errno = EINVAL;
  return false;
}

sighandler_t install(int signal_number, sighandler_t handler, int flags) {
  struct sigaction action = {};
  struct sigaction previous = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return sigaction(signal_number, &action, &previous) == 0 ? previous.sa_handler : SIG_ERR;
}

int change_one(int how, int signal_number, bool* was_blocked) {
  const sigset_t one = set_of(bit_of(signal_number));
  sigset_t before = {};
  const int result = sigprocmask(how, &one, &before);
  *was_blocked = (word_of(&before) & bit_of(signal_number)) != 0;
  return result;
}

sighandler_t hold(int signal_number) {
  struct sigaction present = {};
  bool was_blocked = false;
  if (sigaction(signal_number, nullptr, &present) != 0 || change_one(SIG_BLOCK, signal_number, &was_blocked) != 0)
    return SIG_ERR;
  return was_blocked ? SIG_HOLD : present.sa_handler;
}

}  // namespace

WATCHER_INTERPOSER sighandler_t bsd_signal(int signal_number, sighandler_t handler) noexcept {
  return ours_to_answer() ? signal(signal_number, handler) : real::bsd_signal(signal_number, handler);
}

WATCHER_INTERPOSER sighandler_t ssignal(int signal_number, sighandler_t handler) noexcept {
  return ours_to_answer() ? signal(signal_number, handler) : real::ssignal(signal_number, handler);
}

WATCHER_INTERPOSER sighandler_t sysv_signal(int signal_number, sighandler_t handler) noexcept {
  if (!ours_to_answer()) return real::sysv_signal(signal_number, handler);
  return install(signal_number, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}

WATCHER_INTERPOSER sighandler_t __sysv_signal(int signal_number, sighandler_t handler) noexcept {
  if (!ours_to_answer()) return real::__sysv_signal(signal_number, handler);
  return install(signal_number, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}

WATCHER_INTERPOSER sighandler_t sigset(int signal_number, sighandler_t handler) noexcept {
  if (!ours_to_answer()) return real::sigset(signal_number, handler);
  if (!is_signal(signal_number)) return SIG_ERR;
  if (handler == SIG_HOLD) return hold(signal_number);
  const sighandler_t previous = install(signal_number, handler, 0);
  bool was_blocked = false;
  if (previous == SIG_ERR || change_one(SIG_UNBLOCK, signal_number, &was_blocked) != 0) return SIG_ERR;
  return was_blocked ? SIG_HOLD : previous;
}

WATCHER_INTERPOSER int sigignore(int signal_number) noexcept {
  if (!ours_to_answer()) return real::sigignore(signal_number);
  return install(signal_number, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

WATCHER_INTERPOSER int sighold(int signal_number) noexcept {
  bool was_blocked = false;
  if (!ours_to_answer()) return real::sighold(signal_number);
  return is_signal(signal_number) ? change_one(SIG_BLOCK, signal_number, &was_blocked) : -1;
}

WATCHER_INTERPOSER int sigrelse(int signal_number) noexcept {
  bool was_blocked = false;
  if (!ours_to_answer()) return real::sigrelse(signal_number);
  return is_signal(signal_number) ? change_one(SIG_UNBLOCK, signal_number, &was_blocked) : -1;
}

WATCHER_INTERPOSER int siginterrupt(int signal_number, int interrupts) noexcept {
  if (!ours_to_answer()) return real::siginterrupt(signal_number, interrupts);
  struct sigaction action = {};
  if (sigaction(signal_number, nullptr, &action) != 0) return -1;
  action.sa_flags = interrupts != 0 ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
  return sigaction(signal_number, &action, nullptr);
}

}  // namespace watcher

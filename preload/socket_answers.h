// Answers whose size is told in a word that held their capacity before the call: addresses and options of sockets.
//
// Any thread, any context; without a runtime one load, one branch and the call.
#pragma once

#include <sys/socket.h>

#include "preload/redirection.h"

namespace watcher {

/// Is anything there, however large the capacity turns out to be? Asked first, so that the word is only read for
/// answers that matter.
inline bool may_be_watched(KernelWriteBegin begin, void* answer) {
  constexpr size_t kLargestAnswer = 64 * 1024;
  const Redirection redirection(begin, answer, kLargestAnswer);
  redirection.finish(0, 0);
  return redirection.active();
}

template <class Answer, class Call>
__attribute__((noinline, cold)) auto redirect_answer(KernelWriteBegin begin, int call_number, Answer* answer,
                                                     socklen_t* bytes, Call call) {
  const Redirection told(begin, bytes, sizeof *bytes, true);
  auto* told_bytes = static_cast<socklen_t*>(told.target());
  const bool sized = bytes != nullptr && may_be_watched(begin, answer) && readable(told_bytes, sizeof *told_bytes);
  const socklen_t capacity = sized ? *told_bytes : 0;
  const Redirection redirection(begin, answer, capacity);
  const auto result = call(static_cast<Answer*>(redirection.target()), told_bytes);
  if (redirection.active()) redirection.finish(result < 0 ? 0 : *told_bytes, call_number);
  told.finish(result < 0 ? 0 : static_cast<ssize_t>(sizeof *bytes), call_number);
  return result;
}

/// `call(answer, bytes)` fills both, or returns -1.
template <class Answer, class Call>
inline auto into_answer(int call_number, Answer* answer, socklen_t* bytes, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr || answer == nullptr ? call(answer, bytes)
                                               : redirect_answer(begin, call_number, answer, bytes, call);
}

}  // namespace watcher

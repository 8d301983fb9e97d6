// The threads of this process, one after the other, read without libc: nothing is allocated.
//
// Any context.
#pragma once

#include <cstddef>

namespace watcher {

class ThreadList {
 public:
  ThreadList();
  ~ThreadList();
  ThreadList(const ThreadList&) = delete;
  ThreadList& operator=(const ThreadList&) = delete;

  bool opened() const { return descriptor_ >= 0; }
  /// The next thread's id; 0 behind the last.
  int next();

 private:
  int descriptor_;
  std::size_t at_ = 0;
  std::size_t held_ = 0;
  alignas(8) char buffer_[2048];
};

/// Is there, or was there just now, no other thread than the calling one?
bool only_thread();

}  // namespace watcher

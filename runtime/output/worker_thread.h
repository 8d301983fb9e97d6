// A thread that takes no signals: they are for the program that collects.
//
// Owned and joined by one thread.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace watcher {

class WorkerThread {
 public:
  WorkerThread() = default;
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;
  ~WorkerThread() { join(); }

  /// False when there is no thread to be had.
  bool start(void* (*run)(void*), void* argument) {
    sigset_t all;
    sigset_t previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    running_ = pthread_create(&thread_, nullptr, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    return running_;
  }
  bool running() const { return running_; }
  void join() {
    if (running_) pthread_join(thread_, nullptr);
    running_ = false;
  }

 private:
  pthread_t thread_{};
  bool running_ = false;
};

}  // namespace watcher

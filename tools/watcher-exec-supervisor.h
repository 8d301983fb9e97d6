// Stands between the program and whoever started watcher-exec: passes signals on, stops and continues with the program,
// reaps orphans, and keeps the collector running meanwhile.
//
// Job control. The program stays in watcher-exec's process group, so that pipelines, ^C and background jobs work as
// without it. What the terminal sends therefore reaches the program by itself and is not passed on a second time; what
// a process sent to watcher-exec alone is. When the program was stopped, watcher-exec stops in the same way, so that
// the shell sees a stopped job; the SIGCONT of `fg` or `bg` goes to the whole group again.
//
// A SIGHUP from a process also puts events.jsonl aside, as log files are everywhere.
//
// Single-threaded; all signals are blocked and waited for, so there is no handler and no descriptor.
#pragma once

#include <sys/types.h>

#include "runtime/collect/collector.h"
#include "runtime/collect/control_socket.h"

namespace watcher {

class Supervisor {
 public:
  /// With `insistent` the second SIGINT or SIGTERM ends the program at once.
  Supervisor(pid_t program, Collector& collector, ControlSocket& control, bool insistent)
      : program_(program), collector_(collector), control_(control), insistent_(insistent) {}

  /// Returns the program's wait status as soon as it has ended.
  int run();
  /// Everything that the dead have left, and what the living have written so far: those find a collector of their own.
  void drain();
  /// The SIGINT or SIGTERM that came; 0: none did, or they are the program's own affair.
  int interrupted() const { return interrupted_; }

 private:
  bool reap();
  void wait_for_signal(bool busy);
  void stop_like_program(int signal);
  bool insists(int signal);

  pid_t program_;
  Collector& collector_;
  ControlSocket& control_;
  bool insistent_;
  int interrupted_ = 0;
  bool hurried_ = false;
  int status_ = 0;
};

}  // namespace watcher

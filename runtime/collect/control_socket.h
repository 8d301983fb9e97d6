// `watcher pause|resume|status PID`: a socket in the output directory, served by whoever collects there. The host has
// no part in it: what is asked is a word in the ring's header, which writers look at with each event.
//
// Only the directory's owner can reach the socket (0700), and the kernel tells who has called: nobody but our own user
// and root is answered. One thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"

namespace watcher {

class ControlSocket {
 public:
  /// control.<pid of this process>. Without one (no room, no sockets) everything else goes on.
  explicit ControlSocket(const std::string& output_directory);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  /// Answers who has called; does not wait for callers.
  void serve();

 private:
  void remove_stale() const;
  std::string answer(const std::string& request) const;

  UniqueFd directory_;
  UniqueFd socket_;
  std::string name_;
};

/// Asks the collector of a ring: "pause", "resume" or "status" about `ring` ("ring.123"). Returns its words, lines of
/// "key value".
Result<std::string> ask_collector(const std::string& output_directory, pid_t collector, const std::string& verb,
                                  const std::string& ring);

}  // namespace watcher

// The rings in an output directory: found, told apart, and claimed, so that each is drained by one collector.
//
// A collector claims a ring by RingLock::kCollector on its file and keeps the descriptor; the claim ends with the
// collector, however that ends. One thread.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/queue/ring_reader.h"

namespace watcher {

/// A file, whatever its name is or becomes.
using FileIdentity = std::pair<dev_t, ino_t>;

struct FoundRing {
  std::string name;
  FileIdentity file;
  RingReader reader;
};

class RingDirectory {
 public:
  /// Borrows the descriptor.
  RingDirectory(int fd, std::uint64_t run_id) : fd_(fd), run_id_(run_id) {}

  /// Claims the rings of our run that nobody has. Cheap when the directory did not change.
  std::vector<FoundRing> claim_new();
  /// Claims rings whose writers are dead, of any run; removes unfinished ring files.
  std::vector<FoundRing> claim_dead();
  /// Removes a ring of ours, also when it was renamed meanwhile, and never another file of its name.
  void remove(const FoundRing& ring);
  /// A ring was given up: its file may be claimed again.
  void forget(const FileIdentity& file);

 private:
  enum class Wanted { kOurRun, kDeadWriters };

  bool worth_scanning();
  std::vector<FoundRing> claim(Wanted wanted);
  std::optional<FoundRing> claim_file(const std::string& name, Wanted wanted);
  bool known(const FileIdentity& file) const;
  std::vector<std::string> names(const char* prefix) const;
  void remove_unfinished();
  bool is_named(const FileIdentity& file, const std::string& name) const;

  int fd_;
  std::uint64_t run_id_;
  std::vector<FileIdentity> ours_;
  timespec seen_change_{};
  std::uint64_t last_scan_ns_ = 0;
};

}  // namespace watcher

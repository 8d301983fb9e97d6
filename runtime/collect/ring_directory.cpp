#include "runtime/collect/ring_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <memory>

#include "runtime/queue/ring_lock.h"

namespace watcher {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kRescanNs = kSecondNs / 2;
// A directory's time stamp has the grain of a timer tick: a file that came right after our look need not show.
constexpr std::uint64_t kStampGrainNs = 50'000'000;
constexpr time_t kUnfinishedAgeSeconds = 10;

std::uint64_t nanoseconds(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * kSecondNs + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t clock_ns(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return nanoseconds(now);
}

// A ring tells what was stored in a process: one of somebody else is only taken by root, and only of its own run.
bool acceptable(const struct stat& status, bool any_owner) {
  return S_ISREG(status.st_mode) && status.st_nlink == 1 &&
         (status.st_uid == ::geteuid() || (any_owner && ::geteuid() == 0));
}

std::uint64_t run_of(int fd) {
  std::uint64_t run_id = 0;
  ::pread(fd, &run_id, sizeof run_id, offsetof(RingHeader, run_id)) == sizeof run_id || (run_id = 0);
  return run_id;
}

}  // namespace

bool RingDirectory::known(const FileIdentity& file) const {
  return std::find(ours_.begin(), ours_.end(), file) != ours_.end();
}

void RingDirectory::forget(const FileIdentity& file) {
  std::erase(ours_, file);
}

std::vector<std::string> RingDirectory::names(const char* prefix) const {
  std::vector<std::string> found;
  const int own = ::openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(own >= 0 ? ::fdopendir(own) : nullptr, ::closedir);
  while (directory != nullptr) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    if (std::string_view(entry->d_name).starts_with(prefix)) found.emplace_back(entry->d_name);
  }
  return found;
}

bool RingDirectory::worth_scanning() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return false;
  const std::uint64_t now = clock_ns(CLOCK_MONOTONIC);
  const std::uint64_t changed = nanoseconds(status.st_mtim);
  const std::uint64_t wall = clock_ns(CLOCK_REALTIME);
  const bool fresh = wall < changed + kStampGrainNs;
  if (changed == nanoseconds(seen_change_) && !fresh && now - last_scan_ns_ < kRescanNs) return false;
  seen_change_ = status.st_mtim;
  last_scan_ns_ = now;
  return true;
}

std::optional<FoundRing> RingDirectory::claim_file(const std::string& name, Wanted wanted) {
  UniqueFd file(::openat(fd_, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return std::nullopt;
  const FileIdentity identity{status.st_dev, status.st_ino};
  const bool our_run = wanted == Wanted::kOurRun;
  if (!acceptable(status, our_run) || known(identity)) return std::nullopt;
  if (our_run && run_of(file.get()) != run_id_) return std::nullopt;
  if (!take_ring_lock(file.get(), RingLock::kCollector)) return std::nullopt;
  // Drained and removed by another collector between our open and our lock?
  if (::fstat(file.get(), &status) != 0 || status.st_nlink == 0) return std::nullopt;
  Result<RingReader> reader = RingReader::open(std::move(file));
  if (!reader || (!our_run && reader.value().writer_alive())) return std::nullopt;
  reader.value().header()->collector_pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
  ours_.push_back(identity);
  return FoundRing{name, identity, std::move(reader.value())};
}

std::vector<FoundRing> RingDirectory::claim(Wanted wanted) {
  std::vector<FoundRing> found;
  for (const std::string& name : names("ring."))
    if (std::optional<FoundRing> ring = claim_file(name, wanted)) found.push_back(std::move(*ring));
  return found;
}

std::vector<FoundRing> RingDirectory::claim_new() {
  return worth_scanning() ? claim(Wanted::kOurRun) : std::vector<FoundRing>();
}

std::vector<FoundRing> RingDirectory::claim_dead() {
  remove_unfinished();
  return claim(Wanted::kDeadWriters);
}

// A process killed while it made its ring leaves a file without events under a name of its own.
void RingDirectory::remove_unfinished() {
  for (const std::string& name : names(".ring.")) {
    const UniqueFd file(::openat(fd_, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0 || !acceptable(status, false)) continue;
    if (ring_lock_held(file.get(), RingLock::kWriter) || status.st_mtime + kUnfinishedAgeSeconds > ::time(nullptr))
      continue;
    ::unlinkat(fd_, name.c_str(), 0);
  }
}

bool RingDirectory::is_named(const FileIdentity& file, const std::string& name) const {
  struct stat status {};
  return ::fstatat(fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         FileIdentity(status.st_dev, status.st_ino) == file;
}

void RingDirectory::remove(const FoundRing& ring) {
  if (is_named(ring.file, ring.name)) {
    ::unlinkat(fd_, ring.name.c_str(), 0);
    return;
  }
  for (const std::string& name : names("ring."))
    if (is_named(ring.file, name)) ::unlinkat(fd_, name.c_str(), 0);
}

}  // namespace watcher

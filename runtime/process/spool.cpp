#include "runtime/process/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>

#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr const char* kPrefix = "spool.";
constexpr std::uint64_t kFileMagic = 0x314c4f4f50535457;   // "WTSPOOL1"
constexpr std::uint64_t kChunkMagic = 0x314b4e5548435457;  // "WTCHUNK1"
constexpr std::uint64_t kLongestChunk = std::uint64_t{1} << 30;
constexpr std::uint64_t kRoomWorthGivingBack = 1 << 20;
constexpr int kMostNames = 1000;

struct FileHead {
  std::uint64_t magic = kFileMagic;
  std::uint64_t done_offset = 0;  // of the first chunk that is not done
  std::uint64_t done_events = 0;  // of that chunk
};
struct ChunkHead {
  std::uint64_t magic = kChunkMagic;
  std::uint64_t run_id = 0;
  std::uint64_t lines = 0;
  std::uint64_t text_bytes = 0;

  std::uint64_t bytes() const { return sizeof(ChunkHead) + lines * sizeof(LineInfo) + text_bytes; }
};

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

bool read_all(int fd, void* target, std::uint64_t bytes, std::uint64_t offset) {
  auto* to = static_cast<char*>(target);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::uint64_t>(got);
  }
  return true;
}

bool plausible(const ChunkHead& head, std::uint64_t room) {
  return head.magic == kChunkMagic && head.lines > 0 && head.lines < kLongestChunk / sizeof(LineInfo) &&
         head.text_bytes < kLongestChunk && head.bytes() <= room;
}

bool fits_together(const EventChunk& chunk) {
  std::uint64_t bytes = 0;
  for (const LineInfo& info : chunk.infos) {
    if (info.bytes < 3 || info.bytes > chunk.text.size() - bytes) return false;
    if (chunk.text[bytes] != '{' || chunk.text[bytes + info.bytes - 2] != '}' ||
        chunk.text[bytes + info.bytes - 1] != '\n')
      return false;
    bytes += info.bytes;
  }
  return bytes == chunk.text.size();
}

}  // namespace

Spool::Spool(int directory_fd, std::string name, UniqueFd file)
    : directory_fd_(directory_fd), name_(std::move(name)), file_(std::move(file)), end_(size_of(file_.get())) {}

Result<std::unique_ptr<Spool>> Spool::create(int directory_fd) {
  for (int number = 0; number < kMostNames; ++number) {
    std::string name = kPrefix + std::to_string(::getpid());
    if (number > 0) name.append(1, '.').append(std::to_string(number));
    Result<UniqueFd> file = open_own_file(directory_fd, name.c_str(), O_RDWR | O_CREAT | O_EXCL);
    if (!file && file.error().code == EEXIST) continue;
    if (!file) return file.error();
    struct stat status {};
    // Another collector may have taken the new file for one that a dead collector has left.
    if (::flock(file.value().get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(file.value().get(), &status) != 0 ||
        status.st_nlink == 0)
      continue;
    const FileHead head{.done_offset = sizeof head};
    if (::pwrite(file.value().get(), &head, sizeof head, 0) != sizeof head) {
      ::unlinkat(directory_fd, name.c_str(), 0);
      return Error{ENOSPC, name + ": the disk does not take it"};
    }
    return std::unique_ptr<Spool>(new Spool(directory_fd, name, std::move(file.value())));
  }
  return Error{EEXIST, std::string(kPrefix) + "*: there are too many"};
}

std::unique_ptr<Spool> Spool::adopt(int directory_fd, const std::string& name) {
  Result<UniqueFd> file = open_own_file(directory_fd, name.c_str(), O_RDWR);
  if (!file || ::flock(file.value().get(), LOCK_EX | LOCK_NB) != 0) return nullptr;
  struct stat status {};
  // Finished and removed between our open and our lock?
  if (::fstat(file.value().get(), &status) != 0 || status.st_nlink == 0) return nullptr;
  std::unique_ptr<Spool> spool(new Spool(directory_fd, name, std::move(file.value())));
  FileHead head;
  const bool whole = read_all(spool->file_.get(), &head, sizeof head, 0);
  if (whole && head.magic != kFileMagic) return nullptr;
  return spool;
}

std::vector<std::string> Spool::names(int directory_fd) {
  std::vector<std::string> found;
  const int own = ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(own >= 0 ? ::fdopendir(own) : nullptr, ::closedir);
  while (directory != nullptr) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    if (std::string_view(entry->d_name).starts_with(kPrefix)) found.emplace_back(entry->d_name);
  }
  std::ranges::sort(found);
  return found;
}

std::optional<Spool::Place> Spool::append(const EventChunk& chunk) {
  ChunkHead head{.run_id = chunk.run_id, .lines = chunk.infos.size(), .text_bytes = chunk.text.size()};
  if (room_below_limit(end_) < head.bytes()) return std::nullopt;
  const iovec parts[] = {{&head, sizeof head},
                         {const_cast<LineInfo*>(chunk.infos.data()), chunk.infos.size() * sizeof(LineInfo)},
                         {const_cast<char*>(chunk.text.data()), chunk.text.size()}};
  const ssize_t written = ::pwritev(file_.get(), parts, 3, static_cast<off_t>(end_));
  if (written < 0 || static_cast<std::uint64_t>(written) != head.bytes()) {
    (void)!::ftruncate(file_.get(), static_cast<off_t>(end_));
    return std::nullopt;
  }
  const Place place{end_, head.bytes(), head.lines, 0};
  end_ += head.bytes();
  return place;
}

std::vector<Spool::Place> Spool::unfinished() {
  std::vector<Place> places;
  FileHead file;
  if (!read_all(file_.get(), &file, sizeof file, 0) || file.done_offset < sizeof file) return places;
  ChunkHead head;
  std::uint64_t first = file.done_events;
  for (std::uint64_t at = file.done_offset; at < end_; at += head.bytes(), first = 0) {
    if (!read_all(file_.get(), &head, sizeof head, at) || !plausible(head, end_ - at)) break;
    places.push_back({at, head.bytes(), head.lines, std::min(first, head.lines)});
  }
  return places;
}

std::optional<EventChunk> Spool::read(const Place& place) const {
  ChunkHead head;
  if (!read_all(file_.get(), &head, sizeof head, place.offset) || !plausible(head, place.bytes)) return std::nullopt;
  EventChunk chunk;
  chunk.run_id = head.run_id;
  chunk.infos.resize(head.lines);
  chunk.text.resize(head.text_bytes);
  const std::uint64_t infos = place.offset + sizeof head;
  if (!read_all(file_.get(), chunk.infos.data(), head.lines * sizeof(LineInfo), infos) ||
      !read_all(file_.get(), chunk.text.data(), head.text_bytes, infos + head.lines * sizeof(LineInfo)) ||
      !fits_together(chunk))
    return std::nullopt;
  return chunk;
}

void Spool::note_done(const Place& place, std::uint64_t events, bool whole_chunk) {
  FileHead head;
  head.done_offset = whole_chunk ? place.offset + place.bytes : place.offset;
  head.done_events = whole_chunk ? 0 : events;
  (void)!::pwrite(file_.get(), &head, sizeof head, 0);
  // the room of a spool that is never empty
  if (whole_chunk && place.bytes > 0)
    ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place.offset),
                static_cast<off_t>(place.bytes));
}

// First the end, then the head: in between the head says more than there is, which means nothing is left.
void Spool::clear() {
  if (end_ < kRoomWorthGivingBack) return;
  const FileHead head{.done_offset = sizeof head};
  if (::ftruncate(file_.get(), sizeof head) != 0) return;
  end_ = sizeof head;
  (void)!::pwrite(file_.get(), &head, sizeof head, 0);
}

void Spool::remove() {
  ::unlinkat(directory_fd_, name_.c_str(), 0);
}

}  // namespace watcher

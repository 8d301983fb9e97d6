#include "runtime/collect/control_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string_view>

#include "runtime/base/scoped_mmap.h"
#include "runtime/queue/event_ring.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxMessage = 4096;
constexpr int kPatience_ms = 2000;
constexpr int kShortPatience_ms = 20;  // rings are to be drained
constexpr std::string_view kPrefix = "control.";

/// What is collected comes first.
bool descriptors_are_plenty() {
  constexpr rlim_t kPlenty = 64;
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kPlenty;
}

/// A socket's address has 107 characters: the directory goes by its descriptor.
sockaddr_un address_of(int directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name.c_str());
  return address;
}

bool is_friend(int peer) {
  ucred who{};
  socklen_t size = sizeof who;
  return getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == geteuid() || who.uid == 0);
}

std::string receive(int socket, int patience_ms) {
  char text[kMaxMessage];
  pollfd ready{socket, POLLIN, 0};
  if (poll(&ready, 1, patience_ms) != 1) return "";
  const ssize_t got = recv(socket, text, sizeof text, MSG_DONTWAIT);
  return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : "";
}

UniqueFd new_socket() {
  return UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

UniqueFd open_directory(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/// The header of a ring of our own in this directory.
ScopedMmap map_header(int directory, const std::string& ring) {
  if (!ring.starts_with("ring.") || ring.find('/') != std::string::npos) return {};
  const UniqueFd file(openat(directory, ring.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  if (status.st_size < static_cast<off_t>(kPageBytes)) return {};
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  return page == MAP_FAILED ? ScopedMmap() : ScopedMmap(page, kPageBytes);
}

std::string describe(const RingHeader& header) {
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  const std::uint64_t waiting =
      header.head.load(std::memory_order_relaxed) - header.tail.load(std::memory_order_relaxed);
  return std::string("state ") + (header.paused.load(std::memory_order_relaxed) ? "paused" : "running") + "\npid " +
         number(header.pid) + "\ncollector " + number(static_cast<std::uint64_t>(getpid())) + "\nwaiting " +
         number(waiting) + "\ndropped " + number(header.dropped.load(std::memory_order_relaxed)) + "\nblocked " +
         number(header.blocked.load(std::memory_order_relaxed)) + "\n";
}

}  // namespace

ControlSocket::ControlSocket(const std::string& output_directory)
    : directory_(descriptors_are_plenty() ? open_directory(output_directory) : UniqueFd()),
      name_(std::string(kPrefix) + std::to_string(getpid())) {
  if (!directory_) return;
  remove_stale();
  UniqueFd socket = new_socket();
  const sockaddr_un address = address_of(directory_.get(), name_);
  const mode_t mask = umask(0177);
  const bool bound = socket && bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  umask(mask);
  if (bound && listen(socket.get(), 8) == 0) socket_ = std::move(socket);
}

ControlSocket::~ControlSocket() {
  if (socket_) unlinkat(directory_.get(), name_.c_str(), 0);
}

/// Those of collectors that were killed.
void ControlSocket::remove_stale() const {
  const int own = openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(own >= 0 ? fdopendir(own) : nullptr, closedir);
  while (const dirent* entry = directory ? readdir(directory.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (!name.starts_with(kPrefix)) continue;
    const UniqueFd probe = new_socket();
    const sockaddr_un address = address_of(directory_.get(), name);
    const bool refused = probe &&
                         connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                         errno == ECONNREFUSED;
    if (refused) unlinkat(directory_.get(), name.c_str(), 0);
  }
}

void ControlSocket::serve() {
  if (!socket_) return;
  for (;;) {
    const UniqueFd peer(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) return;
    if (!is_friend(peer.get())) continue;
    const std::string reply = answer(receive(peer.get(), kShortPatience_ms));
    (void)!send(peer.get(), reply.data(), reply.size(), MSG_NOSIGNAL);
  }
}

std::string ControlSocket::answer(const std::string& request) const {
  const std::size_t blank = request.find(' ');
  const std::string verb = request.substr(0, blank);
  const ScopedMmap page =
      blank == request.npos ? ScopedMmap() : map_header(directory_.get(), request.substr(blank + 1));
  if (!page) return "error there is no such ring\n";
  auto& header = *reinterpret_cast<RingHeader*>(page.bytes());
  if (header.magic != kRingMagic) return "error this is no ring\n";
  if (verb == "pause" || verb == "resume")
    header.paused.store(verb == "pause", std::memory_order_relaxed);
  else if (verb != "status")
    return "error pause, resume or status\n";
  return describe(header);
}

Result<std::string> ask_collector(const std::string& output_directory, pid_t collector, const std::string& verb,
                                  const std::string& ring) {
  const UniqueFd directory = open_directory(output_directory);
  if (!directory) return Error{errno, "cannot open " + output_directory + ": " + strerror(errno)};
  const UniqueFd socket = new_socket();
  const sockaddr_un address = address_of(directory.get(), std::string(kPrefix) + std::to_string(collector));
  const std::string where = output_directory + "/" + std::string(kPrefix) + std::to_string(collector);
  if (!socket || connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error{errno, "its collector is not to be reached by " + where + ": " + strerror(errno)};
  const std::string request = verb + " " + ring;
  if (send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0)
    return Error{errno, "its collector does not listen at " + where + ": " + strerror(errno)};
  std::string reply = receive(socket.get(), kPatience_ms);
  if (reply.empty()) return Error{ETIMEDOUT, "its collector does not answer at " + where};
  if (reply.starts_with("error ")) return Error{EINVAL, reply.substr(6, reply.size() - 7)};
  return reply;
}

}  // namespace watcher

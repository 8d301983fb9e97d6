// What the tests of queue, output and collector share: a directory that goes away, a process's ring with some events.
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/ring_file.h"
#include "runtime/queue/ring_layout.h"

namespace watcher::test {

inline constexpr std::uint64_t kRunId = 0xabc;

class TempDirectory {
 public:
  TempDirectory() {
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~TempDirectory() {
    const std::string command = "rm -rf " + path_;
    if (system(command.c_str()) != 0) perror("rm");
  }
  const std::string& path() const { return path_; }
  std::string file(const char* name) const { return path_ + "/" + name; }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    DIR* directory = opendir(path_.c_str());
    while (const dirent* entry = readdir(directory))
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) found.emplace_back(entry->d_name);
    closedir(directory);
    return found;
  }
  std::size_t count(const char* prefix) const {
    std::size_t found = 0;
    for (const std::string& name : names()) found += name.starts_with(prefix);
    return found;
  }

 private:
  std::string path_ = "/tmp/watcher-test.XXXXXX";
};

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// A writer: this process's ring, one variable, one place.
class Writer {
 public:
  explicit Writer(const std::string& directory, std::uint32_t slots = 1024, OnFull on_full = OnFull::kBlock,
                  std::uint32_t collector_pid = 0) {
    RingSettings settings;
    settings.directory = directory.c_str();
    settings.slot_count = slots;
    settings.heap_bytes = 64 * 1024;
    settings.on_full = on_full;
    settings.run_id = kRunId;
    settings.collector_pid = collector_pid;
    error = ring_create(settings, &ring);
    if (error != 0) return;
    Dictionary& names = ring.dictionary();
    const VariableBlob blob{.id = 7,
                            .name = names.intern("counter"),
                            .format = 0,
                            .item_size = 0,
                            .mutation_depth = 0,
                            .filter = 0,
                            .flags = 0};
    variable = names.intern(BlobKind::kVariable, blob);
    place = names.intern(BlobKind::kPlace,
                         PlaceBlob{.function = names.intern("main"), .file = names.intern("/app.py"), .line = 3});
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  /// As if the process ended: the mapping goes, and the writer's lock with it.
  ~Writer() { leave(); }
  void leave() {
    if (!ring) return;
    const RingLayout layout{ring.header()->slot_count, ring.header()->heap_bytes};
    munmap(ring.header(), layout.mapping_bytes());
    ring = EventRing();
  }

  /// Fills what all events share; the caller commits.
  Claim begin(Op op, std::uint32_t payload_bytes = 0) {
    const Claim claim = ring.claim(payload_bytes);
    if (!claim) return claim;
    EventHead& head = *claim.head;
    head.tsc = ring.now();
    head.variable = variable;
    head.place = place;
    head.context = 0;
    head.thread_id = 42;
    head.op = op;
    head.before_kind = head.after_kind = ValueKind::kUnbound;
    head.flags = static_cast<std::uint8_t>(Scope::kLocal);
    head.before = head.after = head.coalesced = 0;
    return claim;
  }
  bool store(std::int64_t before, std::int64_t after) {
    const Claim claim = begin(Op::kStore);
    if (!claim) return false;
    claim.head->before_kind = claim.head->after_kind = ValueKind::kInt;
    claim.head->before = static_cast<std::uint64_t>(before);
    claim.head->after = static_cast<std::uint64_t>(after);
    claim.commit();
    return true;
  }
  /// before unbound, after a value with payload
  void store_bytes(ValueKind kind, const std::string& bytes, std::uint64_t total = 0, DictionaryRef type = 0) {
    const Claim claim = begin(Op::kStore, sizeof(ValueBlob) + padded8(static_cast<std::uint32_t>(bytes.size())));
    claim.head->after_kind = kind;
    const ValueBlob blob{static_cast<std::uint32_t>(bytes.size()), type, total != 0 ? total : bytes.size()};
    memcpy(claim.payload(), &blob, sizeof blob);
    memcpy(claim.payload() + sizeof blob, bytes.data(), bytes.size());
    claim.commit();
  }

  EventRing ring;
  DictionaryRef variable = 0;
  DictionaryRef place = 0;
  int error = 0;
};

}  // namespace watcher::test

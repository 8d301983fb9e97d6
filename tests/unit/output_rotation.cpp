// events.jsonl put aside, by size and by others, with several processes at it at once.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <algorithm>
#include <map>

#include "runtime/output/journal/jsonl_sink.h"
#include "runtime/output/journal/own_file.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

struct Opened {
  UniqueFd directory;
  std::unique_ptr<JsonlSink> sink;
};

Opened open_sink(const std::string& path, const RotationRules& rules = {}, FsyncPolicy fsync = FsyncPolicy::kNever) {
  Opened opened;
  opened.directory = std::move(open_output_directory(path).value());
  opened.sink = std::move(JsonlSink::open(opened.directory.get(), fsync, rules).value());
  return opened;
}

/// The lines of all files of the directory, oldest file first, unpacked by the system's own programs.
std::vector<std::string> all_lines(const TempDirectory& directory) {
  const std::string command =
      "cd " + directory.path() +
      " && for f in $(ls events-*.jsonl* 2>/dev/null) events.jsonl; do case $f in *.gz) gzip -dc $f;; "
      "*.zst) zstd -qdc $f;; *) cat $f;; esac; done";
  FILE* pipe = popen(command.c_str(), "r");
  std::vector<std::string> lines;
  char line[256];
  while (fgets(line, sizeof line, pipe) != nullptr) lines.emplace_back(line);
  CHECK(pclose(pipe) == 0);
  return lines;
}

std::size_t out_of_order(const std::vector<std::string>& lines) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) wrong += lines[i] != std::to_string(i) + "\n";
  return wrong;
}

off_t size_of(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? status.st_size : -1;
}

}  // namespace

TEST_CASE("a file never grows beyond the size; one batch may fill several") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path(), {.size = 100});
  int next = 0;
  for (const int lines : {1, 500, 3, 3, 3, 90}) {
    std::string batch;
    for (int i = 0; i < lines; ++i) batch += std::to_string(next++) + "\n";
    CHECK(opened.sink->append(batch) == 0);
  }
  const std::vector<std::string> lines = all_lines(directory);
  CHECK(lines.size() == 600);
  CHECK(out_of_order(lines) == 0);
  CHECK(directory.count("events-") > 20);
  for (const std::string& name : directory.names()) CHECK(size_of(directory.file(name.c_str())) <= 100);
}

TEST_CASE("a line longer than the size has a file of its own") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path(), {.size = 10});
  const std::string longest(100, 'x');
  CHECK(opened.sink->append("1\n" + longest + "\n2\n") == 0);
  CHECK(read_text(directory.file("events-000001.jsonl")) == "1\n");
  CHECK(read_text(directory.file("events-000002.jsonl")) == longest + "\n");
  CHECK(read_text(directory.file("events.jsonl")) == "2\n");
}

TEST_CASE("a torn tail is cut off before the file is put aside") {
  for (const bool by_size : {true, false}) {
    const TempDirectory directory;
    std::ofstream(directory.file("events.jsonl")) << "1\n2\n{torn";
    chmod(directory.file("events.jsonl").c_str(), 0600);
    Opened opened = open_sink(directory.path(), {.size = by_size ? 5u : 0u});
    if (!by_size) opened.sink->rotate();
    CHECK(opened.sink->append("3\n") == 0);
    CHECK(read_text(directory.file("events-000001.jsonl")) == "1\n2\n");
    CHECK(read_text(directory.file("events.jsonl")) == "3\n");
  }
}

TEST_CASE("a file renamed or removed by somebody else is left at once, with and without a new one in its place") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path());
  CHECK(opened.sink->append("0\n") == 0);
  REQUIRE(rename(directory.file("events.jsonl").c_str(), directory.file("old.1").c_str()) == 0);
  CHECK(opened.sink->append("1\n") == 0);
  REQUIRE(rename(directory.file("events.jsonl").c_str(), directory.file("old.2").c_str()) == 0);
  close(open(directory.file("events.jsonl").c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(opened.sink->append("2\n") == 0);
  opened.sink->rotate();
  CHECK(opened.sink->append("3\n") == 0);
  REQUIRE(unlink(directory.file("events.jsonl").c_str()) == 0);
  CHECK(opened.sink->append("4\n") == 0);
  CHECK(read_text(directory.file("old.1")) == "0\n");
  CHECK(read_text(directory.file("old.2")) == "1\n");
  CHECK(read_text(directory.file("events-000001.jsonl")) == "2\n");
  CHECK(read_text(directory.file("events.jsonl")) == "4\n");
}

TEST_CASE("an empty file is not put aside, nor is one that somebody else has just put aside") {
  const TempDirectory directory;
  Opened first = open_sink(directory.path());
  Opened second = open_sink(directory.path());
  first.sink->rotate();
  CHECK(directory.count("events-") == 0);
  CHECK(first.sink->append("0\n") == 0);
  first.sink->rotate();
  second.sink->rotate();
  CHECK(directory.count("events-") == 1);
}

TEST_CASE("names that others chose do not lead the numbers astray") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path(), {.size = 4});
  for (const char* name : {"events-18446744073709551615.jsonl", "events-999999999999999.jsonl", "events-.jsonl",
                           "events-7.jsonl.bz2", "events--3.jsonl", "events-0.jsonl", "events-5.jsonl.gz"})
    std::ofstream(directory.file(name)) << "";
  CHECK(opened.sink->append("0\n1\n2\n") == 0);
  CHECK(read_text(directory.file("events-000006.jsonl")) == "0\n1\n");
  CHECK(read_text(directory.file("events.jsonl")) == "2\n");
}

TEST_CASE("only the newest are kept") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path(), {.size = 10, .keep = 3});
  for (int i = 0; i < 100; ++i) CHECK(opened.sink->append(std::to_string(i) + "\n") == 0);
  opened.sink->rotated().finish();
  CHECK(directory.count("events-") == 3);
  CHECK(all_lines(directory).back() == "99\n");
}

TEST_CASE("put aside, they are compressed, also what a killed collector has left, but not what is in use") {
  for (const auto& [compression, suffix] :
       {std::pair(Compression::kGzip, ".gz"), std::pair(Compression::kZstd, ".zst")}) {
    const TempDirectory directory;
    std::ofstream(directory.file("events-000001.jsonl")) << "0\n";
    std::ofstream(directory.file(("events-000001.jsonl" + std::string(suffix)).c_str())) << "half";
    std::ofstream(directory.file((".events-000001.jsonl" + std::string(suffix) + ".new").c_str())) << "half";
    for (const std::string& name : directory.names()) chmod(directory.file(name.c_str()).c_str(), 0600);
    Opened opened = open_sink(directory.path(), {.size = 1'000, .compression = compression}, FsyncPolicy::kBatch);
    opened.sink->rotated().spare([] { return std::uint64_t{7}; });
    for (int i = 1; i < 3000; ++i) CHECK(opened.sink->append(std::to_string(i) + "\n") == 0);
    CHECK(opened.sink->flush());
    opened.sink->rotated().finish();
    const std::vector<std::string> lines = all_lines(directory);
    CHECK(lines.size() == 3000);
    CHECK(out_of_order(lines) == 0);
    std::size_t packed = 0, left = 0;
    for (const RotatedFile& file : rotated_files(opened.directory.get())) file.compressed ? ++packed : ++left;
    CHECK(packed == 6);
    CHECK(left > 6);
    CHECK(directory.count(".") == 0);
    struct stat status {};
    REQUIRE(stat(directory.file(("events-000001.jsonl" + std::string(suffix)).c_str()).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

TEST_CASE(
    "several processes append, rotate and compress at once, others rename: every line once, whole, in its order") {
  const TempDirectory directory;
  constexpr int kProcesses = 6;
  constexpr int kBatches = 250;
  constexpr int kLines = 8;
  std::vector<pid_t> children;
  for (int id = 0; id < kProcesses; ++id) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    Opened opened = open_sink(directory.path(), {.size = 10'000, .compression = Compression::kGzip});
    for (int batch = 0; batch < kBatches; ++batch) {
      std::string text;
      for (int i = 0; i < kLines; ++i) text += std::to_string(id) + " " + std::to_string(batch * kLines + i) + "\n";
      if (opened.sink->append(text) != 0) _exit(1);
      if (batch % 50 == id) opened.sink->rotate();
    }
    opened.sink->rotated().finish();
    _exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  std::map<std::string, int> next;
  std::size_t wrong = 0;
  const std::vector<std::string> lines = all_lines(directory);
  for (const std::string& line : lines) {
    const std::size_t blank = line.find(' ');
    wrong += line != line.substr(0, blank) + " " + std::to_string(next[line.substr(0, blank)]++) + "\n";
  }
  CHECK(lines.size() == kProcesses * kBatches * kLines);
  CHECK(wrong == 0);
  CHECK(directory.count("events-") > 10);
}

TEST_CASE("a collector that stands still with the lock holds up nobody, and its file is not compressed under it") {
  const TempDirectory directory;
  Opened opened = open_sink(directory.path(), {.size = 4, .compression = Compression::kGzip});
  CHECK(opened.sink->append("0\n") == 0);
  const UniqueFd other(open(directory.file("events.jsonl").c_str(), O_RDWR | O_APPEND));
  REQUIRE(flock(other.get(), LOCK_EX) == 0);
  for (int i = 1; i < 4; ++i) CHECK(opened.sink->append(std::to_string(i) + "\n") == 0);
  CHECK(directory.count("events-") == 0);
  REQUIRE(rename(directory.file("events.jsonl").c_str(), directory.file("events-000001.jsonl").c_str()) == 0);
  opened.sink->rotated().look_soon();
  CHECK(opened.sink->append("4\n") == 0);
  opened.sink->rotated().finish();
  CHECK(write(other.get(), "late\n", 5) == 5);
  CHECK(read_text(directory.file("events-000001.jsonl")).ends_with("late\n"));
}

}  // namespace watcher::test

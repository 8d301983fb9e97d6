// Where the configuration comes from: environment, files, and which files are refused.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "config/config_file.h"
#include "config/environment.h"
#include "config/toml_file.h"

namespace watcher {
namespace {

/// A directory of its own, entered for the time of the test.
class Scratch {
 public:
  Scratch() : back_(open(".", O_PATH | O_DIRECTORY)) {
    REQUIRE(mkdtemp(path_));
    REQUIRE(chdir(path_) == 0);
  }
  ~Scratch() {
    if (fchdir(back_) == 0) (void)!system(("rm -rf " + std::string(path_)).c_str());
    close(back_);
  }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/watcher-config-XXXXXX";
  int back_;
};

void write_file(const std::string& path, std::string_view text, mode_t mode = 0644) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  REQUIRE(fchmod(fd, mode) == 0);
  close(fd);
}

struct Loaded {
  Options options;
  std::string error;
  bool asked = false;
};

Loaded load(std::vector<const char*> environment) {
  environment.push_back(nullptr);
  Loaded loaded;
  auto result = load_from_environment(environment.data(), &loaded.asked);
  if (result)
    loaded.options = result.value();
  else
    loaded.error = result.error().message;
  return loaded;
}

std::string refusal(const std::string& path) {
  const auto text = read_config_file(path);
  return text ? "" : text.error().message;
}

TEST_CASE("nothing set and no file: nobody asked") {
  const Scratch scratch;
  const Loaded loaded = load({"PATH=/bin", "WATCHERS=1", "WATCHER_", "WATCHER_ENGINE="});
  CHECK(loaded.error == "");
  CHECK_FALSE(loaded.asked);
  bool asked = true;
  CHECK(load_from_environment(nullptr, &asked));
  CHECK_FALSE(asked);
}

TEST_CASE("a watcher.toml in the working directory is found") {
  const Scratch scratch;
  write_file("watcher.toml", "engine = 'uffd'\noutput = 'o'\n[[watch]]\nfile='a.py'\nlocal='x'");
  const Loaded loaded = load({});
  CHECK(loaded.asked);
  CHECK(loaded.options.get("engine") == "uffd");
  CHECK(loaded.options.get("config") == "./watcher.toml");
  CHECK(loaded.options.get("output") == "o");
  CHECK(loaded.options.rules().size() == 1);
}

TEST_CASE("WATCHER_CONFIG replaces it, and the environment goes over the file") {
  const Scratch scratch;
  write_file("watcher.toml", "engine = 'uffd'");
  write_file("other.toml",
             "engine = 'hwbp'\nburst = 'off'\nfiles_scope = 'missing.txt'\n[[watch]]\nfile='a.py'\nlocal='x'");
  write_file("scope.txt", "a.py:(y)\n");
  const Loaded loaded = load(
      {"WATCHER_ENGINE=inline", "WATCHER_CONFIG=other.toml", "WATCHER_FILES_SCOPE=scope.txt", "WATCHER_ENGINE=auto"});
  CHECK(loaded.error == "");
  CHECK(loaded.options.get("engine") == "inline");
  CHECK(loaded.options.get("burst") == "off");
  const std::vector<WatchRule> expected = {{"a.py", {{RuleScope::kLocal, "x"}, {RuleScope::kUnknown, "y"}}}};
  CHECK(loaded.options.rules() == expected);
}

TEST_CASE("started by watcher-exec means asked") {
  const Scratch scratch;
  CHECK(load({"WATCHER_RUN_ID=0123456789abcdef"}).asked);
  CHECK(load({"WATCHER_COLLECTOR_PID=1"}).asked);
  CHECK(load({"WATCHER_LOG_LEVEL=ERROR"}).asked);
}

TEST_CASE("errors name the variable or the file") {
  const Scratch scratch;
  CHECK(load({"WATCHER_FSYNC=always"}).error == "WATCHER_FSYNC: fsync is one of never, batch, every, not 'always'");
  CHECK(load({"WATCHER_CONFIG=none.toml"}).error == "none.toml: No such file or directory");
  CHECK(load({"WATCHER_FILES_SCOPE=none.txt"}).error == "none.txt: No such file or directory");
  write_file("watcher.toml", "engine = 1");
  CHECK(load({}).error.find("./watcher.toml:1:10: engine is one of") == 0);
}

TEST_CASE("foreign WATCHER_ variables are left alone; mistyped ones get a word") {
  const Scratch scratch;
  const Loaded loaded = load({"WATCHER_DISABLE=0", "WATCHER_SERVICE_PORT=80", "WATCHER_MAX_QUEUESIZE=7"});
  CHECK(loaded.error == "");
  CHECK_FALSE(loaded.asked);
  REQUIRE(loaded.options.warnings().size() == 1);
  CHECK(loaded.options.warnings()[0] ==
        "WATCHER_MAX_QUEUESIZE is no option of Watcher; did you mean WATCHER_MAX_QUEUE_SIZE?");
}

TEST_CASE("files that others may write are refused") {
  const Scratch scratch;
  write_file("good.toml", "", 0644);
  CHECK(refusal("good.toml") == "");
  write_file("group.toml", "", 0664);
  CHECK(refusal("group.toml").find("group.toml: refused, because others may write to it") == 0);
  write_file("world.toml", "", 0606);
  CHECK(refusal("world.toml").find("refused, because others may write to it") != std::string::npos);
  CHECK(refusal(".").find("not a regular file") != std::string::npos);
  REQUIRE(mkfifo("fifo", 0600) == 0);
  CHECK(refusal("fifo").find("not a regular file") != std::string::npos);
  CHECK(refusal("/dev/null").find("not a regular file") != std::string::npos);
}

TEST_CASE("files of other users are refused, root's are fine") {
  const Scratch scratch;
  CHECK(refusal("/etc/passwd") == "");
  if (geteuid() != 0) return;
  write_file("theirs.toml", "");
  REQUIRE(chown("theirs.toml", 1234, 1234) == 0);
  CHECK(
      refusal("theirs.toml").find("theirs.toml: refused, because it belongs to user 1234; it must belong to user 0") ==
      0);
}

TEST_CASE("a directory in which everybody may replace the file is refused, a sticky one is fine") {
  const Scratch scratch;
  REQUIRE(mkdir("open", 0755) == 0);
  REQUIRE(mkdir("open/inner", 0755) == 0);
  write_file("open/inner/watcher.toml", "");
  CHECK(refusal("open/inner/watcher.toml") == "");
  REQUIRE(chmod("open", 0777) == 0);
  CHECK(refusal("open/inner/watcher.toml").find("everybody may replace it in " + scratch.path() + "/open;") !=
        std::string::npos);
  REQUIRE(symlink("open/inner/watcher.toml", "link.toml") == 0);
  CHECK(refusal("link.toml") != "");
  REQUIRE(chmod("open", 01777) == 0);
  CHECK(refusal("open/inner/watcher.toml") == "");
  CHECK(refusal("link.toml") == "");
  if (geteuid() != 0) return;
  REQUIRE(chmod("open", 0755) == 0);
  REQUIRE(chown("open", 1234, 1234) == 0);
  CHECK(refusal("open/inner/watcher.toml")
            .find("refused, because user 1234 may replace it in " + scratch.path() + "/open,") != std::string::npos);
}

TEST_CASE("a file that grows beyond reason is refused") {
  const Scratch scratch;
  write_file("long.toml", "");
  REQUIRE(truncate("long.toml", 17 << 20) == 0);
  CHECK(refusal("long.toml").find("longer than 16 MiB") != std::string::npos);
}

}  // namespace
}  // namespace watcher

// What programs say of us, and whether it is known that they say nothing.
#include "probes/node/loading/main_script.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace watcher::test {
namespace {

using node::kImports, node::kImportsWorkers, node::kMentionsUs;

/// A program in a directory of its own.
class Program {
 public:
  Program() {
    std::string name = "/tmp/watcher-program-XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~Program() { std::filesystem::remove_all(directory_); }

  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((directory_ / file).parent_path());
    std::ofstream(directory_ / file) << text;
  }
  int says(const std::string& text, const std::string& flags = "") {
    write("main.mjs", text);
    return node::mentions(directory_ / "main.mjs", flags).value_or(-1);
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace

TEST_CASE("a program that imports only what node has, and files that do so, is closed") {
  Program program;
  program.write("lib/a.mjs",
                "import fs from 'node:fs/promises'; export * from './b.mjs?v=1'; import{c}from\"../c.cjs\"");
  program.write("lib/b.mjs", "export const b = await import('path');");
  program.write("c.cjs", "exports.c = require('./lib/d') // in a folder of its own");
  program.write("lib/d/index.js", "module.exports = Array.from('abc')");
  CHECK(program.says("import { b } from './lib/a.mjs';\nconsole.log(b, import.meta.url)") == 0);
  CHECK(program.says("0;") == 0);
  CHECK(program.says("import a from 'os'; import { b } from './main.mjs'") == 0);
}

TEST_CASE("what may import more is open") {
  Program program;
  program.write("lib/deep.mjs", "import 'express'");
  for (const char* text :
       {"import 'express'", "import x from './lib/deep.mjs'", "export { x } from 'some'", "import(name)",
        "import('./a' + b)", "import(`./${name}.mjs`)", "import('./none.mjs')", "import 'no\\x64e:fs'",
        "import x from /* of */ 'node:fs'", "import m from 'node:module'", "import './lib'", "import '#own'",
        "import fs from 'fs'; const load = require(name)", "import fs from 'fs'; require('express')"})
    CHECK_MESSAGE(program.says(text) == kImports, text);
  CHECK(program.says("require('express')") == 0);
  CHECK(program.says("// may import anything from 1 on") == 0);
  CHECK(program.says("0;", "--import,./first.mjs") == kImports);
  CHECK(program.says("import 'fs'", "--require ./first.cjs") == kImports);
}

TEST_CASE("a program that cannot be linked runs nothing") {
  Program program;
  program.write("lib/lacks.mjs", "import './none.mjs'");
  CHECK(program.says("import './none.mjs'") == 0);
  CHECK(program.says("import './lib/lacks.mjs'") == 0);
  CHECK(program.says("import './none.mjs'; import 'express'") == kImports);
  CHECK(program.says("import('./lib/lacks.mjs')") == kImports);  // what is lacking can be written until then
  CHECK(program.says("import './none'", "--experimental-specifier-resolution=node") == kImports);
  CHECK(program.says("import './lib/lacks.mjs#2'") == kImports);
}

TEST_CASE("no more is read than start-up has time for") {
  Program program;
  program.write("large.mjs", std::string(200 << 10, ' '));
  CHECK(program.says("import './large.mjs'") == kImports);
  std::string all;
  for (int i = 0; i < 40; ++i) {
    program.write(std::to_string(i) + ".mjs", i == 39 ? "import 'watcher'" : "");
    all += "import './" + std::to_string(i) + ".mjs';";
  }
  CHECK(program.says(all) == kImports);
}

TEST_CASE("our name is found in every file that is read, as a text of its own") {
  Program program;
  program.write("lib/a.js", "const { watch } = require('watcher')");
  CHECK(program.says("require('./lib/a')") == kMentionsUs);
  CHECK(program.says("import './lib/a.js'") == (kMentionsUs | kImports));
  CHECK(program.says("const watcher = 'a watcher'; /* watcher */") == 0);
  CHECK(node::mentions_in("require(`watcher`)", "") == kMentionsUs);
}

TEST_CASE("workers and the files that they run") {
  Program program;
  program.write("lib/worker.mjs", "import { watch } from 'watcher'");
  CHECK(program.says("import { Worker } from 'worker_threads'") == kImportsWorkers);
  CHECK(program.says("require('worker_threads')") == 0);
  CHECK(
      program.says("import { Worker } from 'worker_threads'; new Worker(new URL('lib/worker.mjs', import.meta.url))") ==
      (kMentionsUs | kImports | kImportsWorkers));
  CHECK(program.says("new (require('worker_threads').Worker)(`${__dirname}/lib/none.js`, 'a.js b.js')") == 0);
}

TEST_CASE("a pipe or a folder is not read") {
  CHECK_FALSE(node::mentions("/dev/null", ""));
  CHECK_FALSE(node::mentions("/tmp", ""));
  CHECK_FALSE(node::mentions("/nowhere", ""));
}

}  // namespace watcher::test

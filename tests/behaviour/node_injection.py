"""How Watcher comes into a node program, and that the program cannot tell."""

import harness
import node_support
from node_support import BUILD, INTERPRETERS

SHOWN = "console.log(typeof {0}.watch, process.env.NODE_OPTIONS, process.execArgv.join(), JSON.stringify(process._preload_modules))"
REQUIRE = "const w = require('watcher'); " + SHOWN.format("w") + "; console.log(require.main === module, Object.keys(require.cache).length > 0)\n"
IMPORT = "import w, { watch } from 'watcher';\nconsole.log(typeof watch, w.watch === watch, process.env.NODE_OPTIONS, process.execArgv.join())\n"


class Injection(node_support.Case):
    def same(self, files, arguments=(), stdin=None, environment=None):
        """The stub instead of us gives the same output, under LD_PRELOAD alone and under watcher-exec."""
        program = self.write(files)
        arguments = arguments or [str(program)]
        for version, node in INTERPRETERS:
            plain = self.plain_node(node, arguments, environment, stdin)
            self.assertIn(b"function", plain.stdout, plain.stderr[-400:])
            for launcher in (False, True):
                with self.subTest(node=node, launcher=launcher):
                    run = self.watched_node(node, arguments, environment, stdin, launcher)
                    self.assertEqual((run.stdout, run.status), (plain.stdout, plain.status), run.stderr[-600:])

    def test_require(self):
        self.same({"app.js": REQUIRE})

    def test_user_options_are_kept(self):
        self.same({"app.js": REQUIRE}, environment={"NODE_OPTIONS": "--no-warnings --max-old-space-size=300"})

    def test_import_in_modules(self):
        self.write({"main.mjs": IMPORT, "node_modules/watcher/package.json": '{"main": "i.cjs"}',
                    "node_modules/watcher/i.cjs": "const watch = (v) => v; module.exports = { watch };"})
        stub = self.directory / "node_modules"
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                own = self.watched_node(node, [str(self.directory / "main.mjs")])
                self.assertEqual((own.stdout, own.status), (b"function true undefined \n", 0), own.stderr[-400:])
        stub.rename(self.directory / "elsewhere")
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                ours = self.watched_node(node, [str(self.directory / "main.mjs")])
                self.assertEqual((ours.stdout, ours.status), (b"function true undefined \n", 0), ours.stderr[-400:])

    def test_dynamic_import(self):
        program = self.write({"app.js": "import('watcher').then((w) => console.log(typeof w.watch))\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                self.assertEqual(self.watched_node(node, [str(program)]).stdout, b"function\n")

    def test_eval_and_standard_input(self):
        self.same({"unused.js": ""}, ["-e", "console.log(typeof require('watcher').watch, process.env.NODE_OPTIONS)"])
        self.same({"unused.js": ""}, ["-"], stdin=b"console.log(typeof require('watcher').watch)")

    def test_workers_and_children(self):
        self.same({"app.js": """
const { Worker, isMainThread, workerData } = require('worker_threads');
const say = () => console.log(typeof require('watcher').watch, process.env.NODE_OPTIONS, process.env.OWN, process.execArgv.join());
if (!isMainThread || process.argv[2]) say();
else {
  const runs = [{}, { env: { OWN: 'a', NODE_PATH: process.env.NODE_PATH } }, { execArgv: ['--no-warnings'] }];
  const next = () => runs.length === 0 ? require('child_process').fork(__filename, ['child'])
    : new Worker(__filename, runs.shift()).on('exit', next);
  next();
}
"""})

    def test_cluster(self):
        self.same({"app.js": """
const cluster = require('cluster');
if (cluster.isPrimary) { cluster.fork().on('exit', (code) => console.log('function', code)); }
else { console.log(typeof require('watcher').watch); process.exit(3); }
"""})

    def test_own_package_wins(self):
        program = self.write({"app.js": "console.log(require('watcher').own)\n",
                              "node_modules/watcher/index.js": "exports.own = 'the application has one';\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                self.assertEqual(self.watched_node(node, [str(program)]).stdout, b"the application has one\n")

    def test_stays_out_of_the_permission_model(self):
        program = self.write({"app.js": "console.log('runs')\n"})
        for version, node in INTERPRETERS:
            flag = {"20": "--experimental-permission", "22": "--permission", "24": "--permission"}.get(version)
            if flag is None:
                continue
            with self.subTest(node=node):
                run = self.watched_node(node, [flag, "--allow-fs-read=*", str(program)], {"WATCHER_LOG_LEVEL": "INFO"})
                self.assertEqual((run.stdout, run.status), (b"runs\n", 0))
                self.assertIn(b"is not watched", run.stderr)

    def test_a_node_that_never_watches_shows_nothing(self):
        program = self.write({"app.js": "console.log(process.env.NODE_OPTIONS, Object.keys(require.cache).length, process.execArgv)\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                plain = self.execute([node, str(program)])
                bare = self.execute([node, str(program)], {"LD_PRELOAD": node_support.PRELOAD})
                self.assertEqual((bare.stdout, bare.stderr, bare.returncode), (plain.stdout, plain.stderr, plain.returncode))
                self.assertFalse((self.directory / "watcher_output").exists())


if __name__ == "__main__":
    assert BUILD.exists()
    harness.main()

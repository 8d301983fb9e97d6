"""How Watcher comes into a node program, and that the program cannot tell."""

import os
import shutil

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

    def test_import_where_only_a_file_behind_the_main_script_names_us(self):
        """A run that nobody asked to be watched, on node before 22.15 too."""
        watching = "import { watch, stats } from 'watcher'; const a = watch(new Float64Array(4), { name: 'a' }); a[1] = 2; "
        told = watching + "export const told = stats().emitted; "
        worker = "import { Worker } from 'node:worker_threads'; new Worker(new URL('worker.mjs', import.meta.url), { env: { A: 'a' } });"
        self.write({"lib/told.mjs": told, "lib/again.mjs": "export * from './told.mjs';", "lib/later.js": "module.exports = import('./told.mjs')",
                    "lib/worker.mjs": watching + "console.log(stats().emitted, process.env.NODE_OPTIONS)", "lib/starts.mjs": worker,
                    "imports.mjs": "import { told } from './lib/again.mjs'; console.log(told);",
                    "requires.js": "require('./lib/later').then((m) => console.log(m.told));",
                    "starts.mjs": "import './lib/starts.mjs'",
                    "both.mjs": worker.replace("worker.mjs", "lib/worker.mjs") + "import './lib/told.mjs'"})
        for version, node in INTERPRETERS:
            for main, output in {"imports.mjs": b"1\n", "requires.js": b"1\n", "starts.mjs": b"1 undefined\n", "both.mjs": b"2 undefined\n"}.items():
                with self.subTest(node=node, main=main):
                    run = self.execute([node, str(self.directory / main)], {"LD_PRELOAD": node_support.PRELOAD})
                    self.assertEqual((run.stdout, run.returncode), (output, 0), run.stderr[-600:])

    def test_eval_and_standard_input(self):
        self.same({"unused.js": ""}, ["-e", "console.log(typeof require('watcher').watch, process.env.NODE_OPTIONS)"])
        self.same({"unused.js": ""}, ["-"], stdin=b"console.log(typeof require('watcher').watch)")

    def test_a_program_in_a_pipe_is_not_read_before_node_does(self):
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                done = self.execute(["bash", "-c", f"rm -f p; mkfifo p; echo 'console.log(6 * 7)' > p & {node} ./p"], {"LD_PRELOAD": node_support.PRELOAD})
                self.assertEqual((done.stdout, done.returncode), (b"42\n", 0), done.stderr)

    def test_workers_and_children(self):
        self.same({"app.js": """
const { Worker, isMainThread, workerData } = require('worker_threads');
const say = () => console.log(typeof require('watcher').watch, process.env.NODE_OPTIONS, process.env.OWN, process.execArgv.join());
if (!isMainThread || process.argv[2]) say();
else {
  const runs = [{}, { env: process.env }, { env: { OWN: 'a', NODE_PATH: process.env.NODE_PATH } }, { execArgv: ['--no-warnings'] }];
  const next = () => runs.length === 0 ? require('child_process').fork(__filename, ['child'])
    : new Worker(__filename, runs.shift()).on('exit', next);
  next();
}
"""})

    def test_modules_of_the_user_that_are_loaded_first(self):
        self.same({"app.js": "console.log('main', typeof require('watcher').watch, JSON.stringify(process._preload_modules))\n",
                   "first.cjs": "console.log('first')\n"}, ["-r", "./first.cjs", "app.js"])
        self.same({"app.js": "const { Worker } = require('worker_threads');\nrequire('watcher');\n"
                             "new Worker('console.log(`function`)', { eval: true, execArgv: ['--require', './first.cjs'] });\n",
                   "first.cjs": "console.log('first')\n"})

    def test_options_of_the_process_in_a_workers_copied_environment(self):
        program = self.write({"app.js": "const { Worker } = require('worker_threads');\n"
                              "const run = () => new Worker('console.log(process.env.NODE_OPTIONS)', { eval: true, env: { ...process.env } });\n"
                              "try { run().on('exit', () => console.log(process.env.NODE_OPTIONS)); } catch (error) { console.log(error.code); }\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                options = {"NODE_OPTIONS": "--title=other"}
                plain = self.execute([node, str(program)], options)
                self.assertTrue(plain.stdout)
                self.assertEqual(self.execute([node, str(program)], {"LD_PRELOAD": node_support.PRELOAD, **options}).stdout, plain.stdout)

    def test_stack_traces_are_the_same(self):
        traces = "const show = (f) => { try { f(); } catch (e) { console.log(e.stack); } };\n" \
                 "console.log(new Error('function').stack);\nshow(() => require('./nothing'));\nshow(() => require('./throws.cjs'));\n" \
                 "show(() => require('module')._load(7));\nshow(() => new (require('module'))('x')._compile('(', 'y.js'));\n"
        program = self.write({"app.js": traces, "throws.cjs": "throw new Error('in');\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                plain = self.execute([node, str(program)])
                self.assertEqual(self.execute([node, str(program)], {"LD_PRELOAD": node_support.PRELOAD}).stdout, plain.stdout)

    def test_a_program_that_empties_the_cache_of_modules(self):
        """As test runners and what reloads servers do: there is one watcher all the same."""
        program = self.write({"app.js": """
const first = require('watcher');
const array = first.watch(new Float64Array(8), { name: 'array' }), object = first.watch({ x: 1 }, { name: 'object', trackThreads: true });
console.log(Object.keys(require.cache).length);
for (const key of Object.keys(require.cache)) delete require.cache[key];
const again = require('watcher');
array[1] = 2, object.x = 3;
console.log(again === first, again.watch(object, { name: 'object' }) === object, again.unwatch(array), again.unwatch(object));
"""})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                run = self.watched_node(node, [str(program)])
                self.assertEqual((run.stdout, run.status), (b"1\ntrue true true true\n", 0), run.stderr[-400:])
                self.assertEqual([event["variable_name"] for event in run.events], ["array", "object"])

    def test_a_node_without_shared_memory(self):
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                run = self.watched_node(node, ["--enable-sharedarraybuffer-per-context", "-e", "console.log(typeof require('watcher').watch(new Uint8Array(4)))"])
                self.assertEqual((run.stdout, run.status), (b"object\n", 0), run.stderr[-300:])

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

    def never_watched(self, program, shim=node_support.PRELOAD):
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                plain = self.execute([node, str(program)])
                bare = self.execute([node, str(program)], {"LD_PRELOAD": shim})
                self.assertEqual((bare.stdout, bare.stderr, bare.returncode), (plain.stdout, plain.stderr, plain.returncode))
                self.assertFalse((self.directory / "watcher_output").exists())

    def test_a_node_that_never_watches_shows_nothing(self):
        shown = "console.log(process.env.NODE_OPTIONS, Object.keys(require.cache).length, process.execArgv, process._preload_modules);\n"
        self.never_watched(self.write({"app.js": shown + "new (require('worker_threads').Worker)(" + repr(shown) + ", { eval: true, env: { A: 'a' } });\n"
                                       "console.log(Object.keys(require.cache).length);\n"}))

    def test_programs_of_a_node_that_loads_no_file_first(self):
        """node --watch and --run start another node, with the environment that they have."""
        shown = "console.log(process.env.NODE_OPTIONS, process.execArgv.join(), typeof require('watcher').watch); if (process.env.ENDS) process.kill(process.ppid);\n"
        self.write({"app.js": shown, "node_modules/watcher/index.js": "", "package.json":
                    '{"scripts": {"app": "node app.js", "closed": "node --permission --allow-fs-read=* app.js"}}'})
        for version, node in INTERPRETERS:
            path = {"PATH": f"{os.path.dirname(node)}:{os.environ['PATH']}"}
            runs = [["--watch", "app.js"]] * (version != "18") + [["--run", "app"], ["--run", "closed"]] * (version in ("22", "24"))
            for arguments in runs:
                for own in ({}, {"NODE_OPTIONS": ""}, {"NODE_OPTIONS": "--no-warnings"}):
                    with self.subTest(node=node, arguments=arguments, own=own):
                        settings = {**path, **own, **({"ENDS": "1"} if arguments[0] == "--watch" else {})}
                        plain, shimmed = (self.execute([node, *arguments], {**settings, **more}) for more in ({}, {"LD_PRELOAD": node_support.PRELOAD}))
                        self.assertIn(b"undefined", plain.stdout, plain.stderr)
                        self.assertEqual((shimmed.stdout, shimmed.returncode), (plain.stdout, plain.returncode), shimmed.stderr)

    def test_what_is_not_found_is_told_as_without_us(self):
        for main in (self.write({"app.mjs": "import './none.mjs';\n"}), self.write({"behind.mjs": "import './app.mjs';\n"}),
                     self.directory / "none.js"):
            self.never_watched(main)

    def test_processes_of_the_test_runner_see_nothing_of_us(self):
        program = self.write({"app.test.js": "require('node:test')('one', () => {});\n"
                              "console.log('SHOWN', process.execArgv.join(), process.env.NODE_OPTIONS, JSON.stringify(process._preload_modules), typeof require('watcher').watch);\n",
                              "node_modules/watcher/index.js": ""})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                plain, shimmed = (self.execute([node, "--test", str(program)], more).stdout for more in ({}, {"LD_PRELOAD": node_support.PRELOAD}))
                shown = [line for line in plain.splitlines() if b"SHOWN" in line]
                self.assertEqual([line for line in shimmed.splitlines() if b"SHOWN" in line], shown)
                self.assertEqual(len(shown), 1, plain)

    def test_options_in_a_file_of_environment_variables(self):
        self.write({".env": "A=1\nNODE_OPTIONS='--title=other'\n"})
        program = self.write({"app.js": "console.log(process.title, process.env.A, process.env.NODE_OPTIONS);\n"})
        for version, node in INTERPRETERS:
            for option in (["--env-file=.env"], ["--env-file", ".env"]) if int(version) >= 20 else ():
                with self.subTest(node=node, option=option):
                    plain, shimmed = (self.execute([node, *option, str(program)], more) for more in ({}, {"LD_PRELOAD": node_support.PRELOAD}))
                    self.assertEqual(plain.stdout, b"other 1 --title=other\n", plain.stderr)
                    self.assertEqual((shimmed.stdout, shimmed.stderr), (plain.stdout, plain.stderr))

    def test_reports_of_coverage_are_the_programs_own(self):
        self.write({"lib.js": "exports.half = (a) => { if (a) return 1; else return 2 };\n"})
        program = self.write({"app.test.js": "const { test } = require('node:test');\nconst { half } = require('./lib.js');\ntest('half', () => import('fs').then(() => half(1)));\n"})
        for version, node in INTERPRETERS:
            with self.subTest(node=node):
                command = [node, "--test", "--experimental-test-coverage", str(program)]
                plain, shimmed = (self.execute(command, more).stdout.decode() for more in ({}, {"LD_PRELOAD": node_support.PRELOAD}))
                report = [line for line in plain.splitlines() if "|" in line]
                self.assertTrue(any("lib.js" in line for line in report), plain)
                self.assertEqual([line for line in shimmed.splitlines() if "|" in line], report)

    def test_a_node_that_never_watches_and_finds_our_files_gone(self):
        home = self.directory / "watcher"
        scripts = home / "node_modules" / "watcher"
        scripts.mkdir(parents=True)
        for file in ("preload/libwatcher_preload.so", "runtime/libwatcher_runtime.so", "probes/node/watcher_node.so"):
            shutil.copy(BUILD / file, home)
        shutil.copy(BUILD / "probes/node/node_modules/watcher/boot.cjs", scripts)
        self.never_watched(self.write({"app.js": "const { Worker } = require('worker_threads');\nconst name = 'watch' + 'er';\n"
                                       "try { require(name); } catch (error) { console.log(error.message); }\n"}),
                           str(home / "libwatcher_preload.so"))


if __name__ == "__main__":
    assert BUILD.exists()
    harness.main()

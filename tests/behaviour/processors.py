"""Processors between the events and their file: the guide's contract, what they may not do to a run, and chains."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EXEC = str(harness.BUILD / "tools" / "watcher-exec")
PYTHONS = [path for _, path in harness.INTERPRETERS]
NODE = shutil.which("node")

# 100 stores of `total`, 50 appends.
APP = """
def main():
    from watcher import watch
    total = watch(0, name="total")
    processed = watch([], name="processed")
    for i in range(100):
        total = total + 1
        if i % 2 == 0:
            processed.append(i)
    print(total, len(processed))
main()
"""
COUNTING = """
import sys
from watcher import watch
def main(n):
    total = watch(0, name="total")
    for i in range(n):
        total = total + 1
    print(total)
main(int(sys.argv[1]))
"""


class Processors(harness.Case):
    def run_with(self, processor, name="processor.py", app=APP, arguments=(), python=PYTHONS[0], options=(), config=None,
                 environment=None, preload=False):
        """A watched run with one processor, compared with a plain one."""
        program = self.write({"app.py": app, **({name: processor} if processor is not None else {})})
        if processor is not None:
            options = ["--custom-processor", str(self.directory / name), *options]
        plain = self.plain(python, program, arguments)
        run = self.watched(python, program, arguments, config, options, environment=environment, preload=preload)
        self.assertEqual(run.stdout, plain.stdout)
        self.assertEqual(run.status, plain.status)
        return run

    def counts(self, run, index=0):
        return {key: value for key, value in run.summary["processors"][index].items() if key not in ("name", "output_bytes")}

    def assert_counts(self, run, index=0, **expected):
        counts = self.counts(run, index)
        for key in ("passed", "dropped", "failed", "timeouts", "restarts"):
            self.assertEqual(counts[key], expected.get(key, 0), (key, counts))

    def test_the_guides_complete_example(self):
        processor = """
def main(event):
    if len(event['deltas']) > 50:
        return {"action": "drop"}
    return {"action": "annotate", "annotations": {"flagged": True}}
"""
        for python in PYTHONS:
            with self.subTest(python=python):
                run = self.run_with(processor, python=python)
                self.assertEqual(len(run.events), 150)
                self.assertEqual([event.get("annotations") for event in run.events], [{"flagged": True}] * 150)
                self.assert_counts(run, passed=150)
                self.assertEqual(run.stderr, b"")
                self.assertEqual(list(self.directory.glob("out-*/spool.*")), [])

    def test_the_guides_second_example_leaves_out_what_is_small(self):
        processor = """
def main(event):
    if len(event['deltas']) < 2:
        return {"action": "drop"}
    if len(event['deltas']) > 10:
        return {"action": "annotate", "annotations": {"severity": "high", "flag_for_review": True}}
    return {"action": "pass"}
"""
        app = APP.replace("main()\n", "main()\n", 1) + "from watcher import watch\ntext = watch('', name='text')\n" \
            "text = 'x' * 40\ntext = 'y' * 40\ntext = 'yyz' + 'y' * 37\ntext = 'zyy' + 'y' * 37\n"
        run = self.run_with(processor, app=app)
        self.assertEqual([event.get("annotations") for event in run.events],
                         [{"severity": "high", "flag_for_review": True}, None])
        self.assert_counts(run, passed=2, dropped=152)

    def test_each_action_and_the_aliases(self):
        processor = """
import sys
def main(event):
    n = event["after"]["value"] if event["variable_name"] == "total" else 0
    if n == 1: return {"action": "pass"}
    if n == 2: return {"action": "drop", "reason": "even"}
    if n == 3: return {"action": "annotate", "annotations": {"big": 2**70, "text": "\\u00e9\\n", "none": None}}
    if n == 4: return {"action": "enrich", "extra": {key: event[key] for key in
               ("ts_ns", "symbol", "tid", "variable_ids", "sql_context_id")}}
    if n == 5: return "pass"
    if n == 6: return {"action": "annotate", "annotations": {"argv": sys.argv[1:], "name": __name__}}
    return "drop"
"""
        run = self.run_with(processor)
        self.assertEqual([event["after"]["value"] for event in run.events], [1, 3, 4, 5, 6])
        self.assertEqual(run.events[1]["annotations"], {"big": 2**70, "text": "é\n", "none": None})
        event = run.events[2]
        self.assertEqual(event["extra"], {"ts_ns": event["timestamp_ns"], "symbol": "main", "tid": event["thread_id"],
                                          "variable_ids": [event["variable_id"]], "sql_context_id": None})
        self.assertEqual(run.events[4]["annotations"], {"argv": [], "name": "processor"})
        self.assert_counts(run, passed=5, dropped=145)

    def test_a_failure_drops_its_event_and_is_counted(self):
        for name, source in (
                ("raises", "raise ValueError('no \\\"lists\\\"')"), ("exits", "raise SystemExit(3)"), ("none", "return None"),
                ("unknown action", "return {'action': 'explode'}"), ("no object", "return {'action': 'annotate', 'annotations': 3}"),
                ("no JSON", "return {'action': 'enrich', 'extra': {'x': {1, 2}}}"),
                ("not a number", "return {'action': 'enrich', 'extra': {'x': float('nan')}}"),
                ("too long", "return {'action': 'enrich', 'extra': {'x': 'y' * (1 << 20)}}"),
                ("endless recursion", "return main(event)")):
            with self.subTest(name):
                run = self.run_with("def main(event):\n    if event['variable_name'] == 'processed':\n"
                                    f"        {source}\n    return 'pass'\n")
                self.assertEqual({event["variable_name"] for event in run.events}, {"total"})
                self.assertEqual(len(run.events), 100)
                self.assert_counts(run, passed=100, failed=50)
                self.assertIn(b"watcher-exec: processor processor.py failed for 50 events", run.stderr)

    def test_an_event_that_takes_too_long_fails_alone(self):
        for name, wait in (("computing", "while True: pass"), ("sleeping", "time.sleep(60)")):
            with self.subTest(name):
                run = self.run_with("import time\ndef main(event):\n    if event['variable_name'] == 'total' and "
                                    f"event['after']['value'] in (10, 60):\n        {wait}\n    return 'pass'\n")
                values = [event["after"]["value"] for event in run.of("total")]
                self.assertEqual(values, [n for n in range(1, 101) if n not in (10, 60)])
                self.assertEqual(len(run.of("processed")), 50)
                self.assert_counts(run, passed=148, failed=2, timeouts=2, restarts=2)

    def test_the_limit_is_for_one_event_not_for_a_batch(self):
        slow = "import time\ndef main(event):\n    time.sleep(0.05)\n    return 'pass'\n"
        run = self.run_with(slow, app=COUNTING, arguments=["20"], options=["--processor-timeout-ms", "400"])
        self.assert_counts(run, passed=20)
        self.write({"slow.py": slow})
        run = self.run_with(None, config='[[processor]]\npath = "slow.py"\ntimeout_ms = 20\n', app=COUNTING, arguments=["3"])
        self.assert_counts(run, failed=3, timeouts=3, restarts=2)

    def test_a_worker_that_dies_is_replaced(self):
        run = self.run_with("import os\ndef main(event):\n    if event['variable_name'] == 'total' and "
                            "event['after']['value'] == 7:\n        os.kill(os.getpid(), 11)\n    return 'pass'\n")
        self.assertEqual([event["after"]["value"] for event in run.of("total")], [n for n in range(1, 101) if n != 7])
        self.assert_counts(run, passed=149, failed=1, restarts=1)
        self.assertIn("its process ", self.counts(run)["last_error"])

    def test_a_worker_finishes_what_it_does_at_exit(self):
        """Also one that was started later than the run, in place of another."""
        run = self.run_with("import atexit, os\natexit.register(lambda: open('ended', 'a').write('x'))\n"
                            "def main(event):\n    if event['after'] and event['after']['value'] == 7:\n        os._exit(1)\n"
                            "    return 'pass'\n", app=COUNTING, arguments=["20"])
        self.assert_counts(run, passed=19, failed=1, restarts=1)
        self.assertEqual((self.directory / "ended").read_text(), "x")

    def test_what_a_processor_prints_goes_nowhere_or_to_stderr_when_debugging(self):
        processor = "import sys\nprint('loaded')\ndef main(event):\n    print('out')\n    print('err', file=sys.stderr)\n    return 'pass'\n"
        run = self.run_with(processor)
        self.assertEqual(run.stderr, b"")
        self.assert_counts(run, passed=150)
        run = self.run_with(processor, options=["--log-level", "DEBUG"])
        self.assertIn(b"loaded\n", run.stderr)

    def test_a_processor_is_kept_from_the_run(self):
        processor = """
import os, resource, threading
def main(event):
    try:
        os.fork()
        forked = True
    except OSError:
        forked = False
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return {"action": "annotate", "annotations": {
        "environment": [key for key in os.environ if key.startswith("WATCHER_") or key == "LD_PRELOAD"],
        "forked": forked, "session": os.getsid(0) == os.getpid(),
        "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 100)[:5],
        "stdin": os.readlink("/proc/self/fd/0"),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 256}}
"""
        run = self.run_with(processor, environment={"WATCHER_DEPTH": "2"})
        note = run.events[0]["annotations"]
        self.assertEqual(note["environment"], [])
        self.assertEqual((note["forked"], note["session"], note["stdin"], note["files"]), (False, True, "/dev/null", True))
        self.assertEqual(note["descriptors"][:5], [0, 1, 2, 3, 4])

    def test_a_processor_that_may_start_processes_leaves_none_behind(self):
        self.write({"p.py": "import subprocess, time\ndef main(event):\n"
                            "    subprocess.Popen(['sleep', '4321'])\n    time.sleep(60)\n"})
        run = self.run_with(None, config='[[processor]]\npath = "p.py"\nsubprocesses = true\n', app=COUNTING, arguments=["3"])
        self.assert_counts(run, failed=3, timeouts=3, restarts=2)
        found = subprocess.run(["pgrep", "-f", "^sleep 4321"], capture_output=True, text=True).stdout
        self.assertEqual(found, "")

    def test_what_is_wrong_with_a_processor_is_told_before_the_program_starts(self):
        cases = [("nothere.py", None, b"No such file"), ("p.py", "x = 1\n", b"no function main(event)"),
                 ("p.py", "def main(): pass\n", b"main must take one argument"),
                 ("p.py", "def main(a, b): pass\n", b"main must take one argument"),
                 ("p.py", "async def main(event): pass\n", b"a plain function"),
                 ("p.py", "def main(:\n", b"SyntaxError"), ("p.py", "import nothing_of_that_name\n", b"nothing_of_that_name"),
                 ("p.py", "import sys\nsys.exit()\n", b"SystemExit"), ("p.py", "import os\nos._exit(4)\n", b"ended with status 4"),
                 ("p.rb", "x\n", b"a processor is a .py")]
        if NODE:
            cases += [("p.js", "exports.x = 1;\n", b"no function main(event)"), ("p.js", "function main( {\n", b"SyntaxError")]
        for name, source, sentence in cases:
            with self.subTest(name=name, source=source):
                files = {"app.py": "open('ran', 'w')\n"}
                if source is not None:
                    files[name] = source
                program = self.write(files)
                done = self.execute([EXEC, "--output", str(self.directory / "o"), "--custom-processor", str(self.directory / name), "--",
                                     PYTHONS[0], str(program)])
                self.assertEqual(done.returncode, 2)
                self.assertIn(sentence, done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1)
                self.assertFalse((self.directory / "ran").exists())
        self.write({"p.py": "def main(event): return 'pass'\n"}).chmod(0o666)
        done = self.execute([EXEC, "--output", str(self.directory / "o"), "--custom-processor", str(self.directory / "p.py"), "--", "true"])
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"others may write to it", done.stderr)

    @unittest.skipUnless(NODE, "needs node")
    def test_javascript(self):
        for name, source in (("p.js", "function main(event) { return { action: 'annotate', annotations: { n: event.variable_name } }; }\n"
                                      "module.exports = { main };\n"),
                             ("p.mjs", "export async function main(event) { await new Promise(setImmediate);\n"
                                       "return { action: 'annotate', annotations: { n: event.variable_name } }; }\n"),
                             ("q.js", "export const main = (event) => ({ action: 'annotate', annotations: { n: event.variable_name } });\n")):
            with self.subTest(name):
                run = self.run_with(source, name)
                self.assertEqual([event["annotations"]["n"] for event in run.events], [event["variable_name"] for event in run.events])
                self.assert_counts(run, passed=150)
        run = self.run_with("exports.main = (event) => { if (event.variable_name === 'processed') throw new Error('lists');\n"
                            "if (event.after.value === 50) for (;;); if (event.after.value === 70) process.exit(1); return 'pass'; };\n",
                            name="p.js")
        self.assert_counts(run, passed=98, failed=52, timeouts=1, restarts=2)

    def test_a_chain_asks_in_order(self):
        self.write({"first.py": "def main(event):\n    n = event['after']['value']\n    if n % 2: return 'drop'\n"
                                "    return {'action': 'annotate', 'annotations': {'by': 'first', 'n': n}}\n",
                    "second.py": "def main(event):\n    assert event['annotations']['by'] == 'first'\n"
                                 "    return {'action': 'annotate', 'annotations': {'by': 'second', 'm': 1}}\n"})
        config = """
[[processor]]
type = "filter"
when = "new > 10"
[[processor]]
path = "first.py"
[[processor]]
type = "filter"
when = "new % 4 == 0"
[[processor]]
path = "second.py"
[[processor]]
type = "logging"
path = "log.txt"
"""
        run = self.run_with("def main(event):\n    return {'action': 'enrich', 'extra': {'last': event['annotations']}}\n",
                            config=config, app=COUNTING, arguments=["40"])
        self.assertEqual([event["after"]["value"] for event in run.events], list(range(12, 41, 4)))
        for event in run.events:
            self.assertEqual(event["annotations"], {"by": "second", "n": event["after"]["value"], "m": 1})
            self.assertEqual(event["extra"], {"last": event["annotations"]})
        self.assertEqual([processor["name"] for processor in run.summary["processors"]],
                         ["filter", "first.py", "filter", "second.py", "logging", "processor.py"])
        self.assert_counts(run, 0, passed=30, dropped=10)
        self.assert_counts(run, 2, passed=8, dropped=7)
        self.assertEqual(len((self.directory / "log.txt").read_text().splitlines()), 8)

    def test_a_plugin(self):
        include = self.directory / "include" / "watcher"
        include.mkdir(parents=True)
        for header in ("plugin.h", "processor.hpp"):
            (include / header).symlink_to(SOURCE / "runtime" / "process" / header)
        flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC", f"-I{include.parent}"]
        subprocess.run(["g++", *flags, str(SOURCE / "examples" / "processor" / "risk.cpp"), "-o", str(self.directory / "risk.so")],
                       check=True, timeout=120)
        (self.directory / "odd.cpp").write_text("""#include <watcher/processor.hpp>
#include <cstdlib>
#include <stdexcept>
struct Odd final : watcher::Processor {
  watcher::Response process(const watcher::Event& event) override {
    const auto& delta = *event.deltas().begin();
    if (delta.after == 5) throw std::runtime_error("five");
    if (delta.after == 6) std::abort();
    if (delta.after == 7) return watcher::annotate("no JSON");
    if (delta.after == 8) for (;;) {}
    if (delta.after % 2 == 1) return watcher::drop();
    return watcher::enrich("{\\"before\\":" + std::to_string(delta.before) + "}");
  }
};
WATCHER_PROCESSOR(Odd)
""")
        subprocess.run(["g++", *flags, str(self.directory / "odd.cpp"), "-o", str(self.directory / "odd.so")], check=True, timeout=120)
        for plugin in self.directory.glob("*.so"):
            plugin.chmod(0o755)
        config = '[[processor]]\ntype = "plugin"\npath = "%s"\nargs = ["/usr/"]\n'
        run = self.run_with(None, config=config % "odd.so", app=COUNTING, arguments=["20"])
        self.assertEqual([event["after"]["value"] for event in run.events], [2, 4, 10, 12, 14, 16, 18, 20])
        self.assertEqual([event["extra"]["before"] for event in run.events], [1, 3, 9, 11, 13, 15, 17, 19])
        self.assert_counts(run, passed=8, dropped=8, failed=4, timeouts=1, restarts=2)
        self.assert_counts(self.run_with(None, config=config % "risk.so"), passed=150)

    def alone(self, processor):
        """A run by LD_PRELOAD alone; the collector ends after the program."""
        program = self.write({"app.py": APP, "processor.py": processor})
        output = pathlib.Path(tempfile.mkdtemp(prefix="alone-", dir=self.directory))
        done = self.execute([PYTHONS[0], "-B", str(program)],
                            {"LD_PRELOAD": str(harness.BUILD / "preload" / "libwatcher_preload.so"), "WATCHER_OUTPUT": str(output),
                             "WATCHER_CUSTOM_PROCESSOR": str(self.directory / "processor.py")})
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"100 50\n", b""))
        deadline = time.monotonic() + 60
        summary = {"written": 0, "waiting": 0}
        while summary["written"] + summary["waiting"] < 150 and time.monotonic() < deadline:
            time.sleep(0.1)
            if (output / "summary.json").exists():
                summary = json.loads((output / "summary.json").read_text())
        return summary, [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]

    def test_preload_alone(self):
        summary, events = self.alone("def main(event):\n    return {'action': 'annotate', 'annotations': {'seen': True}}\n")
        self.assertEqual((summary["written"], summary["processors"][0]["passed"]), (150, 150))
        self.assertEqual([event["annotations"] for event in events], [{"seen": True}] * 150)

    def test_a_processor_that_cannot_start_under_preload_holds_the_events_back(self):
        summary, events = self.alone("def main(event:\n")
        self.assertEqual((summary["written"], summary["waiting"], events), (0, 150, []))
        self.assertIn("SyntaxError", summary["processors"][0]["last_error"])
        self.execute([EXEC, "--output", str(output := next(self.directory.glob("alone-*"))), "--", "true"])
        self.assertEqual(len((output / "events.jsonl").read_text().splitlines()), 150)


if __name__ == "__main__":
    harness.main()

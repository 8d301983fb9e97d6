"""The guide's commands as they are printed there, by a shell, with `python` being each interpreter in turn."""

import json
import os
import pathlib
import shutil
import unittest

from harness import BUILD, Case, INTERPRETERS, main

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"
STUB = EXAMPLES / "watcher_stub"
COMPLETE = '''
def main():
    from watcher import watch

    # Your real application
    total = watch(0, name="total")
    processed = watch([], name="processed")

    for i in range(100):
        total = total + 1
        if i % 2 == 0:
            processed.append(i)

    return {"total": total}
'''
# Step 2 and 3 of "Python App + Custom Processor".
TOGETHER = """\
cat > processor.py << 'EOF'
def main(event):
    # Skip small mutations (noise filtering)
    if len(event['deltas']) < 2:
        return {"action": "drop"}

    # Annotate large mutations
    if len(event['deltas']) > 10:
        return {
            "action": "annotate",
            "annotations": {"severity": "high", "flag_for_review": True}
        }

    return {"action": "pass"}
EOF
python -m watcher.cli.main \\
  --user-script ./app.py \\
  --custom-processor ./processor.py \\
  --output ./events
"""
# The complete example of the command line.
COMMAND_LINE = """\
# Create scope configuration
cat > scope.txt << 'EOF'
app.py:(local:counter,global:config)
lib/service.py:(both:shared_state)
EOF

# Create custom processor
cat > filter_processor.py << 'EOF'
def main(event):
    # Filter large mutations
    if len(event['deltas']) > 50:
        return {"action": "drop"}
    # Annotate interesting ones
    return {"action": "annotate", "annotations": {"flagged": True}}
EOF

# Run Watcher
python -m watcher.cli.main \\
  --user-script ./app.py \\
  --files-scope ./scope.txt \\
  --custom-processor ./filter_processor.py \\
  --output ./events \\
  --track-sql \\
  --log-level DEBUG
"""
SERVICE = """\
shared_state = "x" * 60

def serve():
    global shared_state
    shared_state = "y" * 60
    shared_state = "y" * 59 + "z"
"""
SCOPED = '''
config = "a"

def main():
    global config
    counter = 0
    for step in range(3):
        counter += step
    config = "b"
'''


class GuideCommands(Case):
    def shell(self, python, script, preload=True):
        tools = self.directory / "bin"
        shutil.rmtree(tools, True)
        tools.mkdir()
        (tools / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (tools / "python").chmod(0o755)
        environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
        if preload:
            environment["LD_PRELOAD"] = str(BUILD / "preload" / "libwatcher_preload.so")
        return self.execute(["sh", "-c", script], environment)

    def events(self, output):
        return [json.loads(line) for line in (self.directory / output / "events.jsonl").read_text().splitlines()]

    def on_each(self, files):
        self.write(files)
        for version, python in INTERPRETERS:
            for output in ("events", "watcher_output"):
                shutil.rmtree(self.directory / output, True)
            with self.subTest(python):
                yield python

    def test_track_a_simple_counter(self):
        for python in self.on_each({"app.py": (EXAMPLES / "counter.py").read_text()}):
            done = self.shell(python, "python -m watcher.cli.main --user-script ./app.py --output ./events")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"Final counter: 10\n", b""))
            events = self.events("events")
            self.assertEqual([event["deltas"] for event in events],
                             [[{"offset": 0, "before": hex(i), "after": hex(i + 1)}] for i in range(10)])
            self.assertEqual({(event["variable_name"], event["function"], event["line"]) for event in events},
                             {("counter", "main", 11)})

    def test_track_data_structure_mutations(self):
        for python in self.on_each({"data_processor.py": (EXAMPLES / "data_processor.py").read_text()}):
            done = self.shell(python, "python -m watcher.cli.main \\\n  --user-script ./data_processor.py \\\n"
                                      "  --output ./watcher_output \\\n  --track-threads\n")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            self.assertEqual([(event["variable_name"], event["op"]) for event in self.events("watcher_output")],
                             [("records", "append")] * 2 + [("state", "setitem")] * 3)

    def test_track_database_operations(self):
        for python in self.on_each({"db_app.py": (EXAMPLES / "db_app.py").read_text()}):
            done = self.shell(python, "python -m watcher.cli.main \\\n  --user-script ./db_app.py \\\n  --output ./events \\\n"
                                      "  --track-sql            \\\n  --track-threads\n")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            operations = [event["sql_context"] and event["sql_context"]["operation"] for event in self.events("events")]
            self.assertEqual(operations, [None, "CREATE", "INSERT", "INSERT"])

    def test_a_scope_file(self):
        command = "cat > scope.txt << 'EOF'\napp.py:(local:counter,global:config)\nlib/service.py:(both:shared_state)\nEOF\n" \
                  "python -m watcher.cli.main \\\n  --user-script ./app.py \\\n  --files-scope ./scope.txt \\\n" \
                  "  --output ./events \\\n  --track-sql \\\n  --mutation-depth FULL --max-queue-size 1000 --log-level WARNING\n"
        for python in self.on_each({"app.py": SCOPED}):
            done = self.shell(python, command)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            stores = [(event["variable_name"], event["scope"], event["after"]["value"]) for event in self.events("events")]
            self.assertEqual(stores, [("config", "global", "a"), ("counter", "local", 0), ("counter", "local", 0),
                                      ("counter", "local", 1), ("counter", "local", 3), ("config", "global", "b")])

    def test_the_complete_example_of_the_command_line(self):
        files = {"app.py": "import lib.service\n" + SCOPED + "    lib.service.serve()\n", "lib/service.py": SERVICE}
        for python in self.on_each(files):
            done = self.shell(python, "umask 022\n" + COMMAND_LINE)
            self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
            self.assertIn(b"watcher", done.stderr)  # --log-level DEBUG
            events = self.events("events")
            self.assertEqual({event["variable_name"] for event in events}, {"config", "counter", "shared_state"})
            self.assertEqual([event["after"]["value"] for event in events if event["variable_name"] == "shared_state"],
                             ["x" * 60, "y" * 59 + "z"])  # 60 deltas are too many
            self.assertEqual([event["annotations"] for event in events], [{"flagged": True}] * len(events))
            shown = self.shell(python, "timeout 2 tail -f events/events.jsonl | jq '.'", preload=False)
            text, decoder, count = shown.stdout.decode().strip(), json.JSONDecoder(), 0
            while text:
                count, text = count + 1, text[decoder.raw_decode(text)[1]:].strip()
            self.assertEqual(count, len(events))

    def test_an_application_and_its_processor(self):
        for python in self.on_each({"app.py": COMPLETE}):
            done = self.shell(python, "umask 022\n" + TOGETHER)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            counts = json.loads((self.directory / "events" / "summary.json").read_text())["processors"][0]
            self.assertEqual((counts["passed"] + counts["dropped"], counts["failed"]), (150, 0))
            self.assertEqual(len(self.events("events")), counts["passed"])

    def test_a_scope_file_alone(self):
        files = {"app.py": SCOPED, "scope_config.txt": "app.py:(local:counter,global:db_conn)\nutils.py:(both:shared_config)\nlib/service.py:(unknown:obj)\n"}
        for python in self.on_each(files):
            done = self.shell(python, "python -m watcher.cli.main \\\n  --user-script app.py \\\n  --files-scope ./scope_config.txt\n")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            self.assertEqual({event["variable_name"] for event in self.events("watcher_output")}, {"counter"})

    def test_viewing_results(self):
        self.assertIsNotNone(shutil.which("jq"))
        for python in self.on_each({"app.py": COMPLETE}):
            self.shell(python, "python -m watcher.cli.main --user-script ./app.py --output ./events")
            shown = self.shell(python, "jq '.' events/events.jsonl | head -20", preload=False)
            self.assertEqual((shown.returncode, shown.stdout.count(b"\n")), (0, 20))
            counted = self.shell(python, "jq -s 'group_by(.variable_name) | map({var: .[0].variable_name, count: length})' "
                                         "events/events.jsonl", preload=False)
            self.assertEqual(json.loads(counted.stdout), [{"var": "processed", "count": 50}, {"var": "total", "count": 100}])

    def test_javascript_is_run_by_node(self):
        for python in self.on_each({"app.js": "module.exports = { main: () => console.log('from node') };\n"}):
            done = self.shell(python, "python -m watcher.cli.main --user-script ./app.js --output ./events")
            self.assertEqual((done.returncode, done.stdout), (0, b"from node\n"))

    def test_the_interpreter_is_the_one_that_was_asked(self):
        for python in self.on_each({"app.py": "import sys\ndef main():\n    print(sys.version_info[:2])\n"}):
            done = self.shell(python, "python -m watcher.cli.main --user-script app.py")
            version = self.execute([python, "-c", "import sys; print(sys.version_info[:2])"]).stdout
            self.assertEqual(done.stdout, version)
            self.assertTrue((self.directory / "watcher_output" / "summary.json").exists())

    @unittest.skipUnless((STUB / "watcher" / "__init__.py").exists(), "the package itself is not there")
    def test_the_installable_package_starts_itself_under_watcher_exec(self):
        counter = (EXAMPLES / "counter.py").read_text()
        for python in self.on_each({"app.py": counter}):
            command = "python -B -m watcher.cli.main --user-script ./app.py --output ./events"
            for settings in (f"WATCHER_EXEC={BUILD}/tools/watcher-exec", f"PATH={BUILD}/tools:$PATH"):
                done = self.shell(python, f"PYTHONPATH={STUB} {settings} {command}", preload=False)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"Final counter: 10\n", b""))
                self.assertEqual(len(self.events("events")), 10)
                shutil.rmtree(self.directory / "events")
            missing = self.shell(python, f"PYTHONPATH={STUB} {command}", preload=False)
            self.assertEqual(missing.returncode, 2)
            self.assertIn(b"watcher-exec is not on PATH", missing.stderr)

    def test_exit_codes(self):
        files = {"app.py": "def main():\n    raise ValueError\n", "two.py": "def main(a, b):\n    pass\n"}
        for python in self.on_each(files):
            for arguments, status in (("--user-script app.py", 146), ("--user-script two.py", 2), ("", 2), ("--help", 0),
                                      ("--user-script nonesuch.py", 2), ("--user-script app.py --engine none", 2)):
                self.assertEqual(self.shell(python, f"python -m watcher.cli.main {arguments}").returncode, status, arguments)


if __name__ == "__main__":
    main()

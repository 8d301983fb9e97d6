"""Unmodified Node programs, run plainly and watched on every node found.

A line's events stand behind it in the program: `x = 2  //> x: 1 -> 2`, several with semicolons between, `-` for unbound.
"""

import collections
import pathlib
import re
import shutil

import harness
from harness import BUILD, Run, main, value  # noqa: F401
from node_support import INTERPRETERS

STUB = "exports.watch = (value) => value; exports.unwatch = () => false; exports.pause = exports.resume = () => {};\n"


NODES = sorted((int(version), node) for version, node in dict(reversed(INTERPRETERS)).items())


def text(side):
    return "-" if side is None else str(value(side))


def told(event):
    """An event as programs note it."""
    path = "".join(f"[{step}]" for step in event["path"])
    op = "" if event["op"] == "store" else " " + event["op"]
    return f"{event['variable_name']}{path}{op}: {text(event['before'])} -> {text(event['after'])}"


def noted(source):
    """{line: [events]} of the notes in a program."""
    lines = collections.defaultdict(list)
    for number, line in enumerate(source.splitlines(), 1):
        note = re.search(r"//> (.*)", line)
        if note:
            lines[number] += [part.strip() for part in note[1].split(";")]
    return lines


class Case(harness.Case):
    @staticmethod
    def without_addresses(text):
        """Node's warnings name the process."""
        return re.sub(rb"\(node:\d+\)", b"(node)", harness.Case.without_addresses(text))

    def run_node(self, node, program, arguments, config, options, preload, environment, stub):
        place = self.directory / "node_modules" / "watcher"
        if stub:
            place.mkdir(parents=True, exist_ok=True)
            (place / "index.js").write_text(STUB)
            return Run(self.execute([node, *arguments, str(program)], environment))
        shutil.rmtree(place, ignore_errors=True)
        output = self.directory / f"out-{len(list(self.directory.glob('out-*')))}"
        env = {**self.settings, **(environment or {})}
        launcher = [str(BUILD / "tools" / "watcher-exec"), "--output", str(output), *options]
        if config is not None:
            (self.directory / "rules.toml").write_text(config)
            (self.directory / "rules.toml").chmod(0o644)
            launcher += ["--config", str(self.directory / "rules.toml")]
        command = [node, *arguments, str(program)]
        if preload:
            env.update(LD_PRELOAD=str(BUILD / "preload" / "libwatcher_preload.so"), WATCHER_OUTPUT=str(output))
            return Run(self.execute(command, env), output)
        return Run(self.execute(launcher + ["--"] + command, env), output)

    def on_nodes(self, files, check, config=None, options=(), arguments=(), preload=False, environment=None, since=18, only=None):
        """Runs the first of `files` plainly and watched, compares the host's side, and hands over the events."""
        program = self.write(files)
        usable = [(version, node) for version, node in NODES if version >= since and only in (None, version)]
        for version, node in usable:
            with self.subTest(node=version):
                plain = self.run_node(node, program, arguments, config, options, preload, environment, stub=True)
                watched = self.run_node(node, program, arguments, config, options, preload, environment, stub=False)
                self.assert_same_host(plain, watched)
                check(watched)

    def assert_notes(self, run, files):
        """The events of each file's lines are those that the file notes."""
        for name, source in files.items():
            lines = collections.defaultdict(list)
            for event in run.events:
                if pathlib.PurePath(event["file"]).name == pathlib.PurePath(name).name:
                    lines[event["line"]].append(told(event))
            self.assertEqual(dict(lines), dict(noted(source)), name)

    def check_notes(self, files, **settings):
        self.on_nodes(files, lambda run: self.assert_notes(run, files), **settings)

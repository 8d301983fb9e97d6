#!/usr/bin/env python3
"""Differential oracle for the variables of Node programs: random programs that know what Watcher must record, against what
it did record.

    node_oracle.py [--objects] --seed 1 --count 10000 --node /usr/bin/node …

With --objects: watched objects, arrays, Maps, Sets, instances and dates; else names.

A program is a function with its callers; a file holds fifty. Failing files are kept in --keep. Environment: WATCHER_BUILD.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "behaviour"))

from harness import BUILD  # noqa: E402
from node_oracle_objects import ANY, Objects  # noqa: E402
from node_oracle_programs import RULES, Program  # noqa: E402
from node_programs import NODES  # noqa: E402
from node_support import STUB  # noqa: E402

PROGRAMS_A_FILE = 50


def execute(command, directory, environment=None):
    env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
    return subprocess.run(command, cwd=directory, env={**env, **(environment or {})}, capture_output=True, timeout=300)


def number(text):
    """Two texts of one number compare equal."""
    try:
        return repr(float(text)) if not text.endswith("n") else text
    except ValueError:
        return text


def shown(side):
    if side is None:
        return "-"
    text = str(side["value"] if "value" in side else side["repr"])
    if side["type"] == "bigint":
        return f"{text}n"
    return number(text)


def expected(path):
    rows = json.loads(path.read_text())
    return [[name, line, where, scope, number(before), number(after)] for name, line, where, scope, before, after in rows]


def recorded(path):
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [[e["variable_name"], e["line"], e["function"], e["scope"], shown(e["before"]), shown(e["after"])] for e in events]


def difference(left, right):
    for at, (one, two) in enumerate(zip(left, right)):
        if one != two:
            return f"event {at}: expected {one}, recorded {two}"
    return f"expected {len(left)} events, recorded {len(right)}"


def agrees(one, event):
    """Does the event tell what was expected?"""
    name, paths, op, before, after, line, function = one
    same = lambda wanted, got: wanted in (ANY, got)  # noqa: E731
    path, where = event["path"], (event["variable_name"], event["op"], event["line"])
    return (where == (name, op, line) and same(function, event["function"]) and same(number(before), shown(event["before"])) and
            same(number(after), shown(event["after"])) and
            any(len(path) == len(wanted) and all(map(same, wanted, path)) for wanted in paths))


def object_difference(groups, events):
    """The variables that hold one object are told of its change in any order."""
    at = 0
    for group in groups:
        left = events[at:at + len(group)]
        for one in group:
            found = next((event for event in left if agrees(one, event)), None)
            if found is None:
                kept = ("variable_name", "path", "op", "line", "function")
                got = [[*(event[key] for key in kept), shown(event["before"]), shown(event["after"])] for event in left]
                return f"event {at}: expected {one}, recorded {got}"
            left.remove(found)
        at += len(group)
    return None if at == len(events) else f"expected {at} events, recorded {len(events)}"


def check_objects(node, seed, programs, directory):
    """As check()."""
    objects = Objects(seed, is_module=seed % 2 == 1)
    file = directory / f"ora_{seed}.{'mjs' if objects.is_module else 'cjs'}"
    file.write_text(objects.write(programs))
    stub = directory / "node_modules" / "watcher"
    shutil.copytree(STUB, stub)
    bare = execute([node, file.name], directory)
    shutil.rmtree(stub)
    if bare.returncode != 0 or bare.stdout.decode().splitlines() != objects.printed:
        return f"the model is wrong: {bare.stderr[-600:].decode()}", 0
    output = directory / "out"
    watched = execute([BUILD / "tools" / "watcher-exec", "--output", output, "--", node, file.name], directory)
    if (watched.stdout, watched.stderr, watched.returncode) != (bare.stdout, bare.stderr, bare.returncode):
        return f"the host differs: {watched.stderr[-600:].decode()}", 0
    lines = (output / "events.jsonl").read_text().splitlines()
    return object_difference(objects.expected, [json.loads(line) for line in lines]), len(lines)


def check(node, seed, programs, directory):
    """None, or what is wrong; and how many events there were."""
    is_module = seed % 2 == 1
    plain, told = Program(seed, is_module).write(programs)
    suffix = "mjs" if is_module else "cjs"
    file = directory / f"ora_{seed}.{suffix}"
    file.write_text(plain)
    (directory / f"told_{seed}.{suffix}").write_text(told)
    (directory / "rules.toml").write_text(RULES)
    (directory / "rules.toml").chmod(0o644)
    teller = execute([node, f"told_{seed}.{suffix}"], directory, {"TOLD": str(directory / "told.json")})
    bare = execute([node, file.name], directory)
    output = directory / "out"
    shutil.rmtree(output, ignore_errors=True)
    watched = execute([BUILD / "tools" / "watcher-exec", "--config", "rules.toml", "--output", output, "--", node, file.name], directory)
    if bare.returncode != 0 or teller.returncode != 0 or teller.stdout != bare.stdout:
        return f"the programs do not agree: {(bare.stderr or teller.stderr)[-600:].decode()}", 0
    if (watched.stdout, watched.stderr, watched.returncode) != (bare.stdout, bare.stderr, bare.returncode):
        return f"the host differs: {watched.stderr[-600:].decode()}", 0
    left, right = expected(directory / "told.json"), recorded(output / "events.jsonl")
    return (None if left == right else difference(left, right)), len(left)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="programs for each node")
    parser.add_argument("--node", nargs="*", default=[node for _, node in NODES])
    parser.add_argument("--objects", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    all_failed = 0
    for node in options.node:
        version = execute([node, "--version"], ".").stdout.decode().strip()
        files, events, failed = math.ceil(options.count / PROGRAMS_A_FILE), 0, 0
        for seed in range(options.seed, options.seed + files):
            with tempfile.TemporaryDirectory(prefix="node-oracle-") as name:
                directory = pathlib.Path(name)
                fault, count = (check_objects if options.objects else check)(node, seed, min(PROGRAMS_A_FILE, options.count), directory)
                events += count
                if fault is not None:
                    failed += 1
                    print(f"{version} seed {seed}: {fault}")
                    if options.keep:
                        shutil.copytree(directory, options.keep / f"{version}-{seed}", dirs_exist_ok=True)
        print(f"{version}: {files * min(PROGRAMS_A_FILE, options.count)} programs, {events} events, {failed} files differ")
        all_failed += failed
    return 1 if all_failed else 0


if __name__ == "__main__":
    sys.exit(main())

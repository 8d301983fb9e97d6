#!/usr/bin/env python3
"""Differential capture oracle: random programs that know what Watcher must record, against what it did record.

    oracle.py --seed 1 --count 2000 --python /usr/bin/python3 …

A program is one function with its callers; a file holds fifty. Failing files are kept in --keep. Environment: WATCHER_BUILD.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "behaviour"))

import harness  # noqa: E402
import oracle_programs  # noqa: E402
from oracle_programs import HELPER, NAMES  # noqa: E402
from oracle_scenarios import FUNCTIONS_A_FILE, Program  # noqa: E402

RULES = '[[watch]]\nfile = "ora_*.py"\nboth = ["%s"]\n' % '", "'.join(NAMES)


def generate(seed, functions, directory):
    """Writes one file of programs and what it needs; returns its name."""
    modules = {"oracle_helper.py": HELPER, "oracle_host.py": (HERE / "oracle_host.py").read_text()}
    name = f"ora_{seed}.py"
    modules[name] = Program(seed, name, modules).write(functions)
    for file, text in modules.items():
        (directory / file).write_text(text)
    (directory / "rules.toml").write_text(RULES)
    (directory / "stub").mkdir(exist_ok=True)
    (directory / "stub" / "watcher.py").write_text(harness.STUB)
    return name


def execute(command, directory, environment):
    env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
    env.update(environment, PYTHONHASHSEED="0", WATCHER_FIRST_BINDINGS="skip", WATCHER_DEPTH="4")  # the programs take them for initial states
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, timeout=300)


def by_thread(items, key):
    out = {}
    for item in items:
        out.setdefault(item[key], []).append(item)
    return out


def seen_of(event):
    path = event.get("path")
    return json.dumps([event["variable_name"], event["op"], path or None, event["before"], event["after"], event["line"], event["function"], event["scope"],
                       os.path.basename(event["file"]), event["exact"]], sort_keys=True)


def wanted_of(item):
    return json.dumps([item["name"], item["op"], item["path"] or None, item["before"], item["after"], item["line"], item["function"], item["scope"],
                       item["file"], item["exact"]], sort_keys=True)


def chosen(item, seen):
    """A part that a variable reaches in several ways is told once, by any of them."""
    ways = [wanted_of(dict(item, path=way + (item["path"] or []))) for way in item["prefixes"]]
    return next((way for way in ways if way in seen), ways[0])


def compare(expected, events):
    """The first difference of each thread; [] when every event was seen and no other. Within a group order is free."""
    wanted, seen = by_thread(expected, "thread"), by_thread(events, "thread_id")
    differences = []
    for thread in sorted(set(wanted) | set(seen)):
        mine, theirs = wanted.get(thread, []), [seen_of(event) for event in seen.get(thread, [])]
        at = 0
        while at < len(mine):
            end = at
            while end < len(mine) and mine[end]["group"] == mine[at]["group"]:
                end += 1
            got = sorted(theirs[at:end])
            want = sorted(chosen(item, got) for item in mine[at:end])
            if want != got:
                differences.append((at, [w for w in want if w not in got], [g for g in got if g not in want] or theirs[at:at + 1]))
                break
            at = end
        if at >= len(mine) and len(theirs) > len(mine):
            differences.append((len(mine), [], theirs[len(mine):len(mine) + 1]))
    return differences


def anonymous(expected):
    """Without what differs from process to process: threads, their order, the order within a group, and addresses."""
    def texts(items):
        for _, group in itertools.groupby(items, lambda item: item["group"]):
            yield sorted(re.sub(r"0x[0-9a-f]+", "0x", json.dumps(dict(item, thread=0, group=0))) for item in group)
    return sorted(json.dumps(list(texts(items))) for items in by_thread(expected, "thread").values())


def try_one(seed, functions, python, version, keep):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="watcher-oracle-"))
    problems = []
    try:
        name = generate(seed, functions, directory)
        hold = {"ORACLE_KEEP": str(seed % 2)}
        plain = execute([python, "-B", name], directory, dict(hold, ORACLE_EXPECTED="plain.json", PYTHONPATH="stub"))
        init = ["--record-init"] if seed % 4 < 2 else []
        launcher = [str(harness.BUILD / "tools" / "watcher-exec"), "--config", "rules.toml", "--output", "out", *init, "--"]
        watched = execute(launcher + [python, "-B", name], directory, dict(hold, ORACLE_EXPECTED="watched.json"))
        if (sorted(plain.stdout.splitlines()), plain.returncode, 0) != (sorted(watched.stdout.splitlines()), watched.returncode, plain.returncode):
            difference = set(plain.stdout.splitlines()) ^ set(watched.stdout.splitlines())
            problems.append(f"status {plain.returncode} {watched.returncode}: {sorted(difference)[:4]} {plain.stderr[-400:]!r} {watched.stderr[-400:]!r}")
        if plain.returncode != 0:
            return seed, 0, problems
        if harness.Case.without_addresses(plain.stderr) != harness.Case.without_addresses(watched.stderr):
            problems.append(f"stderr differs: {plain.stderr[-300:]!r} {watched.stderr[-300:]!r}")
        expected = json.loads((directory / "watched.json").read_text())
        if anonymous(expected) != anonymous(json.loads((directory / "plain.json").read_text())):
            problems.append("the expectations of the plain run are others")
        if not init:
            expected = [item for item in expected if item["op"] != "init"]
        events = [json.loads(line) for line in (directory / "out" / "events.jsonl").read_text().splitlines()]
        for at, want, got in compare(expected, events):
            problems.append(f"event {at}:\n  missing {want[:3]}\n  extra   {got[:3]}"[:1500])
        return seed, len(events), problems
    finally:
        if problems and keep:
            shutil.copytree(directory, pathlib.Path(keep) / f"{version}-{seed}", dirs_exist_ok=True)
        shutil.rmtree(directory, True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000, help="programs an interpreter")
    parser.add_argument("--python", nargs="*", help="interpreters; default: all that are found")
    parser.add_argument("--keep", help="directory for what failed")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    known = [(harness._version(python), python) for python in options.python] if options.python else harness.INTERPRETERS
    failed = 0
    for version, python in known:
        exact = subprocess.run([python, "-c", "import sys; print(sys.hexversion)"], capture_output=True, text=True, check=True).stdout
        oracle_programs.SWAPS_WRONGLY = 0x030b0000 <= int(exact) < 0x030b0300
        files = -(-options.count // FUNCTIONS_A_FILE)
        seeds = range(options.seed, options.seed + files)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda seed: try_one(seed, FUNCTIONS_A_FILE, python, version, options.keep), seeds))
        wrong = [result for result in results if result[2]]
        failed += len(wrong)
        print(f"{version} {python}: {files * FUNCTIONS_A_FILE} programs, {sum(r[1] for r in results)} events, "
              f"{len(wrong)} of {files} files differ (seeds {seeds[0]}–{seeds[-1]})", flush=True)
        for seed, _, problems in wrong[:8]:
            print(f"  seed {seed}: " + "\n  ".join(problems[:2]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

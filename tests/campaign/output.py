#!/usr/bin/env python3
"""What the files hold after kills, also with processors in the way, rotation by many at once, and bad disks. The bars are of
Watcher's reliability rules.

    output.py [--full] [kills] [processors] [rotation] [disks]      default: all, in the short form of the test suite

Environment: WATCHER_BUILD.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "behaviour"))
import rotated  # noqa: E402

BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", HERE.parents[1] / "build")).resolve()
EXEC = str(BUILD / "tools" / "watcher-exec")
WRITER = str(BUILD / "tests" / "behaviour" / "ring_writer")
STORES = 20000
PROGRAM = f"""\
def main():
    total = 0
    for counter in range(1, {STORES} + 1):
        total = total + counter
    print(total)
main()
"""
ENVIRONMENT = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_") and key != "LD_PRELOAD"}


def check(condition, *facts):
    if not condition:
        raise AssertionError(" ".join(map(str, facts)))


def watcher(directory, *arguments, **settings):
    settings.setdefault("stdout", subprocess.DEVNULL)
    return subprocess.Popen([EXEC, "--output", str(directory), *map(str, arguments)], env=ENVIRONMENT, cwd="/", **settings)


def stores_by_process(directory, others=()):
    """Values in the order of the files; an event written twice under one id (by a collector that was killed) once."""
    seen, stores = set(), collections.defaultdict(list)
    for event in rotated.events(directory, others):
        if event["event_id"] not in seen:
            stores[event["pid"]].append(event["after"]["value"])
        seen.add(event["event_id"])
    return stores


def partial_tails(directory):
    return sum(1 for path in rotated.files(directory) if (text := rotated.content(path)) and not text.endswith(b"\n"))


def kill_once(directory, victim, fatal, options=(), longest=0.03):
    """A writer that announces each store, and a signal at some moment. Returns the last store announced."""
    process = watcher(directory, "--rotate-size", 50000, *options, "sh", "-c", f"echo $$; exec {WRITER} 10000000", bufsize=1 << 20,
                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    program = int(process.stdout.readline())
    process.stdout.readline()
    time.sleep(random.uniform(0, longest))
    os.kill(program if victim == "program" else process.pid, fatal)
    announced = process.stdout.read().split(b"\n")[:-1]
    status = process.wait(60)
    process.stdout.close()
    check(status == -fatal, "ended with", status)
    return program, int(announced[-1]) if announced else 0


def kills(full, directory):
    """Bar 9: 500 SIGKILL, 100 SIGABRT. Everything announced is there, no bad line; of a killed collector one torn tail."""
    plan = [("program", signal.SIGKILL)] * (500 if full else 12) + [("program", signal.SIGABRT)] * (100 if full else 4)
    plan += [("collector", signal.SIGKILL)] * (100 if full else 6)
    events = tails = 0
    for number, (victim, fatal) in enumerate(plan):
        output = directory / str(number)
        program, announced = kill_once(output, victim, fatal)
        if victim == "collector":
            tails += (torn := partial_tails(output))
            check(torn <= 1, torn, "torn tails")
            time.sleep(0.05)
            check(watcher(output, "true").wait(60) == 0, "the next run failed")
        check(not list(output.glob("ring.*")), "a ring was left")
        stored = stores_by_process(output)[program]
        check(stored == list(range(1, len(stored) + 1)), "not in order:", stored[:3], len(stored))
        check(len(stored) >= announced, "announced", announced, "written", len(stored))
        events += len(stored)
        shutil.rmtree(output)
    return f"{len(plan)} kills, {events} events, {tails} torn tails of killed collectors, none left"


PROCESSORS = """
[[processor]]
type = "filter"
when = "new % 10 != 0"
[[processor]]
path = "first.py"
timeout_ms = 10000
[[processor]]
path = "second.py"
timeout_ms = 10000
"""


def processors(full, directory):
    """Bar 9 with processors: collectors killed at random moments, also while they recover what another one has left. Each event
    that a processor does not drop is there, in order, as both of them left it; what is there twice has the same id and says the same."""
    (directory / "rules.toml").write_text(PROCESSORS)
    (directory / "first.py").write_text("def main(event):\n    value = event['after']['value']\n"
                                        "    return 'drop' if value % 7 == 0 else {'action': 'annotate', 'annotations': {'a': value}}\n")
    (directory / "second.py").write_text("def main(event):\n    return {'action': 'annotate', 'annotations': {'b': -event['after']['value']}}\n")
    options = ("--config", directory / "rules.toml")
    kills = events = again = 0
    for number in range(100 if full else 5):
        output = directory / str(number)
        _, announced = kill_once(output, "collector", signal.SIGKILL, options, 0.6)
        for _ in range(random.randrange(4)):
            recovery = watcher(output, "--rotate-size", 50000, *options, "true")
            time.sleep(random.uniform(0, 0.4))
            recovery.kill()
            kills += recovery.wait(60) == -signal.SIGKILL
        time.sleep(0.05)
        check(watcher(output, "--rotate-size", 50000, *options, "true").wait(120) == 0, "the next run failed")
        check(not [*output.glob("ring.*"), *output.glob("spool.*")], "something was left")
        seen, values = {}, []
        for event in rotated.events(output):
            del event["timestamp_ns"]  # of nanoseconds each collector has its own idea
            known = seen.setdefault(event["event_id"], event)
            again += known is not event
            check(known == event, "two events of one id:", known, event)
            if known is event:
                values.append(value := event["after"]["value"])
                check(event["annotations"] == {"a": value, "b": -value}, event)
        last = max(values, default=0)
        wanted = [value for value in range(1, max(last, announced) + 1) if value % 10 and value % 7]
        check(values == wanted, "not the events in order:", len(values), "of", len(wanted), sorted(set(wanted) ^ set(values))[:5])
        events += len(values)
        kills += 1
        shutil.rmtree(output)
    return f"{kills} kills of collectors, {events} events through three processors, {again} of them written twice"


def rotation(full, directory):
    """Bar 10: 8 collectors on one directory, 176,000 lines, 100 rotations and more: none torn, lost or twice."""
    writers, lines = 8, 22000 if full else 2000
    size = 300_000 if full else 100_000
    output = directory / "shared"
    runs = [watcher(output, "--rotate-size", size, "--rotate-compress", packing, WRITER, lines)
            for packing in ("none", "gzip", "zstd", "gzip") * 2][:writers]
    moved = []
    while any(run.poll() is None for run in runs):
        time.sleep(0.05)
        target = directory / f"moved.{len(moved)}"
        try:
            os.rename(output / "events.jsonl", target)
        except FileNotFoundError:
            continue
        moved.append(target)
    check(all(run.returncode == 0 for run in runs), "a run failed")
    stores = collections.defaultdict(list)
    ids = collections.Counter()
    for event in rotated.events(output, moved):
        stores[event["pid"]].append(event["after"]["value"])
        ids[event["event_id"]] += 1
    check(len(stores) == writers and len(ids) == writers * lines, len(stores), "writers", len(ids), "events")
    check(max(ids.values()) == 1, "an event was written twice")
    # a file renamed away by us while others put files aside has no place in the order of names
    check(all(sorted(values) == list(range(1, lines + 1)) for values in stores.values()), "a store is missing")
    turns = len(moved) + len(rotated.files(output)) - 1
    check(turns >= (100 if full else 20), "only", turns, "rotations")
    return f"{writers} processes, {len(ids)} lines, {turns} rotations"


def run_program(directory, prefix=(), options=(), meanwhile=None, ulimit=""):
    """A Python program with 20,000 stores; its output and status must be what they are without Watcher."""
    program = directory / "app.py"
    program.write_text(PROGRAM)
    rules = directory / "rules.toml"
    rules.write_text('[[watch]]\nfile = "app.py"\nlocal = ["total"]\n')
    output = directory / "out"
    command = [*prefix, EXEC, "--output", str(output), "--config", str(rules), *options, "--", "/usr/bin/python3", str(program)]
    command = ["sh", "-c", f"{ulimit} exec \"$@\"", "sh", *map(str, command)]
    process = subprocess.Popen(command, env=ENVIRONMENT, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if meanwhile:
        meanwhile(output)
    told, complaints = process.communicate(timeout=120)
    check(process.returncode == 0 and told == b"%d\n" % (STORES * (STORES + 1) // 2), process.returncode, told, complaints[-300:])
    return output


def balance(output, at_least_dropped=0):
    """emitted + dropped = generated, and the summary says so."""
    summary = json.loads((output / "summary.json").read_text())
    written = len(list(map(json.loads, rotated.lines(output))))
    generated = STORES + 1  # the first binding
    check(written == summary["written"], "lines", written, "summary", summary["written"])
    check(written + summary["dropped"] == generated, written, "+", summary["dropped"], "!=", generated)
    check(summary["dropped"] >= at_least_dropped, "nothing was dropped")
    return written


def full_disk(directory):
    mount = directory / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "none", mount], check=True)
    try:
        output = run_program(mount)
        return balance(output, 1)
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def injected(directory, call, error, options=(), when="2+3", at_least_dropped=0):
    """The collector's own system calls fail; strace follows its threads, and the program has none of these calls."""
    output = directory / "out"
    output.mkdir(mode=0o700)
    (output / "events.jsonl").touch(0o600)
    log = directory / "strace"
    only = [] if call == "renameat2" else ["-P", output / "events.jsonl"]  # whose file is told by two arguments
    prefix = ["strace", "-f", "-o", log, *only, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    run_program(directory, prefix, options)
    check("INJECTED" in log.read_text(), "no call has failed")
    return balance(output, at_least_dropped)


def removed(directory):
    def remove(output):
        for _ in range(20):
            time.sleep(0.02)
            shutil.rmtree(output, ignore_errors=True)
    run_program(directory, meanwhile=remove)
    return "gone"


def stalled_fifo(directory):
    output = directory / "out"
    output.mkdir(mode=0o700)
    os.mkfifo(output / "events.jsonl", 0o600)
    done = subprocess.run([EXEC, "--output", str(output), "echo", "no"], env=ENVIRONMENT, capture_output=True, timeout=10)
    check(done.returncode == 2 and done.stdout == b"" and b"not a regular file" in done.stderr, done)
    return "refused"


def disks(full, directory):
    """Bar 11: the program's result is what it was; written + dropped = generated; no signal."""
    cases = {"RLIMIT_FSIZE": lambda place: balance(run_program(place, ulimit="ulimit -f 3000;"), 1),
             "RLIMIT_FSIZE and rotation": lambda place: balance(run_program(place, options=("--rotate-size", 500000),
                                                                            ulimit="ulimit -f 3000;")),
             "deleted directory": removed, "stalled FIFO": stalled_fifo}
    if shutil.which("strace"):
        for error in ("EIO", "EDQUOT", "ENOSPC"):
            cases["write: " + error] = lambda place, error=error: injected(place, "write", error)
            cases[f"write: {error} for good"] = lambda place, error=error: injected(place, "write", error, when="10+",
                                                                                    at_least_dropped=1)
        cases["fsync: EIO"] = lambda place: injected(place, "fdatasync", "EIO", ("--fsync", "every"), "2+")
        cases["fsync in the background: EIO"] = lambda place: injected(place, "fdatasync", "EIO", when="1+")
        cases["rotation: EROFS"] = lambda place: injected(place, "renameat2", "EROFS", ("--rotate-size", 100000))
    if os.getuid() == 0:
        cases["full tmpfs"] = full_disk
    told = []
    for turn in range(20 if full else 1):
        for number, (name, case) in enumerate(cases.items()):
            place = directory / f"{turn}-{number}"
            place.mkdir()
            try:
                told.append(f"{name}: {case(place)}")
            except Exception as error:
                raise AssertionError(f"{name}: {error}") from error
    return f"{len(told)} runs; written of {STORES + 1}: " + ", ".join(told[:len(cases)])


def main():
    campaigns = {"kills": kills, "processors": processors, "rotation": rotation, "disks": disks}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("names", nargs="*", choices=[[], *campaigns], metavar="NAME")
    options = parser.parse_args()
    failed = False
    for name in options.names or campaigns:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="watcher-output-"))
        directory.chmod(0o755)
        start = time.monotonic()
        try:
            print(f"{name}: {campaigns[name](options.full, directory)} ({time.monotonic() - start:.0f} s)", flush=True)
        except AssertionError as error:
            failed = True
            print(f"{name}: FAILED: {error}", flush=True)
        finally:
            shutil.rmtree(directory, True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

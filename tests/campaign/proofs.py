#!/usr/bin/env python3
"""The capture engine's campaigns, one line of verdict each.

    proofs.py [--full] [threads] [signals] [kernel_writes] [forks]      default: all, in the short form of the test suite

Environment: WATCHER_BUILD.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", HERE.parents[1] / "build")).resolve()


def command_of(name, full):
    """The command and what it finds in its environment."""
    extent = ["--full"] if full else []
    if name == "threads":
        test = [str(BUILD / "tests" / "unit" / "capture_threads"), "--test-case=*eight threads*,*uffd engine*", "--no-version"]
        return test, {"WATCHER_TEST_WRITES": "1000000"} if full else {}
    if name == "forks":
        return [sys.executable, str(HERE / "forks.py"), *extent], {"WATCHER_BUILD": str(BUILD)}
    return [str(BUILD / "tests" / "campaign" / f"campaign_{name}"), *extent], {}


def main():
    names = ["threads", "signals", "kernel_writes", "forks"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--short", action="store_true", help="the default")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    options = parser.parse_args()
    failed = []
    for name in options.names or names:
        command, environment = command_of(name, options.full)
        start = time.monotonic()
        done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode()
        if done.returncode != 0:
            failed.append(name)
            print(text, end="")
        print(f"{name}: {'PASSED' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - start:.0f} s)", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

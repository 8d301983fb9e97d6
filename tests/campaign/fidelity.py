"""Does a program still do the same when every name of it is watched?

Runs modules of CPython's own test-suite, and the standard library's command lines, plainly and under watcher-exec with every name of
the module watched, on every interpreter found, and prints each difference: per test id, or in stdout, stderr and status.

    tests/campaign/fidelity.py                                  # everything
    tests/campaign/fidelity.py --only test_patma test_with --python 3.12
    tests/campaign/fidelity.py --programs --budget 600          # stops starting runs after ten minutes
    tests/campaign/fidelity.py --state DIR                      # keeps results; a second call goes on where the first stopped

With --state the plain results are reused for ever, the watched ones until --again. Ends with 1 when something differs that
is not listed in UNAVOIDABLE (the reasons stand in tests/RESULTS.md).

Environment: WATCHER_BUILD names the build tree, as for the behaviour tests.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from fidelity_lists import EXCLUDED, MODULES, PROGRAMS, SAMPLE, UNAVOIDABLE


# ---- inside the interpreter under test


def run_tests(module, report, package, collect):
    """One line of JSON for each step, so that a crash shows the test it happened in."""
    import gc
    import unittest

    if package:  # this interpreter comes without the test-suite: another of the same version has it
        import test

        test.__path__.insert(0, package)
    from test import support

    support.use_resources = []
    out = open(report, "w", buffering=1)

    def say(*record):
        out.write(json.dumps(record) + "\n")

    class Result(unittest.TestResult):
        def startTest(self, test):
            super().startTest(test)
            self.said = False
            say("start", test.id())
            if collect:
                gc.set_threshold(int(collect))

        def stopTest(self, test):
            super().stopTest(test)
            if not self.said:
                say("end", test.id(), "ok", "")

        def note(self, test, outcome, detail):
            self.said = True
            say("end", test.id(), outcome, detail)

        def addError(self, test, err):
            self.note(test, "error", self._exc_info_to_string(err, test)[-3000:])

        def addFailure(self, test, err):
            self.note(test, "fail", self._exc_info_to_string(err, test)[-3000:])

        def addSkip(self, test, reason):
            self.note(test, "skip", reason)

        def addExpectedFailure(self, test, err):
            self.note(test, "expected failure", "")

        def addUnexpectedSuccess(self, test):
            self.note(test, "unexpected success", "")

        def addSubTest(self, test, subtest, err):
            if err is not None:
                kind = "fail" if issubclass(err[0], test.failureException) else "error"
                self.note(test, kind, str(subtest) + "\n" + self._exc_info_to_string(err, test)[-3000:])

    try:
        suite = unittest.defaultTestLoader.loadTestsFromName("test." + module)
    except unittest.SkipTest as skip:
        return say("end", module, "skip", str(skip))
    suite.run(Result())
    say("complete")


# ---- around it


def rules_for(pattern):
    return '[[watch]]\nfile = %s\nboth = ["*"]\n' % json.dumps(pattern)


class Campaign:
    def __init__(self, options, harness):
        self.options, self.harness = options, harness
        self.state = pathlib.Path(options.state or tempfile.mkdtemp(prefix="fidelity-"))
        self.state.mkdir(parents=True, exist_ok=True)
        self.deadline = time.monotonic() + options.budget

    def command(self, directory, python, watch, arguments):
        command = [python, *arguments]
        if watch is None:
            return command
        config = directory / "rules.toml"
        config.write_text(rules_for(watch))
        config.chmod(0o644)
        launcher = str(self.harness.BUILD / "tools" / "watcher-exec")
        return [launcher, "--output", str(directory / "out"), "--config", str(config), "--", *command]

    def execute(self, directory, python, watch, arguments, text, timeout, cwd):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("WATCHER_", "PYTHON"))}
        env.update(PYTHONHASHSEED="1", COLUMNS="80", PYTHON_COLORS="0")
        env["TMPDIR"] = str(cwd)
        command = self.command(directory, python, watch, arguments)
        # a session of its own, so that a run out of time ends with all its children
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True)
        try:
            out, err = process.communicate(text, timeout=timeout)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return "timeout", "", ""

    def cached(self, key, watched, produce):
        path = self.state / (re.sub(r"[^\w.-]+", "_", key) + (".watched" if watched else ".plain") + ".json")
        if path.exists() and not (watched and self.options.again):
            return json.loads(path.read_text())
        if time.monotonic() > self.deadline:
            return None
        result = produce()
        path.write_text(json.dumps(result))
        return result

    def in_directory(self, work):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="fidelity-run-"))
        try:
            return work(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    # -- a module of the test-suite

    def test_run(self, python, module, watch, package, timeout):
        def work(directory):
            cwd = directory / "cwd"
            cwd.mkdir()
            report = directory / "report"
            started = time.monotonic()
            # the suite's own .pyc come from another patch release's compiler
            fresh = ["-X", f"pycache_prefix={directory}/pycache"] if package else []
            arguments = ["-B", *fresh, str(pathlib.Path(__file__).resolve()), "--inside", module, str(report), package or "", self.options.collect]
            status, out, err = self.execute(directory, python, watch, arguments, "", timeout, cwd)
            tests, last, complete = {}, None, False
            for line in report.read_text().splitlines() if report.exists() else []:
                record = json.loads(line)
                if record[0] == "start":
                    last = record[1]
                    tests[last] = tests.get(last) or ["unfinished", ""]
                elif record[0] == "end":
                    tests[record[1]] = record[2:]
                else:
                    complete = True
            summary = directory / "out" / "summary.json"
            return {"status": status, "tests": tests, "last": last, "complete": complete, "stderr": err[-4000:],
                    "seconds": round(time.monotonic() - started, 1), "notices": [x for x in err.splitlines() if "watcher" in x][:5],
                    "events": json.loads(summary.read_text()).get("written", 0) if summary.exists() else 0}

        return self.in_directory(work)

    def module(self, version, python, name, package):
        root = package or self.library(python) + "/test"
        if os.path.isdir(f"{root}/test_{name}"):
            watch = f"*/test_{name}/*.py"
        elif os.path.exists(f"{root}/test_{name}.py"):
            watch = f"test_{name}.py"
        else:
            return None
        key, module = f"{version}-{python}-{name}", "test_" + name
        plain = self.cached(key, False, lambda: self.test_run(python, module, None, package, self.options.timeout))
        if plain is None or plain["status"] == "timeout":
            return {"skipped": plain is None, "note": "plain run out of time"}
        watched = self.cached(key, True, lambda: self.test_run(python, module, watch, package, 300 + 15 * plain["seconds"]))
        if watched is None:
            return {"skipped": True}
        differences = []
        for test in sorted(set(plain["tests"]) | set(watched["tests"])):
            was, became = (run["tests"].get(test, ["absent", ""]) for run in (plain, watched))
            if was[0] != became[0]:
                differences.append((test, was[0], became[0], became[1] or was[1]))
        if plain["status"] != watched["status"] or plain["complete"] != watched["complete"]:
            differences.append(("the process", str(plain["status"]), str(watched["status"]), f"last: {watched['last']}\n{watched['stderr'][-1500:]}"))
        if watched["notices"]:
            differences.append(("its log", "", "notices", "\n".join(watched["notices"])))
        return {"tests": len(plain["tests"]), "differences": differences, "events": watched["events"],
                "seconds": (plain["seconds"], watched["seconds"])}

    def library(self, python):
        return subprocess.run([python, "-c", "import os; print(os.path.dirname(os.__file__))"], capture_output=True, text=True).stdout.strip()

    # -- a command line of the standard library

    def program_run(self, python, watch, arguments, text):
        def work(directory):
            import shlex

            cwd = pathlib.Path("/tmp/fidelity-programs-%d" % os.getpid()) / str(id(directory))
            self.make_samples(cwd)
            words = [word.replace("{d}", str(cwd)) for word in shlex.split(arguments)]
            status, out, err = self.execute(directory, python, watch, ["-B", *words], text, 180, cwd)
            shutil.rmtree(cwd, ignore_errors=True)
            neutral = lambda shown: re.sub(r"0x[0-9a-f]{6,}", "0x", shown.replace(str(cwd), "{d}"))
            summary = directory / "out" / "summary.json"
            return {"status": status, "stdout": neutral(out), "stderr": neutral(err),
                    "events": json.loads(summary.read_text()).get("written", 0) if summary.exists() else 0}

        return self.in_directory(work)

    @staticmethod
    def make_samples(directory):
        import pickle
        import tarfile
        import zipfile

        directory.mkdir(parents=True)
        files = {"sample.py": SAMPLE, "plain.py": "x = 1\nfor i in range(3):\n    x += i\nprint(x)\n", "broken.py": "def f(:\n",
                 "doc.py": '"""\n>>> 1 + 1\n2\n>>> 1 / 0\n3\n"""\n', "tree/a.py": "a = 1\n", "tree/b.py": "def b(:\n",
                 "test_it.py": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual([1], [1])\n"}
        for name, text in files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text)
            os.utime(directory / name, (1700000000, 1700000000))
        with zipfile.ZipFile(directory / "old.zip", "w") as archive:
            archive.write(directory / "sample.py", "sample.py")
        with tarfile.open(directory / "old.tar", "w") as archive:
            archive.add(directory / "sample.py", "sample.py")
        (directory / "old.pickle").write_bytes(pickle.dumps({"a": [1, 2.5]}, protocol=2))

    def program(self, version, python, index):
        watch, arguments, text = PROGRAMS[index]
        key = f"{version}-{python}-program-{index}-{watch}"
        plain = self.cached(key, False, lambda: self.program_run(python, None, arguments, text))
        watched = plain and self.cached(key, True, lambda: self.program_run(python, watch, arguments, text))
        if watched is None:
            return {"skipped": True}
        return {"tests": 1, "differences": program_differences(f"{watch}: {arguments[:60]}", plain, watched), "events": watched["events"], "seconds": (0, 0)}


def program_differences(name, plain, watched):
    timing = lambda shown: re.sub(r"\d[\d.e-]* ?(u|m|n)?sec|best of.*|\d+\.\d+s", "<time>", shown)
    return [(name, part, "", f"--- plain\n{plain[part]}\n--- watched\n{watched[part]}")
            for part in ("stdout", "stderr", "status") if timing(str(plain[part])) != timing(str(watched[part]))]


def expected(name, test, version):
    return any(name == module and fnmatch.fnmatch(test, which) and fnmatch.fnmatch(version, versions) for module, which, versions in UNAVOIDABLE)


def print_table(rows):
    print("\n| python | runs | tests | events | differ | unavoidable |\n|---|---|---|---|---|---|")
    for label, row in rows.items():
        print("| %s | %d | %d | %d | %d | %d |" % (label, row["runs"], row["tests"], row["events"], row["new"], row["known"]))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="test modules (test_x or x), or with --programs files of the standard library")
    parser.add_argument("--python", nargs="*", default=[], help="versions or paths to keep")
    parser.add_argument("--programs", action="store_true", help="the command lines instead of the test-suite")
    parser.add_argument("--budget", type=float, default=3600, help="seconds after which no run is started")
    parser.add_argument("--timeout", type=float, default=60, help="seconds a plain run may take")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--state", help="directory that keeps the results")
    parser.add_argument("--again", action="store_true", help="run what is watched again, though kept")
    parser.add_argument("--collect", default="", metavar="N", help="runs the collector after every Nth allocation, so that it meets every moment")
    parser.add_argument("--brief", action="store_true", help="no details of a difference")
    return parser.parse_args()


def main():
    if sys.argv[1:2] == ["--inside"]:
        return run_tests(*sys.argv[2:6])
    options = parse_options()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job, and so in what is run
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))
    import harness

    campaign = Campaign(options, harness)
    wanted = {name[5:] if name.startswith("test_") else name for name in options.only or []}
    pythons = [(version, python) for version, python in harness.INTERPRETERS if not options.python or version in options.python or python in options.python]
    suites = {}
    for version, python in harness.INTERPRETERS:
        if os.path.exists(campaign.library(python) + "/test/test_grammar.py"):
            suites.setdefault(version, campaign.library(python) + "/test")
    jobs = []
    if options.programs:
        for index, (watch, _, _) in enumerate(PROGRAMS):
            jobs += [(version, python, watch, lambda v=version, p=python, i=index: campaign.program(v, p, i))
                     for version, python in pythons if not options.only or watch in options.only]
    else:
        for name in dict.fromkeys(name for name in MODULES if name not in EXCLUDED and (not wanted or name in wanted)):
            for version, python in pythons:
                own = campaign.library(python) + "/test"
                package = None if os.path.exists(own + "/test_grammar.py") else suites.get(version)
                jobs.append((version, python, name, lambda v=version, p=python, n=name, k=package: campaign.module(v, p, n, k)))
    rows, failed, left = {}, False, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = [(version, python, name, pool.submit(job)) for version, python, name, job in jobs]
        for version, python, name, future in running:
            result = future.result()
            if result is None:
                continue
            if "differences" not in result:
                left += 1
                if not result["skipped"]:
                    print(f"{version} {name}: {result['note']}", flush=True)
                continue
            row = rows.setdefault(f"{version} ({'pyenv' if 'pyenv' in python else 'system'})", dict(runs=0, tests=0, events=0, new=0, known=0))
            row["runs"] += 1
            row["tests"] += result["tests"]
            row["events"] += result["events"]
            if result["seconds"][1] > 30 + 5 * result["seconds"][0]:
                print(f"{version} {name}: slow, {result['seconds'][0]} s became {result['seconds'][1]} s", flush=True)
            for test, was, became, detail in result["differences"]:
                known = expected(name, test, version)
                row["known" if known else "new"] += 1
                failed = failed or not known
                print(f"{version} {python} {name} {test}: {was} -> {became}{' (unavoidable)' if known else ''}", flush=True)
                if not options.brief and not known:
                    print("    " + detail.strip().replace("\n", "\n    "), flush=True)
    print_table(rows)
    if left:
        print(f"\n{left} runs left out: out of time")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

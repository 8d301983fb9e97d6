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

MODULES = """
    grammar syntax scope generators coroutines asyncgen named_expressions patma with exceptions exception_group except_star
    listcomps dictcomps setcomps genexps decorators class descr super metaclass dataclasses enum typing type_params type_aliases
    unpack unpack_ex augassign global keywordonlyarg positional_only_arg fstring raise contextlib functools itertools collections
    copy pickle json re string inspect traceback code dis compile gc weakref threading list dict set
    builtin call extcall funcattrs yield_from baseexception exception_hierarchy exception_variations future_stmt frame genericalias
    genericclass type_annotations pep646_syntax peepholer property slice string_literals subclassinit symtable tuple types
    unicode_identifiers userdict weakset with abc ast binop bool contains context contextlib_async copyreg deque defaultdict
    dynamic dynamicclassattribute enumerate eof finalization generator_stop graphlib int_literal isinstance iter linecache opcache
    operator ordered_dict pprint queue range richcmp sched tokenize unary utf8source warnings trace pdb doctest
""".split()
# Tests of tracing itself: they compare the bytecode of their own file, or count its lines.
EXCLUDED = {"sys_settrace", "sys_setprofile", "bdb", "monitoring"}

# (module, test id as a glob, version as a glob): differences that cannot be avoided; the reasons stand in tests/RESULTS.md.
UNAVOIDABLE = [
    # `type(x) is dict`: a watched container's type is a subclass of the same name
    ("typing", "*.TypedDictTests.test_basics_*_syntax", "*"),
    ("typing", "*.TypedDictTests.test_non_generic_subscript", "*"),
    ("functools", "*.test_setstate_subclasses", "*"),
    ("types", "*.MappingProxyTests.test_copy", "*"),
    ("warnings", "*.test_catch_warnings_recording", "*"),
    ("pickle", "*.test_dict_chunking", "*"),
    ("pickle", "*.test_list_chunking", "*"),
    ("pickle", "*.test_set_chunking", "*"),
    ("pickle", "*.test_roundtrip_equality", "*"),
    # they read their own constants by index, or count their own instructions
    ("compile", "*.test_32_63_bit_values", "*"),
    ("compile", "*.test_merge_constants", "*"),
    ("compile", "*.test_consts_in_conditionals", "*"),
]

SAMPLE = '''"""A module to chew on."""
import os


class Shape:
    """It has sides."""

    def __init__(self, sides=3):
        self.sides = sides

    def area(self, *, scale: float = 1.0) -> float:
        total = 0.0
        for side in range(self.sides):
            total += side * scale
        return total


def main():
    shape = Shape(4)
    print(shape.area(scale=2.0), os.path.basename("/a/b"))


if __name__ == "__main__":
    main()
'''
CSV = 'import csv, io; w = csv.writer(__import__("sys").stdout); w.writerows([[1, "a b"], ["x,y", None]]); ' \
      'print(list(csv.DictReader(io.StringIO("a,b\\n1,2\\n"))), csv.Sniffer().sniff("a;b;c\\n1;2;3\\n").delimiter)'
# (watched file of the standard library, arguments, standard input); `{d}` is a directory of the run with sample.py and others.
PROGRAMS = [
    ("json/tool.py", "-m json.tool", '{"b": [1, 2.5, null], "a": {"x": "y"}}'),
    ("json/decoder.py", "-m json.tool --sort-keys", '{"b": [1, 2.5, null], "a": {"x": "y"}}'),
    ("json/encoder.py", "-m json.tool --indent 1", '[[[]], {"x": "\\u00e9"}]'),
    ("json/tool.py", "-m json.tool", '{"broken": '),
    ("tokenize.py", "-m tokenize {d}/sample.py", ""),
    ("tokenize.py", "-m tokenize -e", "x = (1,\n  2)\n"),
    ("ast.py", "-m ast {d}/sample.py", ""),
    ("dis.py", "-m dis {d}/plain.py", ""),
    ("opcode.py", "-m dis {d}/plain.py", ""),
    ("compileall.py", "-m compileall -f {d}/tree", ""),
    ("py_compile.py", "-m py_compile {d}/broken.py", ""),
    ("pydoc.py", "-m pydoc json", ""),
    ("pydoc.py", "-m pydoc -k nothingliesthere_", ""),
    ("inspect.py", "-m inspect json:loads", ""),
    ("timeit.py", "-m timeit -n 3 -r 2 -u sec x=1", ""),
    ("calendar.py", "-m calendar 2024 2", ""),
    ("calendar.py", "-m calendar -t html 2023", ""),
    ("zipfile.py", "-m zipfile -c {d}/new.zip {d}/sample.py", ""),
    ("*/zipfile/*.py", "-m zipfile -l {d}/old.zip", ""),
    ("zipfile.py", "-m zipfile -t {d}/old.zip", ""),
    ("tarfile.py", "-m tarfile -c {d}/new.tar {d}/sample.py", ""),
    ("tarfile.py", "-m tarfile -l {d}/old.tar", ""),
    ("base64.py", "-m base64 -e {d}/sample.py", ""),
    ("base64.py", "-m base64 -d", "aGVsbG8="),
    ("quopri.py", "-m quopri {d}/sample.py", ""),
    ("difflib.py", "-m difflib {d}/sample.py {d}/plain.py", ""),
    ("gzip.py", "-m gzip {d}/plain.py", ""),
    ("platform.py", "-m platform", ""),
    ("sysconfig.py", "-m sysconfig", ""),
    ("*/sysconfig/*.py", "-m sysconfig", ""),
    ("tabnanny.py", "-m tabnanny -v {d}/sample.py", ""),
    ("pyclbr.py", "-m pyclbr {d}/sample.py", ""),
    ("trace.py", "-m trace --count --missing -C {d}/cover {d}/sample.py", ""),
    ("trace.py", "-m trace --listfuncs {d}/sample.py", ""),
    ("symtable.py", "-c 'import symtable; t = symtable.symtable(open(\"{d}/sample.py\").read(), \"s\", \"exec\"); print(t.get_children())'", ""),
    ("doctest.py", "-m doctest {d}/doc.py", ""),
    ("unittest/case.py", "-m unittest -v {d}/test_it.py", ""),
    ("unittest/loader.py", "-m unittest discover -s {d}", ""),
    ("unittest/mock.py", "-c 'from unittest.mock import MagicMock as M; m = M(); m.a(1); print(m.a.call_args, m.mock_calls)'", ""),
    ("argparse.py", "-m json.tool --help", ""),
    ("argparse.py", "-m json.tool --nonsense", ""),
    ("optparse.py", "-c 'import optparse; p = optparse.OptionParser(); p.add_option(\"-x\", type=int); print(p.parse_args([\"-x\", \"3\", \"y\"]))'", ""),
    ("getopt.py", "-c 'import getopt; print(getopt.gnu_getopt([\"-a\", \"x\", \"--long=3\"], \"a\", [\"long=\"]))'", ""),
    ("typing.py", "-c 'import typing; print(typing.get_type_hints(typing.NamedTuple(\"N\", [(\"a\", int)])), typing.Dict[str, typing.Any])'", ""),
    ("dataclasses.py", "-c 'import dataclasses as d; C = d.make_dataclass(\"C\", [(\"x\", int)], frozen=True); print(C(3), hash(C(3)), d.asdict(C(1)))'", ""),
    ("enum.py", "-c 'import enum, re; print(list(enum.Enum(\"E\", \"A B\")), re.I | re.M, enum.Flag(\"F\", \"X Y\").X)'", ""),
    ("functools.py", "-c 'import functools; f = functools.lru_cache(3)(lambda x: x + 1); print([f(i) for i in (1, 2, 1)], f.cache_info())'", ""),
    ("*/collections/__init__.py", "-c 'import collections as c; print(c.Counter(\"abca\"), c.namedtuple(\"P\", \"x y\")(1, 2), c.ChainMap({1: 2}))'", ""),
    ("contextlib.py", "-c 'import contextlib\nwith contextlib.suppress(KeyError): {}[1]\nwith contextlib.ExitStack() as s: s.callback(print, 3)\n'", ""),
    ("traceback.py", "-c 'import traceback\ntry: 1 / 0\nexcept Exception: print(traceback.format_exc())\n'", ""),
    ("traceback.py", "-m json.tool {d}/none.json", ""),
    ("textwrap.py", "-c 'import textwrap; print(textwrap.fill(\"word \" * 60, 30), textwrap.dedent(\"  a\\n   b\"))'", ""),
    ("pprint.py", "-c 'import pprint; pprint.pprint([{\"k\" * 20: list(range(40)), \"s\": \"t\" * 200}])'", ""),
    ("csv.py", "-c '" + CSV + "'", ""),
    ("configparser.py", "-c 'import configparser as c; p = c.ConfigParser(); p.read_string(\"[a]\\nx=1\\ny=%(x)s2\"); print(dict(p[\"a\"]))'", ""),
    ("*/logging/__init__.py", "-c 'import logging; logging.basicConfig(format=\"%(levelname)s %(funcName)s %(lineno)d %(message)s\"); logging.warning(\"a %d\", 3)'", ""),
    ("*/asyncio/*.py", "-c 'import asyncio\nasync def f(x):\n  await asyncio.sleep(0)\n  return x\nasync def g(): print(await asyncio.gather(*map(f, range(5))))\nasyncio.run(g())'", ""),
    ("*/concurrent/futures/*.py", "-c 'import concurrent.futures as c\nwith c.ThreadPoolExecutor(2) as p: print(list(p.map(abs, [-1, 2])))'", ""),
    ("*/multiprocessing/*.py", "-c 'import multiprocessing as m\nwith m.get_context(\"fork\").Pool(2) as p: print(p.map(abs, [-1, 2]))'", ""),
    ("subprocess.py", "-c 'import subprocess; print(subprocess.run([\"echo\", \"x\"], capture_output=True))'", ""),
    ("tempfile.py", "-c 'import tempfile, os\nwith tempfile.TemporaryDirectory() as d: print(os.path.isdir(d))'", ""),
    ("shutil.py", "-c 'import shutil; print(shutil.which(\"sh\"), shutil.copy(\"{d}/sample.py\", \"{d}/copy.py\"))'", ""),
    ("pathlib.py", "-c 'import pathlib; p = pathlib.Path(\"{d}\"); print(sorted(p.glob(\"*.py\")), p / \"..\" / \"x\", p.suffix)'", ""),
    ("decimal.py", "-c 'import decimal, fractions; print(decimal.Decimal(1) / 7, fractions.Fraction(\"0.125\"))'", ""),
    ("fractions.py", "-c 'from fractions import Fraction as F; print(F(1, 3) + F(\"2.5\"), F(3.25).limit_denominator(9), hash(F(7, 3)))'", ""),
    ("statistics.py", "-c 'import statistics as s; print(s.mean([1, 2, 4]), s.stdev([1.5, 2, 9]), s.quantiles([1, 2, 3, 4, 9]))'", ""),
    ("random.py", "-c 'import random; random.seed(5); print(random.random(), random.sample(range(99), 5), random.choices(\"abc\", k=4))'", ""),
    ("datetime.py", "-c 'import datetime as d; print(d.datetime(2024, 2, 29) + d.timedelta(366), d.date.fromisoformat(\"2024-01-01\"))'", ""),
    ("heapq.py", "-c 'import heapq; h = []; [heapq.heappush(h, x) for x in (3, 1, 2)]; print(h, list(heapq.merge([1, 4], [2])))'", ""),
    ("copy.py", "-c 'import copy; a = [1]; a.append(a); b = copy.deepcopy(a); print(b, b[1] is b)'", ""),
    ("pickle.py", "-c 'import pickle; print(pickle._loads(pickle._dumps({1: [2, (3,)], \"x\": b\"y\"})))'", ""),
    ("pickletools.py", "-m pickletools {d}/old.pickle", ""),
    ("shelve.py", "-c 'import shelve\nwith shelve.Shelf({}) as s: s[\"a\"] = [1]; print(list(s.items()))'", ""),
    ("*/xml/etree/*.py", "-c 'import xml.etree.ElementTree as E; print(E.tostring(E.fromstring(\"<a><b x=\\\"1\\\"/>t</a>\")))'", ""),
    ("*/html/*.py", "-c 'import html, html.parser as h; print(html.unescape(\"&lt;&#233;\")); p = h.HTMLParser(); p.feed(\"<a href=1>x\")'", ""),
    ("*/email/*.py", "-c 'import email; m = email.message_from_string(\"From: a@b\\nSubject: =?utf-8?q?x?=\\n\\nbody\"); print(m, m.items())'", ""),
    ("*/urllib/parse.py", "-c 'import urllib.parse as u; print(u.urlparse(\"http://u:p@h:80/p;x?q=1#f\"), u.urlencode({\"a\": \"b c\"}))'", ""),
    ("ipaddress.py", "-c 'import ipaddress as i; print(list(i.ip_network(\"10.0.0.0/30\")), i.ip_address(\"::1\").is_loopback)'", ""),
    ("*/sqlite3/*.py", "-c 'import sqlite3; c = sqlite3.connect(\":memory:\"); print(c.execute(\"select 1, 2\").fetchall())'", ""),
    ("threading.py", "-c 'import threading as t; x = [t.Thread(target=print, args=(i,)) for i in range(3)]; [(y.start(), y.join()) for y in x]'", ""),
    ("queue.py", "-c 'import queue; q = queue.PriorityQueue(); q.put(3); q.put(1); print(q.get(), q.qsize())'", ""),
    ("code.py", "-c 'import code; code.interact(banner=\"\", exitmsg=\"\")'", "x = 1\nprint(x + 1)\n1/0\n"),
    ("pdb.py", "-m pdb {d}/sample.py", "next\nstep\nwhere\ncontinue\nquit\n"),
    ("bdb.py", "-m pdb {d}/sample.py", "b 12\ncontinue\np total\nnext\ncontinue\nquit\n"),
    ("cProfile.py", "-c 'import cProfile; p = cProfile.Profile(); print(p.runcall(sorted, [2, 1]))'", ""),
    ("runpy.py", "-c 'import runpy; print(sorted(runpy.run_path(\"{d}/sample.py\", run_name=\"x\"))[-3:])'", ""),
    ("*/lib2to3/*.py", "-W ignore -m lib2to3 {d}/plain.py", ""),
    ("*/importlib/*.py", "-c 'import importlib.util as u, importlib.metadata; print(u.find_spec(\"json\").name)'", ""),
    ("warnings.py", "-c 'import warnings; warnings.warn(\"careful\", stacklevel=1); warnings.simplefilter(\"error\"); warnings.warn(\"x\")'", ""),
    ("graphlib.py", "-c 'import graphlib; print(list(graphlib.TopologicalSorter({1: {2}, 2: {3}}).static_order()))'", ""),
    ("sample.py", "{d}/sample.py", ""),
    ("sample.py", "-O {d}/sample.py", ""),
    ("sample.py", "-OO -X dev {d}/sample.py", ""),
]


# ---- inside the interpreter under test


def run_tests(module, report, package):
    """One line of JSON for each step, so that a crash shows the test it happened in."""
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
            arguments = ["-B", *fresh, str(pathlib.Path(__file__).resolve()), "--inside", module, str(report), package or ""]
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
        watched = self.cached(key, True, lambda: self.test_run(python, module, watch, package, 90 + 15 * plain["seconds"]))
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
        timing = lambda shown: re.sub(r"\d[\d.e-]* ?(u|m|n)?sec|best of.*|\d+\.\d+s", "<time>", shown)
        differences = [(f"{watch}: {arguments[:60]}", part, "", f"--- plain\n{plain[part]}\n--- watched\n{watched[part]}")
                       for part in ("stdout", "stderr", "status") if timing(str(plain[part])) != timing(str(watched[part]))]
        return {"tests": 1, "differences": differences, "events": watched["events"], "seconds": (0, 0)}


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
    parser.add_argument("--brief", action="store_true", help="no details of a difference")
    return parser.parse_args()


def main():
    if sys.argv[1:2] == ["--inside"]:
        return run_tests(*sys.argv[2:5])
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

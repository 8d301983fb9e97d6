"""Do real programs write the same with every name of theirs watched, and of all that they import?

Runs Debian's Python programs and the command lines of its standard library plainly and under watcher-exec, and compares stdout,
stderr and status. What is not installed is left out and counted.

    tests/campaign/real_scripts.py                     # everything
    tests/campaign/real_scripts.py --only pip yq       # command lines with one of these words
    tests/campaign/real_scripts.py --watch '/usr/bin/*'    # other files than all; --state, --again: as fidelity.py

Environment: WATCHER_BUILD names the build tree, as for the behaviour tests.
"""

import argparse
import os
import pathlib
import shlex
import shutil
import sys

import fidelity

PYTHON = "/usr/bin/python3"
# Arguments, standard input; `{d}` is a directory of the run with sample.py and others.
MODULES = [
    ("-m json.tool", '{"b": [1, 2.5, null], "a": {"x": "y"}}'), ("-m json.tool --sort-keys --indent 2", '{"b": [1], "a": 1}'), ("-m json.tool", "{broken"),
    ("-m json.tool --help", ""), ("-m tokenize {d}/sample.py", ""), ("-m tokenize -e", "x = (1,\n  2)\n"), ("-m ast {d}/sample.py", ""),
    ("-m ast -m eval", "1 + 2"), ("-m dis {d}/plain.py", ""), ("-m compileall -f {d}/tree", ""), ("-m py_compile {d}/broken.py", ""),
    ("-m py_compile {d}/plain.py", ""), ("-m pydoc json.tool", ""), ("-m pydoc textwrap", ""), ("-m inspect json:loads", ""), ("-m inspect --details textwrap", ""),
    ("-m timeit -n 3 -r 2 -u sec x=1", ""), ("-m calendar 2024 2", ""), ("-m calendar -t html 2023", ""), ("-m zipfile -c {d}/new.zip {d}/sample.py", ""),
    ("-m zipfile -l {d}/old.zip", ""), ("-m zipfile -t {d}/old.zip", ""), ("-m zipfile -e {d}/old.zip {d}/to", ""), ("-m tarfile -c {d}/new.tar {d}/sample.py", ""),
    ("-m tarfile -l {d}/old.tar", ""), ("-m tarfile -v -e {d}/old.tar {d}/to", ""), ("-m base64 -e {d}/sample.py", ""), ("-m base64 -d", "aGVsbG8="),
    ("-m quopri {d}/sample.py", ""), ("-m difflib {d}/sample.py {d}/plain.py", ""), ("-m gzip {d}/plain.py", ""), ("-m platform", ""), ("-m sysconfig", ""),
    ("-m tabnanny -v {d}/sample.py", ""), ("-m pyclbr {d}/sample.py", ""), ("-m trace --count --missing -C {d}/cover {d}/sample.py", ""),
    ("-m trace --listfuncs {d}/sample.py", ""), ("-m trace --trackcalls {d}/plain.py", ""), ("-m symtable", "x = 1"), ("-m doctest {d}/doc.py", ""),
    ("-m unittest -v {d}/test_it.py", ""), ("-m unittest discover -s {d}", ""), ("-m pickletools {d}/old.pickle", ""), ("-m pickle {d}/old.pickle", ""),
    ("-m pdb {d}/sample.py", "next\nstep\nwhere\ncontinue\nquit\n"), ("-m code", "x = 1\nprint(x + 1)\n1/0\n"), ("-m runpy json.tool --help", ""),
    ("-m this", ""), ("-m mimetypes x.html", ""), ("-m site --user-base", ""), ("-m filecmp {d} {d}/tree", ""), ("-m fileinput {d}/plain.py", ""),
    ("-m netrc", ""), ("-m uuid --help", ""), ("-m random 5", ""), ("-m textwrap", ""), ("-m locale", ""), ("-m getopt", ""), ("-m encodings.rot_13", "hello"),
    ("-m xml.sax.saxutils", ""), ("-m cProfile --help", ""), ("-m profile --help", ""), ("-m http.server --help", ""), ("-m asyncio --help", ""), ("-m venv --help", ""),
    ("-m sqlite3 --help", ""), ("-m lib2to3 {d}/plain.py", ""), ("-m nntplib --help", ""), ("-m smtplib --help", ""), ("-m modulefinder {d}/plain.py", ""),
    ("-m crypt", ""), ("-m sndhdr", ""), ("-m imghdr", ""), ("{d}/sample.py", ""), ("-O {d}/sample.py", ""), ("-X dev {d}/sample.py", ""),
]
PROGRAMS = [
    ("chardet {d}/sample.py", ""), ("chardetect {d}/plain.py", ""), ("normalizer {d}/sample.py", ""), ("pygmentize -l python {d}/sample.py", ""),
    ("pygmentize -f html {d}/sample.py", ""), ("pygmentize -L styles", ""), ("pyflakes3 {d}/sample.py {d}/broken.py", ""), ("pydoc3 calendar", ""),
    ("pygettext3 -o - {d}/sample.py", ""), ("pdb3 {d}/sample.py", "next\ncontinue\nquit\n"), ("py3versions -s", ""), ("py3versions -d -v", ""),
    ("py3compile --help", ""), ("py3clean --help", ""), ("pip --version", ""), ("pip list --format=columns", ""), ("pip show pip", ""), ("pip help", ""),
    ("meson --version", ""), ("meson --help", ""), ("meson introspect --help", ""), ("futurize -1 {d}/plain.py", ""), ("pasteurize --help", ""),
    ("python3-coverage help", ""), ("python3-coverage run --data-file={d}/.cov {d}/sample.py", ""), ("jsonschema --version", ""), ("jsonschema {d}/none.json", ""),
    ("yq .", "a: 1\n"), ("xq-python .", "<a>1</a>"), ("tomlq .", "a = 1\n"), ("gunicorn --version", ""), ("gunicorn --help", ""), ("hypothesis --help", ""),
    ("register-python-argcomplete x", ""), ("cppcheck-htmlreport --help", ""), ("git-clang-format --help", ""), ("clang-format-diff --help", ""),
    ("run-clang-tidy --help", ""), ("clang-tidy-diff --help", ""), ("scan-build-py-14 --help", ""), ("asan_symbolize --help", ""), ("f2py", ""), ("rrsync", ""),
    ("add-apt-repository --help", ""), ("convert-caffe2-to-onnx --help", ""), ("torchrun --help", ""), ("ipython3 --version", ""), ("jupyter-execute --help", ""),
    ("analyze-build-14 --help", ""), ("hmaptool-14 --help", ""), ("kpt --help", ""), ("python-argcomplete-check-easy-install-script /usr/bin/pip", ""),
]


def commands():
    for arguments, text in MODULES:
        yield arguments, arguments, text
    for line, text in PROGRAMS:
        name, _, rest = line.partition(" ")
        path = shutil.which(name, path="/usr/bin:/usr/sbin")
        if path is None or b"python" not in pathlib.Path(path).read_bytes()[:60].partition(b"\n")[0]:
            yield line, None, text
        else:
            yield line, f"{shlex.quote(path)} {rest}", text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--watch", default="*")
    parser.add_argument("--state")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    options.budget = float("inf")
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))
    import harness

    campaign = fidelity.Campaign(options, harness)
    ran = missing = different = events = 0
    for line, arguments, text in commands():
        if options.only and not any(word in line for word in options.only):
            continue
        if arguments is None:
            missing += 1
            continue
        runs = [campaign.cached(f"{watch}-{line}", watch is not None, lambda: campaign.program_run(PYTHON, watch, arguments, text))
                for watch in (None, options.watch)]
        found = fidelity.program_differences(line, *runs)
        ran, different, events = ran + 1, different + bool(found), events + runs[1]["events"]
        for name, part, _, detail in found:
            print(f"{name}: {part}\n    " + detail[-3000:].replace("\n", "\n    "), flush=True)
    print(f"{ran} command lines, {missing} not installed, {events} events, {different} different")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()

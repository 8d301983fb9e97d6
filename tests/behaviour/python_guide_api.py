"""The guide's Python API, as the injected package serves it on every interpreter: the cases are in guide/api_cases.py."""

import os
import pathlib
import re
import shutil
import subprocess

from harness import BUILD, Case, INTERPRETERS, main

CASES = pathlib.Path(__file__).parent / "guide" / "api_cases.py"


def address_of(program, symbol):
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    return re.search(rf"^([0-9a-f]+) [Tt] {symbol}$", listing, re.M).group(1)


class GuideApi(Case):
    def test_code_written_against_the_guides_modules_runs_under_the_shim(self):
        program = os.environ["GUIDE_PROGRAM"]
        environment = {"LD_PRELOAD": str(BUILD / "preload" / "libwatcher_preload.so"), "GUIDE_PROGRAM": program,
                       "GUIDE_ADDRESS": address_of(program, "touch"), "GUIDE_NODE": shutil.which("node") or ""}
        for version, python in INTERPRETERS:
            with self.subTest(python):
                environment["WATCHER_OUTPUT"] = str(self.directory / ("out" + version))
                done = self.execute([python, "-B", str(CASES)], environment, timeout=300)
                self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace")[-4000:])
                self.assertRegex(done.stderr, rb"Ran [3-9]\d tests")

    def test_importing_watch_alone_loads_none_of_it(self):
        script = self.write({"app.py": "import sys\nfrom watcher import watch\n"
                                       "print(sorted(name for name in sys.modules if name.startswith('watcher')))\n"})
        for _, python in INTERPRETERS:
            self.assertEqual(self.watched(python, script).stdout, b"['watcher']\n")


if __name__ == "__main__":
    main()

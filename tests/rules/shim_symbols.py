"""The shim is tiny and plain: libc is its one need, musl has every symbol of it, and it defines what exports.map says."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

RULES = pathlib.Path(__file__).resolve().parent
SOURCE = RULES.parent.parent
BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", SOURCE / "build")).resolve()
SHIM = BUILD / "preload" / "libwatcher_preload.so"
MUSL = pathlib.Path("/usr/lib/x86_64-linux-musl/libc.so")
# dlopen and its kin moved into libc.so.6 with 2.34; nothing else may ask for more.
NEWEST_GLIBC = (2, 34)


def listed(name):
    lines = (RULES / name).read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def symbols(path):
    """type → names of the dynamic symbols, without their versions."""
    found = {}
    for line in subprocess.run(["nm", "-D", str(path)], check=True, capture_output=True, text=True).stdout.splitlines():
        kind, name = line.split()[-2:]
        found.setdefault(kind, set()).add(name.split("@")[0])
    return found


def readelf(option):
    return subprocess.run(["readelf", "-W", option, str(SHIM)], check=True, capture_output=True, text=True).stdout


class ShimSymbols(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.symbols = symbols(SHIM)

    def test_needs_only_libc(self):
        self.assertEqual(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d")), ["libc.so.6"])

    def test_defines_the_listed_functions_and_nothing_else(self):
        self.assertEqual(self.symbols.pop("T"), listed("shim_defined.txt"))
        self.assertEqual(set(self.symbols) - {"U", "w"}, set())

    def test_exports_map_names_the_listed_functions(self):
        text = re.sub(r"#.*", "", (SOURCE / "preload" / "exports.map").read_text())
        named = set(re.findall(r"(\w+);", text.split("global:")[1].split("local:")[0]))
        self.assertEqual(named, listed("shim_defined.txt"))

    def test_undefined_symbols_are_allowed(self):
        self.assertLessEqual(self.symbols["U"], listed("shim_undefined.txt"))
        self.assertEqual(self.symbols["w"], listed("shim_weak.txt"))

    @unittest.skipUnless(MUSL.exists(), "needs musl")
    def test_musl_has_every_allowed_symbol(self):
        musl = set.union(*(names for kind, names in symbols(MUSL).items() if kind != "U"))
        self.assertLessEqual(listed("shim_undefined.txt"), musl)

    def test_asks_for_no_newer_libc(self):
        versions = {tuple(map(int, text.split("."))) for text in re.findall(r"GLIBC_([\d.]+)", readelf("--dyn-syms"))}
        self.assertLessEqual({version for version in versions if version > NEWEST_GLIBC}, set())

    def test_has_no_start_files_no_executable_stack_and_stays_loaded(self):
        dynamic = readelf("-d")
        for absent in ("(INIT)", "(FINI)", "(FINI_ARRAY)", "TEXTREL"):
            self.assertNotIn(absent, dynamic)
        self.assertIn("NODELETE", dynamic)
        self.assertRegex(readelf("-l"), r"GNU_STACK.* RW ")

    def test_sources_include_no_cpp_library(self):
        for source in sorted((SOURCE / "preload").glob("*.[ch]*")):
            for header in re.findall(r"#include <(.*)>", source.read_text()):
                self.assertTrue(header.endswith(".h"), f"{source.name} includes <{header}>")


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

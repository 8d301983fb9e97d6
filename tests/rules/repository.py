"""The rules of the house that a machine can check, over the files that git tracks."""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent

TOP_LEVEL = {"meson.build", "meson_options.txt", "README.md", "COPYING", "DESIGN.md", "HACKING.md", "CHANGELOG.md",
             "preload", "runtime", "probes", "config", "tools", "tests", "examples"}
MOST_LINES = {".h": 150, ".hpp": 150, ".cpp": 400, ".cc": 400, ".c": 400, ".py": 400, ".js": 400, ".cjs": 400}

# Written so that this file does not break its own rules.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|work)/")
REGISTRIES = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("crates", "io"), ("golang", "org"),
    ("rubygems", "org"), ("maven", "org"), ("debian", "org"), ("ubuntu", "com"), ("docker", "io"), ("ghcr", "io"))]
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")


def tracked():
    listing = subprocess.run(["git", "-C", str(SOURCE), "ls-files", "-z"], capture_output=True, text=True)
    return [pathlib.PurePath(name) for name in listing.stdout.split("\0") if name and (SOURCE / name).is_file()]


@unittest.skipUnless(shutil.which("git") and (SOURCE / ".git").exists(), "needs the git checkout")
class Repository(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # COPYING is the licence's own text
        cls.texts = {path: (SOURCE / path).read_text(errors="replace") for path in tracked() if path.name != "COPYING"}

    def offenders(self, pattern):
        return [f"{path}:{number}: {line.strip()}" for path, text in self.texts.items()
                for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]

    def test_top_level_holds_the_agreed_entries(self):
        entries = {path.parts[0] for path in self.texts}
        self.assertEqual({entry for entry in entries if not entry.startswith(".")} - TOP_LEVEL, set())

    def test_files_are_short(self):
        too_long = [f"{path}: {lines} lines, at most {MOST_LINES[path.suffix]}" for path, text in self.texts.items()
                    if path.suffix in MOST_LINES and (lines := text.count("\n")) > MOST_LINES[path.suffix]]
        self.assertEqual(too_long, [])

    def test_no_path_of_one_machine(self):
        self.assertEqual(self.offenders(MACHINE_PATH), [])

    def test_no_package_registry(self):
        self.assertEqual(self.offenders(re.compile("|".join(map(re.escape, REGISTRIES)))), [])

    def test_nothing_is_left_for_later(self):
        self.assertEqual(self.offenders(UNFINISHED), [])

    def test_headers_open_with_pragma_once(self):
        missing = [str(path) for path, text in self.texts.items() if path.suffix in (".h", ".hpp")
                   and "#pragma once" not in text]
        self.assertEqual(missing, [])

    def test_no_namespace_is_imported_whole(self):
        self.assertEqual(self.offenders(re.compile(r"^\s*using namespace (?!std::literals)")), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

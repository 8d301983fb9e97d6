"""python -m watcher.cli.main --user-script FILE [OPTIONS]: runs main() of a script and records its variables.

This process becomes watcher-exec, with the same arguments; its --help lists them.
"""

import os
import shutil
import sys

_SHIM = "libwatcher_preload.so"


def _shim_directories():
    with open("/proc/self/maps", errors="surrogateescape") as maps:
        paths = [line.split(maxsplit=5)[5].rstrip("\n") for line in maps if line.rstrip("\n").endswith("/" + _SHIM)]
    return [os.path.dirname(path) for path in paths[:1]]


def find_watcher_exec():
    """WATCHER_EXEC, or the one that was installed together with what is loaded here, or that of PATH; else None."""
    named = os.environ.get("WATCHER_EXEC")
    if named:
        return shutil.which(named)
    for directory in _shim_directories():
        while directory != "/":
            directory = os.path.dirname(directory)
            for place in ("bin", "tools"):  # installed, in the build tree
                found = shutil.which(os.path.join(directory, place, "watcher-exec"))
                if found:
                    return found
    return shutil.which("watcher-exec")


def main(arguments=None):
    program = find_watcher_exec()
    if program is None:
        print("watcher: watcher-exec is not on PATH; install Watcher, or set WATCHER_EXEC to its path", file=sys.stderr)
        return 2
    os.environ.pop("WATCHER_EXEC", None)
    if sys.executable:
        os.environ["WATCHER_PYTHON"] = sys.executable
    sys.stdout.flush()
    os.execv(program, [program, *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())

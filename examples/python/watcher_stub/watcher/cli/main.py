"""python -m watcher.cli.main --user-script FILE [OPTIONS]: becomes watcher-exec, which brings the rest along."""

import os
import shutil
import sys


def main(arguments=None):
    named = os.environ.pop("WATCHER_EXEC", None)
    program = shutil.which(named or "watcher-exec")
    if program is None:
        print("watcher: watcher-exec is not on PATH; install Watcher, or set WATCHER_EXEC to its path", file=sys.stderr)
        return 2
    if sys.executable:
        os.environ["WATCHER_PYTHON"] = sys.executable
    sys.stdout.flush()
    os.execv(program, [program, *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())

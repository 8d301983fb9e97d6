"""Runs main() of a user script: python3 run_user_script.py OUTCOME SCRIPT [ARGUMENTS...]

Started by watcher-exec. The script is a module of its own, under its own path and name, as if it had been imported:
what stands behind `if __name__ == "__main__"` is not run. When it ends with an exception, the file OUTCOME says so.
"""

import os
import sys


def refuse(sentence):
    os.write(2, f"watcher-exec: {sentence}\n".encode(errors="backslashreplace"))
    raise SystemExit(2)


def load(script):
    from importlib.util import module_from_spec, spec_from_file_location

    name = os.path.splitext(os.path.basename(script))[0]
    if name in sys.modules:  # the interpreter needs its own module of that name
        name = "user_script"
    spec = spec_from_file_location(name, script)
    module = sys.modules[name] = module_from_spec(spec)
    # like any script: no .pyc file is written
    exec(spec.loader.source_to_code(spec.loader.get_data(script), script), module.__dict__)
    return module


def arguments_of(main, script, arguments):
    """What main() is to be called with: nothing, or the list of arguments when it has a parameter for it."""
    from inspect import Parameter, signature

    try:
        parameters = signature(main).parameters.values()
    except ValueError:  # written in C: it knows best
        return ()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(needed) > 1 or any(p.kind is Parameter.KEYWORD_ONLY for p in needed):
        names = ", ".join(p.name for p in needed)
        refuse(f"{script}: main cannot be called: it needs the arguments ({names}); write main() or main(args)")
    return (arguments,) if needed else ()


def call(module, script, arguments):
    main = getattr(module, "main", None)
    if not callable(main):
        refuse(f"{script}: there is no function main; write def main(): …")
    result = main(*arguments_of(main, script, arguments))
    if hasattr(result, "cr_await"):
        import asyncio

        asyncio.run(result)


def hide_runner():
    """The traceback begins in the script."""
    show = sys.excepthook

    def show_script_only(kind, error, traceback):
        while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        error.__traceback__ = traceback
        show(kind, error, traceback)

    sys.excepthook = show_script_only


def note(outcome):
    try:
        with open(outcome, "w") as file:
            file.write("402\n")
    except OSError:  # the directory is gone, or no longer ours to write to: the status says 1
        pass


def run(outcome, script, *arguments):
    process = os.getpid()
    own_directory = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == own_directory:  # not with -P
        sys.path[0] = os.path.dirname(script)
    sys.argv[:] = [script, *arguments]
    try:
        call(load(script), script, list(arguments))
    except SystemExit:
        raise
    except KeyboardInterrupt:
        hide_runner()
        raise
    except BaseException:
        hide_runner()
        if os.getpid() == process:  # and not a child that main() has forked
            note(outcome)
        raise


if __name__ == "__main__":
    run(*sys.argv[1:])

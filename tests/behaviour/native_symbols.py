"""Which code wrote to memory: function, file and line of each store, compared with what addr2line says."""

import pathlib
import re
import shutil
import subprocess
import unittest

import harness
import native_api

PROGRAM = native_api.PROGRAMS / "named.cpp"
PLUGIN = native_api.PROGRAMS / "plugin.c"
LIBRARIES = ("first_one", "other_one")


def addr2line(module, offset):
    """The chain of inlined functions at an address, innermost first, as (function, file, line)."""
    done = subprocess.run(["addr2line", "-Cfi", "-e", module, offset], capture_output=True, text=True, check=True)
    lines = [re.sub(r" \(discriminator \d+\)$", "", line) for line in done.stdout.splitlines()]
    chain = [(function, *place.rsplit(":", 1)) for function, place in zip(lines[::2], lines[1::2])]
    return [(function, file, int(line)) for function, file, line in chain if line != "?"]


def chain_of(native):
    return [(place["symbol"], place["file"], place["line"]) for place in (native, *native.get("inlined_by", ()))]


class Symbols(native_api.Native):
    def libraries(self):
        for name in LIBRARIES:
            command = ["gcc", "-g", "-O1", "-fPIC", "-shared", f"-DNAME={name}", str(PLUGIN), "-o",
                       str(self.directory / f"lib{name}.so")]
            subprocess.run(command, check=True, timeout=60)
        return [self.directory / f"lib{name}.so" for name in LIBRARIES]

    def events(self, program, arguments=(), **settings):
        bare = self.run_native([program, *arguments])
        run = self.run_native([program, *arguments], "auto", **settings)
        self.assert_same_host(bare, run)
        return run.of("total"), run

    def compare(self, events, module):
        """The first name is not compared: addr2line may take it from the symbol table, where what is inlined is not."""
        for event in events:
            mine, said = chain_of(event["native"]), addr2line(module, event["native"]["offset"])
            self.assertEqual([place[1:] for place in mine], [place[1:] for place in said], event["native"])
            self.assertEqual([place[0].split("(")[0] for place in mine[1:]], [place[0].split("(")[0] for place in said[1:]])
            self.assertEqual((event["function"], event["file"], event["line"]), mine[0])

    def test_inlined_functions_with_both_compilers(self):
        for compilers in native_api.COMPILERS:
            with self.subTest(compilers=compilers):
                program = self.build(PROGRAM, compilers)
                events, _ = self.events(program)
                self.compare(events[:3], program)
                self.assertEqual([place[0].removesuffix("(long)") for place in chain_of(events[0]["native"])],
                                 ["add", "add_twice", "bank::Account::pay"])
                self.assertEqual(events[2]["function"], "bank::Account::pay(char const*)")
                self.assertEqual({event["native"]["module"] for event in events[:3]}, {str(program)})

    def test_libraries_that_take_each_others_place(self):
        paths = self.libraries()
        program = self.build(PROGRAM)
        events, _ = self.events(program, paths)
        named = [event for event in events if event["native"]["module"] in map(str, paths)]
        self.assertEqual([event["function"] for event in named], list(LIBRARIES))
        for event in named:
            self.compare([event], event["native"]["module"])

    def test_code_that_is_in_no_file(self):
        events, run = self.events(self.build(PROGRAM))
        made = events[-2]
        self.assertEqual((made["function"], made["file"], made["line"]), ("made by hand", None, None))
        self.assertEqual((made["native"]["module"], made["native"]["offset"]), (None, made["ip"]))
        time = run.of("now")
        self.assertEqual({event["native"]["module"] for event in time}, {"[vdso]"})
        self.assertEqual({event["function"] for event in time}, {"__vdso_time"})

    def strip(self, program, link):
        """Leaves the debug information where it is to be found by build id, or by its name."""
        whole = self.directory / "whole"
        shutil.copy(program, whole)
        notes = subprocess.run(["readelf", "-n", str(program)], capture_output=True, text=True, check=True).stdout
        build_id = re.search("Build ID: ([0-9a-f]+)", notes)[1]
        place = self.directory / "debug" / ".build-id" / build_id[:2] / (build_id[2:] + ".debug")
        if link:
            place = program.parent / ".debug" / "named.debug"
        place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["objcopy", "--only-keep-debug", str(program), str(place)], check=True)
        subprocess.run(["strip", str(program)], check=True)
        if link:
            subprocess.run(["objcopy", f"--add-gnu-debuglink={place}", str(program)], check=True)
        return whole

    def test_separate_debug_files(self):
        for link in (False, True):
            with self.subTest(link=link):
                program = self.build(PROGRAM)
                whole = self.strip(program, link)
                environment = {"WATCHER_DEBUG_PATH": f"-:.debug:{self.directory}/debug"}
                events, _ = self.events(program, environment=environment)
                self.compare(events[:3], whole)
                shutil.rmtree(self.directory / "debug", ignore_errors=True)
                shutil.rmtree(self.directory / ".debug", ignore_errors=True)

    def test_without_any_names(self):
        program = self.build(PROGRAM)
        subprocess.run(["strip", str(program)], check=True)
        for event in self.events(program)[0][:3]:
            self.assertEqual(event["native"]["symbol"], f"{program.name}+{event['native']['offset']}")
            self.assertEqual((event["function"], event["file"], event["line"]), (None, None, None))

    def test_the_callers(self):
        program = self.build(PROGRAM)
        for engine in (*native_api.ENGINES, "hwbp"):
            with self.subTest(engine=engine):
                run = self.run_native([program], engine, environment={"WATCHER_STACK": "2"})
                if engine == "hwbp" and run.summary["processes"][0]["engine"] != "hwbp":
                    self.skipTest("no debug registers here")
                for event in run.of("total")[:3]:
                    stack = event["native_stack"]
                    self.assertEqual(len(stack), 2)
                    self.assertEqual((stack[0]["symbol"], stack[0]["file"]), ("main", str(PROGRAM)))
                    line = PROGRAM.read_text().splitlines()[stack[0]["line"] - 1]
                    self.assertIn("account.pay", line)
                damaged = run.of("total")[-1]
                self.assertEqual(damaged["after"]["value"] - damaged["before"]["value"], 1000)
                self.assertLessEqual(len(damaged.get("native_stack", ())), 1)

    def test_a_killed_program_is_named_as_well(self):
        program = self.build(native_api.PROGRAMS / "same_store.c")
        run = self.run_native([program, "killed"], "inline", launcher=[harness.BUILD / "tools" / "watcher-exec", "--"])
        self.assertEqual(len(run.events), 100)
        self.assertEqual({(event["function"], event["line"]) for event in run.events}, {("main", 14)})

    def test_the_summary_counts_what_was_looked_up(self):
        program = self.build(native_api.PROGRAMS / "same_store.c")
        for size, hits in (("1000", 99), ("0", 0)):
            _, run = self.events(program, environment={"WATCHER_SYMBOL_CACHE_SIZE": size})
            self.assertEqual((run.summary["symbol_hits"], run.summary["symbol_misses"]), (hits, 100 - hits))


PYTHON = """
import array, ctypes
from watcher import watch
data = watch(array.array("q", [0] * 64), name="data")
data[3] = 7
address, _ = data.buffer_info()
ctypes.memmove(address, b"x" * 40, 40)
"""


class Python(harness.Case):
    def test_memory_of_python_is_written_by_c(self):
        def check(run):
            events = run.of("data")
            self.assertEqual([event["line"] for event in events], sorted(event["line"] for event in events))
            first, last = events[0]["native"], events[-1]["native"]
            self.assertEqual(events[0]["function"], "<module>")
            self.assertTrue(first["module"] and first["offset"].startswith("0x"))
            self.assertIn("libc.so", last["module"])
            self.assertRegex(last["symbol"], "^__mem(cpy|move)_")  # names of one piece of code
            said = addr2line(last["module"], last["offset"])
            self.assertEqual([place[1:] for place in chain_of(last)[:len(said)]], [place[1:] for place in said])

        self.on_all({"writer.py": PYTHON}, check)

    def test_the_callers_are_those_of_the_interpreter(self):
        def check(run):
            for event in run.of("data"):
                modules = {frame["module"] for frame in event["native_stack"]}
                self.assertFalse([module for module in modules if module and "watcher" in pathlib.Path(module).name])
                self.assertGreater(len(event["native_stack"]), 4)
                self.assertEqual(event["native_stack"][-1]["symbol"], "_start")

        self.on_all({"writer.py": PYTHON}, check, options=["--stack", "64"])

    def test_a_statement_told_as_one_event_has_callers_too(self):
        program = "from watcher import watch\ndata = watch(bytearray(1 << 16), name='data')\ndata[5:60000] = b'x' * 59995\n"

        def check(run):
            bulk = [event for event in run.of("data") if event.get("coalesced")]
            self.assertEqual(len(bulk), 1)
            stack = bulk[0]["native_stack"]
            self.assertEqual(stack[-1]["symbol"], "_start")
            self.assertTrue(any("eval" in (frame["symbol"] or "").lower() or "python" in frame["module"] for frame in stack))
            self.assertFalse([frame for frame in stack if frame["module"] and "watcher" in pathlib.Path(frame["module"]).name])

        self.on_all({"bulk_writer.py": program}, check, options=["--stack", "64"])

    def test_an_array_of_numpy_is_written_by_numpy(self):
        program = "try:\n    import numpy\nexcept ImportError:\n    raise SystemExit\n" \
                  "from watcher import watch\ndata = watch(numpy.zeros(4096), name='data')\ndata[3] = 7\ndata += 1\nprint('numpy')\n"

        def check(run):
            events = [event for event in run.of("data") if event["op"] == "write"]
            self.assertEqual(len(events) >= 2, run.stdout == b"numpy\n")
            for event in events:
                native = event["native"]
                said = addr2line(native["module"], native["offset"])
                unnamed = f"{pathlib.Path(native['module']).name}+{native['offset']}"
                self.assertIn("numpy", native["module"])
                if said and said[0][0] == "??":
                    self.assertEqual(native["symbol"], unnamed)
                self.assertEqual(event["file"].rsplit("/", 1)[-1], "array_writer.py")

        self.on_all({"array_writer.py": program}, check)


if __name__ == "__main__":
    harness.main()

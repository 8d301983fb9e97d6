"""Strangers' processes of every kind: standard output, standard error and status are byte for byte those without the shim.

ld.so makes three things unavoidable for any preloaded object, ours or an empty one; those runs are compared with an empty one:
- a program of another word size (i386) prints that the object cannot be preloaded, and goes on;
- a program linked with the shared ASan run time refuses to start behind any other object;
- a program confined so tightly that one more object cannot be mapped or opened fails in ld.so.
WATCHER_ZOO_ROUNDS repeats each comparison (default 2).
"""
import os
import pathlib
import re
import shutil
import sys
import unittest

import shim_support as support

ROUNDS = int(os.environ.get("WATCHER_ZOO_ROUNDS", "2"))
ZOO = support.SOURCES / "zoo"
ALLOCATORS = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libmimalloc.so.2")
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"needs {program}")


needs_root = unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")


class Zoo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.installation = support.Installation(support.real_siblings())
        cls.animal = cls.compile("animal", ZOO / "animal.c", "-pthread")
        cls.empty = cls.compile("empty.so", "-shared", "-x", "c", "/dev/null")

    @classmethod
    def tearDownClass(cls):
        cls.installation.remove()

    @classmethod
    def compile(cls, name, *arguments, **options):
        return cls.installation.compile(name, *arguments, **options)

    def compiled(self, *arguments, **options):
        program = self.compile(f"{self.id().rsplit('.', 1)[1]}", *arguments, **options)
        if program is None:
            self.skipTest("the tool chain cannot build it")
        return program

    def same(self, *command, status=0, **options):
        for _ in range(ROUNDS):
            plain = support.run(command, **options)
            self.assertEqual(plain[0], status, plain)
            self.assertEqual(plain, support.run(command, [self.installation.shim], **options))

    def same_as_empty(self, *command, **options):
        """For what any preloaded object does to this program: only its name, and process ids, may differ."""
        shim, empty = (support.run(command, [path], **options) for path in (self.installation.shim, self.empty))

        def neutral(text):
            return re.sub(rb"==\d+==", b"==pid==", text.replace(bytes(self.installation.shim), bytes(self.empty)))

        self.assertEqual((shim[0], *map(neutral, shim[1:])), (empty[0], *map(neutral, empty[1:])))


class Tools(Zoo):
    def test_sh(self):
        self.same("sh", "-c", "read x; echo got $x; kill -USR1 $$", status=-10, input=b"line\n")

    def test_bash(self):
        self.same("bash", "-c", "trap 'echo trapped' TERM; kill $$; for i in 1 2; do (echo $i); done; exit 3", status=3)

    def test_pipeline(self):
        self.same("bash", "-c", "set -o pipefail; seq 1 20000 | sort -rn | gzip -n | gzip -d | md5sum")

    def test_find_and_xargs(self):
        self.same("sh", "-c", "find /etc -maxdepth 1 -name 'host*' | sort | xargs -n1 echo")

    def test_tar(self):
        self.same("sh", "-c", f"tar -C {ZOO} --sort=name --owner=0 --mtime=@0 -c . | md5sum")

    @needs("awk")
    def test_awk(self):
        self.same("awk", 'BEGIN { while ((getline line < "/etc/passwd") > 0) n++; print (n > 0) }')

    @needs("git")
    def test_git(self):
        script = "git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m m && git log -1 --format=%s"
        self.same("sh", "-c", f"cd $(mktemp -d) && {script}", env=support.environment(GIT_CONFIG_NOSYSTEM=1))

    @needs("ssh")
    def test_ssh(self):
        self.same("ssh", "-V")

    @needs("perl")
    def test_perl(self):
        self.same("perl", "-e", "$SIG{ALRM} = sub { print 'ring' }; kill ALRM => $$; print `echo child`; exit 4", status=4)

    @needs("tclsh")
    def test_tcl(self):
        self.same("tclsh", input=b"puts [expr {6 * 7}]; exit 3\n", status=3)

    @needs("vim")
    def test_vim(self):
        self.same("vim", "-u", "NONE", "-es", "-c", "put ='text'", "-c", "%print", "-c", "qa!")

    @needs("java")
    def test_java(self):
        self.same("java", "-version")

    @needs("node")
    def test_node(self):
        code = "const c = require('child_process'); console.log(String(c.execSync('echo child'))); process.exit(7)"
        self.same("node", "-e", code, status=7)

    @needs("node")
    def test_node_with_workers(self):
        code = ("const { Worker } = require('worker_threads');"
                "for (let i = 0; i < 4; i++) new Worker('let s = 0; for (let i = 0; i < 1e5; i++) s += i', { eval: true })"
                ".on('exit', code => process.exitCode = 3)")
        self.same("node", "-e", code, status=3)


class Builds(Zoo):
    """The same small program, built in every way a tool chain offers."""

    def every_function(self, program):
        for name in ("descriptors", "tasks", "signals", "state", "memory", "threads", "children", "masks", "deep_bind"):
            with self.subTest(name):
                self.same(program, name)
        with self.subTest("echo"):
            self.same(program, "echo", input=b"a line\n" + b"and more\0" * 20)

    def test_dynamic(self):
        self.every_function(self.animal)

    def test_static(self):
        self.every_function(self.compiled("-static", "-w", ZOO / "animal.c", "-pthread"))

    def test_static_pie(self):
        self.every_function(self.compiled("-static-pie", "-w", ZOO / "animal.c", "-pthread"))

    def test_musl(self):
        self.every_function(self.compiled(ZOO / "animal.c", compiler="musl-gcc"))

    def test_musl_static(self):
        self.every_function(self.compiled("-static", ZOO / "animal.c", compiler="musl-gcc"))

    def test_musl_that_looks_like_python(self):
        source = self.installation.root / "python.c"
        source.write_text('#include <stdio.h>\nint Py_BytesMain;\nint main(void) { puts("musl"); return 0; }\n')
        self.same(self.compiled("-rdynamic", source, compiler="musl-gcc"))

    def test_fortified(self):
        self.every_function(self.compiled("-O2", "-D_FORTIFY_SOURCE=2", "-w", ZOO / "animal.c", "-pthread"))

    def test_clang(self):
        self.every_function(self.compiled(ZOO / "animal.c", "-pthread", compiler="clang"))

    def test_address_sanitizer_inside(self):
        program = self.compiled("-fsanitize=address", "-static-libasan", ZOO / "animal.c", "-pthread")
        for name in ("memory", "threads", "state"):
            self.same(program, name)

    def test_address_sanitizer_as_a_library(self):
        self.same_as_empty(self.compiled("-fsanitize=address", ZOO / "animal.c", "-pthread"), "memory")

    def test_thread_sanitizer(self):
        self.same(self.compiled("-fsanitize=thread", "-static-libtsan", ZOO / "animal.c", "-pthread"), "memory")

    def test_own_allocator(self):
        self.same(self.compiled("-fno-builtin", ZOO / "own_allocator.c"))

    def test_without_libc(self):
        self.same(self.compiled("-nostdlib", "-static", ZOO / "without_libc.c"), status=3)

    def test_32_bits_without_libc(self):
        self.same(self.compiled("-m32", "-nostdlib", "-static", ZOO / "without_libc.c"), status=3)

    def test_32_bits_dynamic(self):
        self.same_as_empty(self.compiled("-m32", "-ffreestanding", "-fno-pic", "-no-pie", "-nostdlib",
                                         ZOO / "dynamic_32.c", "/lib32/libc.so.6"))


class Circumstances(Zoo):
    def test_closed_standard_descriptors(self):
        self.same("sh", "-c", f"exec {self.animal} lowest_descriptor 0<&- 1>&- 2>&-", status=100)

    def test_five_descriptors(self):
        self.same("sh", "-c", f"ulimit -n 5; {self.animal} memory; {self.animal} lowest_descriptor", status=103)

    def test_little_address_space(self):
        self.same("sh", "-c", f"ulimit -v 20000; {self.animal} memory; exec {self.animal} state")

    def test_no_core_no_stack(self):
        self.same("sh", "-c", f"ulimit -c 0 -s 256; exec {self.animal} memory")

    @needs_root
    def test_no_more_processes(self):
        self.same("sh", "-c", f"ulimit -u 1; exec {self.animal} fork_limit", user=support.NOBODY)

    def test_read_only_directory(self):
        self.same(self.animal, "state", cwd="/proc/self")

    def test_deleted_directory(self):
        self.same("sh", "-c", f"cd $(mktemp -d) && rmdir $PWD && exec {self.animal} state")

    def test_empty_environment(self):
        self.same(self.animal, "state", env={})

    @needs_root
    def test_somebody_without_rights(self):
        self.same(self.animal, "children", user=support.NOBODY)

    @needs_root
    def test_setuid_su(self):
        self.same("su", "-c", "true", user=support.NOBODY, input=b"", status=1)

    @needs_root
    def test_setuid_mount(self):
        self.same("mount", "-o", "remount", "/", user=support.NOBODY, status=32)

    def test_abort(self):
        self.same(self.animal, "aborts", status=-6)

    def test_crash(self):
        self.same(self.animal, "crashes", status=-11)

    def test_strict_seccomp(self):
        self.same(self.animal, "strict_seccomp", status=9, input=b"confined")

    def test_eager_binding(self):
        self.same(self.animal, "threads", env=support.environment(LD_BIND_NOW=1))

    def test_checking_allocator(self):
        env = support.environment(LD_PRELOAD="libc_malloc_debug.so.0", GLIBC_TUNABLES="glibc.malloc.check=3")
        self.same(self.animal, "memory", env=env)

    def test_another_object_before_ours(self):
        other = self.compile("first.so", "-shared", "-fPIC", ZOO / "first_in_line.c")
        self.same(self.animal, "memory", env=support.environment(LD_PRELOAD=other))

    def test_another_object_behind_ours(self):
        other = self.compile("behind.so", "-shared", "-fPIC", ZOO / "first_in_line.c")
        plain = support.run([self.animal, "threads"], [other])
        self.assertEqual(plain, support.run([self.animal, "threads"], [self.installation.shim, other]))

    def test_named_relatively(self):
        plain = support.run([self.animal, "state"])
        relative = support.run([self.animal, "state"], [f"./{support.SHIM}"], cwd=self.installation.root)
        self.assertEqual(plain, relative)

    def test_other_allocators(self):
        found = [LIBRARIES / name for name in ALLOCATORS if (LIBRARIES / name).exists()]
        for library in found:
            for order in ((library, self.installation.shim), (self.installation.shim, library)):
                with self.subTest(order):
                    plain = support.run([self.animal, "threads"], [library])
                    self.assertEqual(plain, support.run([self.animal, "threads"], order))
        if not found:
            self.skipTest("no other allocator is installed")


class Pythons(Zoo):
    """Recognised hosts in which nothing is watched."""

    def interpreters(self):
        installed = pathlib.Path.home().glob(".pyenv/versions/3.*/bin/python3")
        return [path for path in (shutil.which("python3"), *sorted(installed)) if path]

    def same_everywhere(self, code, **options):
        for interpreter in self.interpreters():
            with self.subTest(interpreter):
                self.same(interpreter, "-c", code, **options)

    def test_output_and_status(self):
        self.same_everywhere("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", status=3)

    def test_children(self):
        self.same_everywhere("import os, subprocess as s; print(s.run(['sh', '-c', 'echo child; exit 4']));"
                             "p = os.fork(); p or os._exit(5); print(os.waitpid(p, 0)[1])")

    def test_threads_and_memory(self):
        self.same_everywhere("import threading as t; x = [t.Thread(target=lambda: bytearray(10**6)) for _ in range(9)];"
                             "[i.start() for i in x]; [i.join() for i in x]; print(t.active_count())")

    def test_fatal_signal(self):
        self.same_everywhere("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", status=-11)

    def test_descriptors(self):
        self.same_everywhere("import os; print(sorted(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task')))")

    def test_disabled(self):
        self.same_everywhere("print(1)", env=support.environment(WATCHER_DISABLE=1))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

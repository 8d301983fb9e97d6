"""WatchProxy and ShadowMemory: where the names that a value is bound to are out of reach, or when asked for."""

import harness
from harness import value


class Proxies(harness.Case):
    def expect(self, source, said, expected):
        """What it prints under Watcher, and (name, op, path, before, after, function, line)."""
        program = self.write({"app.py": "from watcher import watch, unwatch, watching, WatchProxy, ShadowMemory\n" + source})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                run = self.watched(python, program)
                self.assertEqual((run.stdout.decode(), run.stderr, run.status), (said, b"", 0))
                self.assertEqual([(e["variable_name"], e["op"], e["path"], value(e["before"]), value(e["after"]),
                                   e["function"], e["line"] - 1) for e in run.events], expected)

    def test_a_number_counts_where_its_name_is_bound_again(self):
        source = """\
def main():
    counter = watch(0, name="counter", proxy=True)
    for i in range(2):
        counter = counter + 1
    other = counter + 5
    counter += 1
    alias = counter
    counter *= 2
    counter = (counter + 1) * 3 - 1
    print(counter, alias, other)
main()
top = WatchProxy(10, "top")
def closure():
    global top
    inner = watch("a", "inner", proxy=True)
    def f():
        nonlocal inner
        inner = inner + "b"
    f()
    top = top - 1
closure()
"""
        self.expect(source, "20 3 7\n", [
            ("counter", "store", [], 0, 1, "main", 4), ("counter", "store", [], 1, 2, "main", 4),
            ("counter", "store", [], 2, 3, "main", 6), ("counter", "store", [], 3, 6, "main", 8),
            ("counter", "store", [], 6, 20, "main", 9), ("inner", "store", [], "a", "ab", "closure.<locals>.f", 18),
            ("top", "store", [], 10, 9, "closure", 20)])

    def test_it_behaves_as_the_value_does(self):
        source = """\
import copy, math, pickle
n = watch(7, "n", proxy=True)
f = watch(2.5, "f", proxy=True)
s = watch("abc", "s", proxy=True)
l = watch([3, 1, 2], "l", proxy=True)
d = watch({"k": 1}, "d", proxy=True)
none = watch(None, "none", proxy=True)
print(n + 1, 1 + n, n - 1, 10 - n, n * 2, n / 2, n // 2, n % 4, n ** 2, 2 ** n, pow(n, 2, 5), divmod(n, 2), divmod(30, n))
print(n << 1, n >> 1, n & 3, n | 8, n ^ 1, 1 << n, -n, +n, abs(-n), ~n, n + f, n * s, s * 2)
print(n == 7, n != 7, n < 8, n <= 7, 8 > n, 7 >= n, n == watch(7, "m", proxy=True), hash(n) == hash(7), {7: "x"}[n])
print(bool(n), bool(none), int(f), float(n), complex(n), round(f), math.floor(f), math.ceil(f), math.trunc(f), range(10)[n])
print(f"{n:03d} {f:.2f} {s:>5}", "%d" % n, str(n), repr(s), bytes(watch(b"x", "b", proxy=True)), [10] * n == [10] * 7)
print(len(s), s[1], s[1:], "b" in s, list(s), s.upper(), s + "d", "".join(reversed(s)), list(zip(l, s)))
print(sorted(l), max(l), sum(l), l.index(1), l == [3, 1, 2], [0] + l, list(iter(l)), d["k"], dict(d), {**d}, "k" in d)
print(isinstance(n, int), isinstance(s, str), n.bit_length(), n.real, dir(s) == dir("abc"))
print(copy.copy(n), copy.deepcopy(l), type(pickle.loads(pickle.dumps(n))).__name__)
for wrong in (lambda: n + "a", lambda: len(n), lambda: s.nothing, lambda: l["x"], lambda: n(), lambda: hash(l), lambda: iter(n)):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__, error)
"""
        program = self.write({"app.py": "from watcher import watch\n" + source})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                plain = self.plain(python, program)  # the stub gives the values themselves
                self.assertEqual(plain.status, 0)
                self.assert_same_host(plain, self.watched(python, program))

    def test_what_a_proxy_holds_is_followed(self):
        source = """\
def main():
    items = watch([], name="items", proxy=True)
    items.append(1)
    items[0] = 2
    items += [3]
    del items[0]
    class P: pass
    p = watch(P(), name="p", proxy=True)
    p.x = 1
    del p.x
    print(items, type(p) is WatchProxy)
main()
"""
        self.expect(source, "[3] True\n", [
            ("items", "append", [0], None, 1, "main", 3), ("items", "setitem", [0], 1, 2, "main", 4),
            ("items", "extend", ["1:2"], None, "[3]", "main", 5), ("items", "delitem", [0], 2, None, "main", 6),
            ("p", "setattr", ["x"], None, 1, "main", 9), ("p", "delattr", ["x"], 1, None, "main", 10)])

    def test_its_end(self):
        source = """\
with watching(3, "block", proxy=True) as block:
    block += 1
block += 1
by_name = watch(1, "name", proxy=True)
by_name += 1
unwatch("name")
by_name += 1
by_proxy = watch(1, "proxy", proxy=True)
by_proxy += 1
unwatch(by_proxy)
by_proxy += 1
print(block, by_name, by_proxy)
"""
        self.expect(source, "5 3 3\n", [("block", "store", [], 3, 4, "<module>", 2), ("name", "store", [], 1, 2, "<module>", 5),
                                        ("proxy", "store", [], 1, 2, "<module>", 9)])

    def test_shadow_memory_is_guarded(self):
        source = """\
m = ShadowMemory(1, "mem")
print(m.read(), m.value)
m.write(258)
m.memory[0] = 9
print(m.read())
view = m.memory
m.write("text")
print(m.read(), m.value)
m.close()
m.close()
view[0] = 1
l = ShadowMemory([1], "list", mutation_depth=8)
l.value.append(2)
print(l.read(), l.memory)
l.write("short")
l.write([])
l.value.append(3)
"""
        said = "b'\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00' 1\nb'\\t\\x01\\x00\\x00\\x00\\x00\\x00\\x00'\nb'text' text\nb'[1, 2]' None\n"
        self.expect(source, said, [
            ("mem", "store", [], 1, 258, "<module>", 3), ("mem", "write", [0], "b'\\x02'", "b'\\x09'", "<module>", 4),
            ("mem", "store", [], 258, "text", "<module>", 7), ("list", "append", [1], None, 2, "<module>", 13),
            ("list", "store", [], "[1, 2]", "short", "<module>", 15), ("list", "store", [], "short", "[]", "<module>", 16),
            ("list", "append", [0], None, 3, "<module>", 17)])

    def test_standard_input_that_nobody_copied(self):
        source = b"""\
from watcher import watch
counter = watch(0, name="counter")
counter = counter + 1
def f():
    text = watch("a", name="text")
    text += "b"
    return text
print(counter, f(), type(watch([])))
"""
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                run = self.execute([python], {"LD_PRELOAD": str(harness.BUILD / "preload" / "libwatcher_preload.so")}, input=source)
                self.assertEqual((run.stdout, run.stderr, run.returncode), (b"1 ab <class 'list'>\n", b"", 0))
                output = self.directory / "watcher_output"
                events = harness.Run(run, output).events
                self.assertEqual([(e["variable_name"], value(e["before"]), value(e["after"]), e["line"]) for e in events],
                                 [("counter", 0, 1, 3), ("text", "a", "ab", 6)])
                harness.shutil.rmtree(output)


if __name__ == "__main__":
    harness.main()

"""Whose SQL statement it is: each thread, asyncio task, greenlet and forked child has its own, in events of stores to memory
as well.
"""

from unittest import mock

import harness
from harness import value
from sql_support import DEBIAN, SQLITE_PREFIX, TRACK, SqliteCase, by_step, context, interpreters_with


class Flows(SqliteCase):
    def test_threads_on_one_connection_have_their_own_statements(self):
        program = """\
import threading
connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.execute("select 'main'")
turns = [threading.Event() for _ in range(5)]
def work(name, first):
    turns[first].wait()
    connection.execute("select '%s'" % name)
    turns[first + 1].set()
    turns[first + 2].wait()
    step(name)
    turns[first + 3].set() if first + 3 < 5 else None
threads = [threading.Thread(target=work, args=("a", 0), name="a"), threading.Thread(target=work, args=("b", 1), name="b")]
for thread in threads: thread.start()
turns[0].set()
for thread in threads: thread.join()
step("main")
"""

        def check(run):
            self.assertEqual(by_step(run), {name: ("SELECT", f"select '{name}'") for name in ("a", "b", "main")})
            self.assertEqual({value(event["after"]): event["thread_name"] for event in run.of("state")},
                             {"a": "a", "b": "b", "main": "MainThread"})

        self.on_all({"app.py": SQLITE_PREFIX + program}, check, options=TRACK + ["--track-threads"])

    def test_asyncio_tasks_that_take_turns_have_their_own_statements_and_names(self):
        program = """\
import asyncio
connection = sqlite3.connect(":memory:")
connection.execute("select 'before'")
buffer = watch(bytearray(8), name="buffer")
async def worker(name, at):
    await asyncio.sleep(0)
    for i in range(3):
        step("%s-idle-%d" % (name, i))
        cursor = connection.execute("select '%s-%d'" % (name, i))
        await asyncio.sleep(0)
        buffer[at] = i + 1
        step("%s-%d" % (name, i))
        for row in cursor: pass
        await asyncio.sleep(0)
async def main():
    step("main")
    tasks = [asyncio.ensure_future(worker(name, at)) for at, name in enumerate("abc")]
    for name, task in zip("abc", tasks): task.set_name("task " + name)
    await asyncio.gather(*tasks)
    await asyncio.gather(*[worker("late", 7)])
for again in range(2):
    asyncio.run(main())
step("after")
print(len(buffer))
"""
        steps = {"main": None, "after": ("SELECT", "select 'before'")}
        for name in ("a", "b", "c", "late"):
            steps[name + "-idle-0"] = None
            for i in range(3):
                steps[f"{name}-{i}"] = ("SELECT", f"select '{name}-{i}'")
                if i < 2:
                    steps[f"{name}-idle-{i + 1}"] = ("SELECT", f"select '{name}-{i}'")

        def check(run):
            self.assertEqual(by_step(run), steps)
            for event in run.of("state"):
                name = value(event["after"])
                if name[0] in "abc" and name != "after":
                    self.assertEqual(event["task"], f"task {name[0]} (worker)")
            self.assertEqual([event.get("task", "").split(" ")[-1] for event in run.of("state")][0], "(main)")
            self.assertNotIn("task", run.of("state")[-1])
            writes = run.of("buffer")
            self.assertEqual(len(writes), 24)
            for event in writes:
                name = "abc     l"[event["path"][0]] if event["path"][0] != 7 else "late"
                self.assertEqual(context(event), ("SELECT", f"select '{name}-{value(event['after']) - 1}'"))

        self.on_all({"app.py": SQLITE_PREFIX + program}, check, options=TRACK + ["--track-threads"])

    def test_tasks_are_named_without_sql_too_and_when_they_share_a_context(self):
        program = """\
import asyncio, contextvars
from watcher import watch
async def work(name):
    total = watch(0, name="total")
    for i in range(3):
        total = name + str(i)
        await asyncio.sleep(0)
async def main():
    loop, context = asyncio.get_event_loop(), contextvars.copy_context()
    tasks = [context.run(loop.create_task, work(name)) for name in "ab"]
    for name, task in zip("ab", tasks): task.set_name(name)
    await asyncio.gather(*tasks)
    await loop.run_in_executor(None, context.run, plain)
    loop.call_soon(plain)
    await asyncio.sleep(0)
def plain():
    total = watch("", name="total")
    total = "plain"
asyncio.run(main())
"""

        def check(run):
            self.assertEqual(sorted((value(event["after"]), event.get("task")) for event in run.of("total")),
                             sorted([(name + str(i), f"{name} (work)") for name in "ab" for i in range(3)]
                                    + [("plain", None)] * 2))

        self.on_all({"app.py": program}, check, options=["--track-threads"])

    def test_greenlets_have_their_own_statements(self):
        program = f"""\
sys.path.append({DEBIAN!r})
import greenlet
"""
        program += """\
connection = sqlite3.connect(":memory:")
connection.execute("select 'main'")
def work(name):
    connection.execute("select '%s'" % name)
    greenlet.getcurrent().parent.switch()
    step(name)
pair = [greenlet.greenlet(work) for _ in range(2)]
pair[0].switch("a")
pair[1].switch("b")
step("main")
pair[0].switch()
pair[1].switch()
"""
        usable = interpreters_with("greenlet")
        self.assertTrue(usable)
        with mock.patch.object(harness, "INTERPRETERS", usable):
            self.check_steps(program, {name: ("SELECT", f"select '{name}'") for name in ("a", "b", "main")})

    def test_a_forked_child_goes_on_under_its_parents_statement(self):
        self.check_steps("""\
import os
connection = sqlite3.connect(":memory:")
connection.execute("select 'parent'")
child = os.fork()
if child == 0:
    step(1)
    connection.execute("select 'child'")
    step(2)
    os._exit(0)
os.waitpid(child, 0)
step(3)
""", {1: ("SELECT", "select 'parent'"), 2: ("SELECT", "select 'child'"), 3: ("SELECT", "select 'parent'")})


if __name__ == "__main__":
    harness.main()

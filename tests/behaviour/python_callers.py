"""stack = N: the callers of a store stand in its event."""

import os

import harness


class Callers(harness.Case):
    def callers(self, run):
        return [[(frame["function"], frame["line"]) for frame in event.get("stack", ())] for event in run.events]

    def test_of_names_containers_attributes_and_memory(self):
        source = """\
from watcher import watch
class Store:
    def all(self):
        global n
        n = 1
        n = "text"
        items.append(1)
        self.a = 2
        memory[1] = 7
        os.readv(pipe, [memory])
def caller():
    store.all()
import os
pipe, end = os.pipe()
os.write(end, b"ab")
n, items, store, memory = watch(0), watch([]), watch(Store()), watch(bytearray(8))
caller()
def generator():
    yield store.all()
os.write(end, b"cd")
list(generator())
"""

        def check(run):
            method = "Store.all" if "Store.all" in {event["function"] for event in run.events} else "all"
            first = [("caller", 12), ("<module>", 17)]
            second = [("generator", 19), ("<module>", 21)]
            self.assertEqual({event["function"] for event in run.events}, {method})
            self.assertEqual(self.callers(run), [first] * 6 + [second] * 6)
            self.assertEqual({os.path.basename(frame["file"]) for e in run.events for frame in e["stack"]}, {"app.py"})

        self.on_all({"app.py": source}, check, options=["--stack", "8"])

    def test_no_more_than_asked_for_and_none_when_not(self):
        source = "from watcher import watch\nx = watch(0)\ndef f(n):\n    global x\n    if n:\n        f(n - 1)\n    else:\n        x = 1\nf(80)\n"
        self.on_all({"app.py": source}, lambda run: self.assertEqual(self.callers(run), [[("f", 6)] * 3]),
                    options=["--stack", "3"])
        self.on_all({"app.py": source}, lambda run: self.assertEqual(self.callers(run), [[("f", 6)] * 64]),
                    options=["--stack", "64"])
        self.on_all({"app.py": source}, lambda run: self.assertNotIn("stack", run.events[0]))

    def test_of_a_thread_inside_a_c_call(self):
        source = """\
import ctypes, threading
from watcher import watch
memory = watch((ctypes.c_char * 64)())
def fill():
    ctypes.memset(ctypes.addressof(memory) + 8, 1, 1)
def run():
    fill()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""

        def check(run):
            (event,) = [event for event in run.events if event["function"] == "fill"]
            self.assertEqual((event["stack"][0]["function"], event["stack"][0]["line"]), ("run", 7))
            self.assertGreaterEqual(len(event["stack"]), 3)  # and those of threading

        self.on_all({"app.py": source}, check, options=["--stack", "8", "--burst", "off"])


if __name__ == "__main__":
    harness.main()

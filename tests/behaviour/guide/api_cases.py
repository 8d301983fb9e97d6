"""Code written against the guide's modules: run by python_guide_api.py under the shim, on every interpreter."""

import json
import os
import pathlib
import resource
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from watcher.cli.processor_runner import (JavaScriptProcessorRunner, ProcessorAction, ProcessorChain, ProcessorFactory,
                                          ProcessorResponse, PythonProcessorRunner)
from watcher.cli.scope_config_parser import is_config_file, parse_scope_config, validate_scope_value
from watcher.core.event_bridge import EventBridge, SyncEventBridge
from watcher.core.event_enricher import DeltaComputer, EventEnricher, SymbolCache, SymbolResolver
from watcher.core.event_writer import BatchEventWriter, EventWriter


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name)

    def write(self, name, text):
        path = self.directory / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def lines(self):
        return [json.loads(line) for line in (self.directory / "events.jsonl").read_text().splitlines()]


class ScopeFiles(Case):
    def test_the_guides_example(self):
        path = self.write("scope_config.txt", "# scope_config.txt\napp.py:(local:counter,global:db_conn)\n"
                                              "utils.py:(both:shared_config)\nlib/service.py:(unknown:obj)\n")
        self.assertEqual(parse_scope_config(path), {
            "app.py": [{"name": "counter", "scope": "local"}, {"name": "db_conn", "scope": "global"}],
            "utils.py": [{"name": "shared_config", "scope": "both"}],
            "lib/service.py": [{"name": "obj", "scope": "unknown"}]})

    def test_no_scope_is_unknown_and_lines_of_a_file_add_up(self):
        path = self.write("scope.txt", "\ufeffa.py :( x , local: y )  # both\r\n\na.py:(x,global:C.run.z)")
        self.assertEqual(parse_scope_config(path), {"a.py": [
            {"name": "x", "scope": "unknown"}, {"name": "y", "scope": "local"}, {"name": "C.run.z", "scope": "global"}]})

    def test_errors_name_the_line(self):
        for text, line in [("", 1), ("# nothing\n\n", 1), ("a.py:(x)\nb.py", 2), ("a.py:(x", 1), ("\na.py:(here:x)", 2),
                           ("a.py:()", 1), ("a.py:(x) y", 1), (":(x)", 1), ("a.py:(x y)", 1), (b"a.py:(x)\nb.py:(\xff)", 2)]:
            with self.subTest(text), self.assertRaisesRegex(ValueError, f"scope.txt, line {line}: .*[a-z]"):
                parse_scope_config(self.write("scope.txt", text))
        with self.assertRaises(FileNotFoundError):
            parse_scope_config(str(self.directory / "nonesuch"))

    def test_scopes_and_files_are_recognised(self):
        self.assertTrue(all(map(validate_scope_value, ("local", "global", "both", "unknown"))))
        self.assertFalse(any(map(validate_scope_value, ("", "LOCAL", "nonlocal", None))))
        self.assertTrue(is_config_file(self.write("scope.txt", "a.py:(x)")))
        self.assertFalse(is_config_file(self.write("app.py", "x = 1\n")))
        self.assertFalse(is_config_file(str(self.directory)))


class Deltas(Case):
    def test_changed_bytes_are_listed_in_hex(self):
        self.assertEqual(DeltaComputer.compute_deltas(b"\0\x0a\xff", b"\x01\x0a\0"),
                         [{"offset": 0, "before": "0x0", "after": "0x1"}, {"offset": 2, "before": "0xff", "after": "0x0"}])

    def test_equal_bytes_give_nothing(self):
        self.assertEqual(DeltaComputer.compute_deltas(b"same" * 1000, b"same" * 1000), [])
        self.assertEqual(DeltaComputer.compute_deltas(b"", b""), [])

    def test_a_length_change_adds_one_entry(self):
        self.assertEqual(DeltaComputer.compute_deltas(b"abcd", b"abcdefgh"), [{"size_change": "4 -> 8"}])
        self.assertEqual(DeltaComputer.compute_deltas(b"abcd", b"x"),
                         [{"offset": 0, "before": "0x61", "after": "0x78"}, {"size_change": "4 -> 1"}])

    def test_large_snapshots(self):
        before, after = bytes(1 << 20), bytearray(1 << 20)
        for offset in (0, 255, 256, 257, (1 << 20) - 1):
            after[offset] = 7
        self.assertEqual([d["offset"] for d in DeltaComputer.compute_deltas(before, bytes(after))],
                         [0, 255, 256, 257, (1 << 20) - 1])


class Symbols(Case):
    def test_the_least_recently_used_goes_first(self):
        cache = SymbolCache(max_size=2)
        cache.set("0x1", {"function": "a"})
        cache.set("0x2", {"function": "b"})
        self.assertEqual(cache.get("0x1"), {"function": "a"})
        cache.set("0x3", {"function": "c"})
        self.assertEqual([cache.get(ip) for ip in ("0x1", "0x2", "0x3")], [{"function": "a"}, None, {"function": "c"}])

    def test_the_defaults_are_the_guides(self):
        cache = SymbolCache()
        self.assertEqual((cache.max_size, cache.ttl_seconds), (1000, 3600))
        for i in range(1500):
            cache.set(hex(i), {"line": i})
        self.assertEqual(sum(cache.get(hex(i)) is not None for i in range(1500)), 1000)

    def test_entries_expire(self):
        cache = SymbolCache(ttl_seconds=0.2)
        cache.set("0x1", {"function": "a"})
        self.assertIsNotNone(cache.get("0x1"))
        time.sleep(0.25)
        self.assertIsNone(cache.get("0x1"))

    def test_threads_share_a_cache(self):
        cache, wrong = SymbolCache(max_size=50), []

        def work(number):
            for i in range(2000):
                cache.set(str(i % 100), {"line": i % 100})
                found = cache.get(str((i * 7 + number) % 100))
                if found is not None and found["line"] != (i * 7 + number) % 100:
                    wrong.append(found)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual(wrong, [])

    def test_functions_of_this_process_are_found(self):
        import ctypes
        address = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
        self.assertIn("getpid", SymbolResolver().resolve(address)["function"])

    def test_functions_of_a_program_are_found_with_file_and_line(self):
        binary, address = os.environ["GUIDE_PROGRAM"], int(os.environ["GUIDE_ADDRESS"], 16)
        found = SymbolResolver(binary).resolve(address)
        self.assertEqual((found["function"], os.path.basename(found["file"])), ("touch", "program.cpp"))
        self.assertGreater(found["line"], 0)

    def test_what_is_unknown_is_called_by_its_address_and_cached(self):
        resolver = SymbolResolver()
        self.assertEqual(resolver.resolve(0x10), {"function": "0x10", "file": "??", "line": 0})
        self.assertEqual(resolver.cache.get("0x10")["function"], "0x10")
        self.assertEqual(SymbolResolver("/nonesuch").resolve(0xabc)["function"], "0xabc")


class Enriching(Case):
    def test_an_event_has_the_guides_keys(self):
        enricher = EventEnricher()
        event = enricher.enrich("evt-1", 1000, 0x10, 7, "v1", "counter", b"\0", b"\x01", scope="local")
        self.assertEqual(event.to_dict(), {
            "event_id": "evt-1", "timestamp_ns": 1000, "variable_id": "v1", "variable_name": "counter", "function": "0x10",
            "file": "??", "line": 0, "thread_id": 7, "scope": "local",
            "deltas": [{"offset": 0, "before": "0x0", "after": "0x1"}], "sql_context": None})
        self.assertEqual((event.event_id, event.deltas, event.symbol, event.tid), ("evt-1", event.to_dict()["deltas"], "0x10", 7))
        self.assertIsInstance(enricher.delta_computer, DeltaComputer)
        self.assertIsNotNone(enricher.symbol_resolver.cache.get("0x10"))

    def test_scope_and_sql_are_optional(self):
        sql = {"statement": "SELECT 1"}
        event = EventEnricher(None).enrich(event_id="e", timestamp_ns=1, ip=1, tid=1, variable_id="v", variable_name="n",
                                           before_snapshot=b"", after_snapshot=b"", sql_context=sql)
        self.assertEqual((event.scope, event.sql_context, event.deltas), ("unknown", sql, []))


class Writing(Case):
    def test_lines_are_written_and_counted(self):
        with EventWriter(self.directory, max_buffer_events=10) as writer:
            for number in range(25):
                self.assertTrue(writer.write_event({"n": number}))
            self.assertEqual(writer.get_stats(), {"events_written": 20, "events_lost": 0, "buffered": 5})
            writer.flush()
            self.assertEqual(writer.get_stats()["events_written"], 25)
        self.assertEqual([event["n"] for event in self.lines()], list(range(25)))

    def test_what_cannot_be_written_is_lost_and_counted(self):
        writer = EventWriter(str(self.directory))
        self.assertFalse(writer.write_event({"n": object()}))
        self.assertTrue(writer.write_event({"n": 1}))
        writer.close()
        writer.close()
        self.assertFalse(writer.write_event({"n": 2}))
        self.assertEqual(writer.get_stats(), {"events_written": 1, "events_lost": 2, "buffered": 0})

    def test_a_full_disk_loses_nothing_that_fits_the_buffer(self):
        writer = EventWriter(self.directory, max_buffer_events=1000)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1005, limit[1]))
        for number in range(100):
            writer.write_event({"number": f"{number:010}"})
        writer.flush()
        self.assertGreater(writer.get_stats()["buffered"], 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        writer.close()
        self.assertEqual([int(event["number"]) for event in self.lines()], list(range(100)))
        self.assertEqual(writer.get_stats(), {"events_written": 100, "events_lost": 0, "buffered": 0})

    def test_batches_come_in_order_and_stop_writes_the_rest(self):
        writer = BatchEventWriter(self.directory, batch_size=100)
        self.assertTrue(writer.enqueue_event({"n": 0}))
        writer.start()
        for number in range(1, 1234):
            self.assertTrue(writer.enqueue_event({"n": number}))
        writer.stop(timeout_seconds=30)
        self.assertFalse(writer.enqueue_event({"n": -1}))
        self.assertEqual([event["n"] for event in self.lines()], list(range(1234)))
        self.assertEqual(writer.get_stats(), {"events_written": 1234, "events_lost": 1, "buffered": 0})

    def test_four_threads_lose_nothing(self):
        with BatchEventWriter(self.directory) as writer:
            threads = [threading.Thread(target=lambda t=t: [writer.enqueue_event({"t": t, "n": n}) for n in range(500)])
                       for t in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        for t in range(4):
            self.assertEqual([event["n"] for event in self.lines() if event["t"] == t], list(range(500)))


class Processors(Case):
    def runner(self, text, timeout=5):
        runner = PythonProcessorRunner(self.write("processor.py", text), timeout_seconds=timeout)
        self.addCleanup(runner.close)
        return runner

    def test_the_guides_processor(self):
        runner = self.runner("""
def main(event):
    if len(event['deltas']) > 2:
        return {"action": "drop", "reason": "too_many_deltas"}
    return {"action": "annotate", "annotations": {"risk_level": "medium"}}
""")
        response = runner.invoke({"deltas": [1]})
        self.assertEqual((response.action, response.annotations, response.extra), ("annotate", {"risk_level": "medium"}, {}))
        self.assertIs(runner.invoke({"deltas": [1, 2, 3]}).action, ProcessorAction.DROP)

    def test_one_process_serves_all_events(self):
        runner = self.runner("import os\nn = 0\ndef main(event):\n    global n\n    n += 1\n"
                             "    print('to nowhere')\n    return {'action': 'enrich', 'extra': {'n': n, 'pid': os.getpid()}}\n")
        replies = [runner.invoke({}).extra for _ in range(5)]
        self.assertEqual([reply["n"] for reply in replies], [1, 2, 3, 4, 5])
        self.assertEqual(len({reply["pid"] for reply in replies}), 1)

    def test_failures_are_none_and_the_next_event_is_served(self):
        runner = self.runner("""
import os, time
def main(event):
    if event == 'raise': raise ValueError
    if event == 'hang': time.sleep(60)
    if event == 'die': os._exit(1)
    if event == 'nonsense': return {'action': 'explode'}
    if event == 'nothing': return None
    return {'action': 'pass'}
""", timeout=1)
        for event in ("raise", "hang", "die", "nonsense", "nothing"):
            with self.subTest(event):
                self.assertIsNone(runner.invoke(event))
                self.assertEqual(runner.invoke("well").action, "pass")

    def test_the_time_limit_is_the_guides(self):
        runner = self.runner("import time\ndef main(event):\n    time.sleep(30)\n", timeout=0.1)
        self.assertEqual(PythonProcessorRunner(runner.path).timeout_seconds, 0.1)
        runner.invoke({})  # starts it
        begun = time.monotonic()
        self.assertIsNone(runner.invoke({}))
        self.assertLess(time.monotonic() - begun, 10)

    def test_without_a_main_every_event_is_dropped(self):
        self.assertIsNone(self.runner("x = 1\n").invoke({}))
        with self.assertRaises(FileNotFoundError):
            PythonProcessorRunner(str(self.directory / "nonesuch.py"))

    def test_large_events_go_through(self):
        reply = self.runner("def main(event): return {'action': 'enrich', 'extra': event}").invoke({"x": "y" * 3000000})
        self.assertEqual(len(reply.extra["x"]), 3000000)

    @unittest.skipUnless(os.environ.get("GUIDE_NODE"), "no node here")
    def test_javascript(self):
        path = self.write("processor.js", "console.log('loaded');\nmodule.exports = { main: (event) => {\n"
                          "  if (event.n > 1) throw new Error('much');\n  return { action: 'enrich', extra: { n: event.n } }; } };\n")
        runner = JavaScriptProcessorRunner(path, timeout_seconds=5)
        self.addCleanup(runner.close)
        self.assertEqual(runner.invoke({"n": 1}).extra, {"n": 1})
        self.assertIsNone(runner.invoke({"n": 2}))
        self.assertEqual(runner.invoke({"n": 0}).extra, {"n": 0})

    def test_the_factory_goes_by_the_extension(self):
        self.assertIsInstance(ProcessorFactory.create(self.write("p.py", "")), PythonProcessorRunner)
        self.assertIsInstance(ProcessorFactory.create_runner(self.write("p.js", "")), JavaScriptProcessorRunner)
        for name in ("p.rb", "p"):
            with self.assertRaises(ValueError):
                ProcessorFactory.create(self.write(name, ""))

    def test_replies_are_checked(self):
        self.assertEqual(ProcessorResponse.from_dict({"action": "pass", "annotations": None}).annotations, {})
        self.assertEqual(ProcessorResponse(ProcessorAction.ANNOTATE, annotations={"a": 1}).annotations, {"a": 1})
        for reply in ({}, None, {"action": "x"}, {"action": "enrich", "extra": 3}, "pass"):
            with self.subTest(reply), self.assertRaises(ValueError):
                ProcessorResponse.from_dict(reply)

    def test_a_chain_goes_in_order(self):
        first = self.runner("def main(event): return {'action': 'annotate', 'annotations': {'a': event['n']}}")
        second = PythonProcessorRunner(self.write("second.py", "def main(event):\n"
                                                  "    if event['annotations']['a'] > 1: return {'action': 'drop'}\n"
                                                  "    return {'action': 'enrich', 'extra': {'b': 2}}\n"), timeout_seconds=5)
        self.addCleanup(second.close)
        chain = ProcessorChain([first, second])
        self.assertEqual(chain.process({"n": 1}), {"n": 1, "annotations": {"a": 1}, "extra": {"b": 2}})
        self.assertIsNone(chain.process({"n": 2}))


class Bridges(Case):
    def test_without_a_session_there_are_no_events(self):
        with mock.patch("watcher.core.event_bridge._session", return_value=(None, 0)):
            bridge = EventBridge()
            bridge.start()
            self.assertEqual(bridge.process_events(10), 0)
            bridge.stop(timeout_seconds=5)
            self.assertEqual(SyncEventBridge().process_until_empty(timeout_seconds=0.1), 0)

    def test_the_running_sessions_events_are_followed(self):
        from watcher import watch
        records = watch([], name="records")
        records.append("before")
        SyncEventBridge().process_until_empty(5)
        seen, bridge = [], SyncEventBridge(handler=lambda event: seen.append(event))
        for number in range(100):
            records.append(number)
        end = time.monotonic() + 20
        while len(seen) < 100 and time.monotonic() < end:
            bridge.process_until_empty(timeout_seconds=5)
        appended = [event["after"]["value"] for event in seen if event["after"]["value"] != "before"]
        self.assertEqual(appended, list(range(100)))
        self.assertEqual(bridge.get_stats()["queued"], 0)

    def test_a_thread_hands_events_to_a_writer(self):
        from watcher import watch
        numbers = watch([], name="numbers")
        numbers.append(-1)
        SyncEventBridge().process_until_empty(5)
        with EventWriter(self.directory, max_buffer_events=1) as writer:
            bridge = EventBridge(writer=writer)
            bridge.start()
            for number in range(50):
                numbers.append(number)
            end = time.monotonic() + 20
            while bridge.get_stats()["events_processed"] < 50 and time.monotonic() < end:
                time.sleep(0.01)
            bridge.stop(timeout_seconds=5)
        told = [event["after"]["value"] for event in self.lines()]
        self.assertEqual([value for value in told if value != -1], list(range(50)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

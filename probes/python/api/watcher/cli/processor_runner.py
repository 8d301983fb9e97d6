"""Processors: files whose main(event) says what becomes of an event.

    runner = ProcessorFactory.create("filter.py")
    response = runner.invoke(event)     # None: it failed or took too long, and the event is dropped

A runner keeps one worker process for all its events, and starts a new one when that hangs or dies. Any thread.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from enum import Enum
from typing import Any, Dict, Iterable, List, Optional

# Longer than the time for an event: an interpreter starts once.
_START_S = 10
_READY = b'"ready"'

# The processor's own output goes to standard error: standard output is for replies.
_PYTHON_WORKER = """
import importlib.util, json, os, sys
replies = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
path = sys.argv[1]
sys.path[0] = os.path.dirname(path)
spec = importlib.util.spec_from_file_location("processor", path)
module = importlib.util.module_from_spec(spec)
exec(spec.loader.source_to_code(spec.loader.get_data(path), path), module.__dict__)
print(json.dumps("ready" if callable(getattr(module, "main", None)) else "no main"), file=replies)
for line in sys.stdin:
    try:
        reply = json.dumps({"reply": module.main(json.loads(line))})
    except Exception:
        sys.excepthook(*sys.exc_info())
        reply = "{}"
    print(reply, file=replies)
"""
_JAVASCRIPT_WORKER = """
const fs = require('fs');
process.stdout.write = process.stderr.write.bind(process.stderr);
const main = require(process.argv[1]).main;
fs.writeSync(1, JSON.stringify(typeof main === 'function' ? 'ready' : 'no main') + '\\n');
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  let reply = '{}';
  try { reply = JSON.stringify({ reply: main(JSON.parse(line)) }); } catch (error) { console.error(error); }
  fs.writeSync(1, reply + '\\n');
});
"""


class ProcessorAction(str, Enum):
    PASS = "pass"
    DROP = "drop"
    ANNOTATE = "annotate"
    ENRICH = "enrich"


class ProcessorResponse:
    """What a processor said of an event."""

    def __init__(self, action, annotations: Optional[Dict[str, Any]] = None, extra: Optional[Dict[str, Any]] = None):
        self.action = ProcessorAction(action)
        self.annotations = annotations or {}
        self.extra = extra or {}

    @classmethod
    def from_dict(cls, reply: Dict[str, Any]) -> "ProcessorResponse":
        """ValueError when it is not one of the contract's replies."""
        if not isinstance(reply, dict) or "action" not in reply:
            raise ValueError("a processor returns a dict with an 'action': pass, drop, annotate or enrich")
        for key in ("annotations", "extra"):
            if not isinstance(reply.get(key) or {}, dict):
                raise ValueError(f"a processor's {key!r} is a dict")
        return cls(reply["action"], reply.get("annotations"), reply.get("extra"))

    def __repr__(self) -> str:
        return f"ProcessorResponse({self.action.value!r}, annotations={self.annotations!r}, extra={self.extra!r})"


class _Worker:
    """A process that answers each line by a line."""

    def __init__(self, command: List[str]):
        environment = {name: text for name, text in os.environ.items()
                       if name != "LD_PRELOAD" and not name.startswith("WATCHER_")}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                                         bufsize=0, start_new_session=True)
        os.set_blocking(self._process.stdin.fileno(), False)
        self._received = b""

    def ask(self, line: bytes, timeout_seconds: float) -> Optional[bytes]:
        """None: no answer in time, or never again."""
        end = time.monotonic() + timeout_seconds
        while True:
            answer, newline, rest = self._received.partition(b"\n")
            if newline and not line:
                self._received = rest
                return answer
            left = end - time.monotonic()
            readable, writable, _ = select.select([self._process.stdout], [self._process.stdin] if line else [], [],
                                                  max(0, left))
            if not readable and not writable:
                return None
            try:
                if writable:
                    line = line[self._process.stdin.write(line) or 0:]
                elif not self._receive():
                    return None
            except OSError:
                return None

    def _receive(self) -> int:
        block = self._process.stdout.read(1 << 16)
        self._received += block
        return len(block)

    def end(self) -> None:
        try:
            os.killpg(self._process.pid, 9)
        except OSError:
            pass
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class ProcessorRunner:
    """What the runners of both languages share."""

    def __init__(self, path, timeout_seconds: float = 0.1):
        self.path = os.path.abspath(os.fspath(path))
        self.timeout_seconds = timeout_seconds
        if not os.path.isfile(self.path):
            raise FileNotFoundError(f"there is no processor {self.path}")
        self._worker: Optional[_Worker] = None
        self._lock = threading.Lock()

    def _command(self) -> List[str]:
        raise NotImplementedError

    def invoke(self, event: Dict[str, Any]) -> Optional[ProcessorResponse]:
        """None when the processor raised, hung, died or answered nonsense."""
        line = json.dumps(event).encode() + b"\n"
        with self._lock:
            answer = self._ask(line)
        try:
            return ProcessorResponse.from_dict(json.loads(answer)["reply"]) if answer is not None else None
        except (ValueError, KeyError, TypeError):
            return None

    def close(self) -> None:
        with self._lock:
            self._end_worker()

    def _ask(self, line: bytes) -> Optional[bytes]:
        if self._worker is None:
            self._worker = _Worker(self._command())
            if self._worker.ask(b"", _START_S) != _READY:
                return self._end_worker()
        answer = self._worker.ask(line, self.timeout_seconds)
        return answer if answer is not None else self._end_worker()

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def __del__(self):
        if getattr(self, "_worker", None) is not None:
            self._end_worker()


class PythonProcessorRunner(ProcessorRunner):
    def _command(self) -> List[str]:
        return [sys.executable or "python3", "-c", _PYTHON_WORKER, self.path]


class JavaScriptProcessorRunner(ProcessorRunner):
    def _command(self) -> List[str]:
        node = os.environ.get("WATCHER_NODE") or "node"
        if shutil.which(node) is None:
            raise FileNotFoundError(f"{node} is needed to run {self.path}")
        return [node, "-e", _JAVASCRIPT_WORKER, self.path]


class ProcessorFactory:
    """The runner for a file, by its extension."""

    @staticmethod
    def create_runner(processor_path, timeout_seconds: float = 0.1) -> ProcessorRunner:
        extension = os.path.splitext(os.fspath(processor_path))[1]
        if extension == ".py":
            return PythonProcessorRunner(processor_path, timeout_seconds)
        if extension in (".js", ".cjs"):
            return JavaScriptProcessorRunner(processor_path, timeout_seconds)
        raise ValueError(f"a processor is a .py or .js file, not {processor_path}")

    create = create_runner


class ProcessorChain:
    """Several processors, in order: each sees what those before it have added."""

    def __init__(self, runners: Iterable[ProcessorRunner]):
        self.runners = list(runners)

    def process(self, event: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """The event with its annotations and extras; None when one of them drops it, or fails."""
        event = dict(event)
        for runner in self.runners:
            response = runner.invoke(event)
            if response is None or response.action is ProcessorAction.DROP:
                return None
            if response.action is ProcessorAction.ANNOTATE:
                event["annotations"] = {**event.get("annotations", {}), **response.annotations}
            elif response.action is ProcessorAction.ENRICH:
                event["extra"] = {**event.get("extra", {}), **response.extra}
        return event

    def invoke(self, event: Dict[str, Any]) -> Optional[ProcessorResponse]:
        """All of them as one: what they said together, or None when one of them fails."""
        annotations: Dict[str, Any] = {}
        extra: Dict[str, Any] = {}
        for runner in self.runners:
            response = runner.invoke(event)
            if response is None or response.action is ProcessorAction.DROP:
                return response
            annotations.update(response.annotations)
            extra.update(response.extra)
        action = ProcessorAction.ENRICH if extra else ProcessorAction.ANNOTATE if annotations else ProcessorAction.PASS
        return ProcessorResponse(action, annotations, extra)

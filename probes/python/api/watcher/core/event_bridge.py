"""The running session's events, for the program that is being recorded.

The session's queue belongs to the collector, a process of its own, which takes each event to events.jsonl once. A bridge
follows what comes out there, so that nothing is taken from the record, and can hand each event on to a handler or a
writer of core.event_writer. Without a session there are no events.
"""

import json
import os
import sys
import threading
import time
from typing import Any, Callable, Dict, Optional

_FILE = "events.jsonl"
_POLL_S = 0.01


def _session():
    """(output directory, events that still wait in the queue) of this process's session; (None, 0) without one."""
    for finder in sys.meta_path:
        if getattr(finder, "__name__", "") == "_watcher" and hasattr(finder, "session_queue"):
            return finder.session_queue()
    return None, 0


class _Follower:
    """The events of this process in events.jsonl from now on, line by line."""

    def __init__(self, output_dir: Optional[str]):
        self._directory = output_dir
        self._pid = os.getpid()
        self._file = None
        self._open(from_end=True)

    def _open(self, from_end: bool) -> None:
        directory = self._directory or _session()[0]
        try:
            self._file = open(os.path.join(directory, _FILE), "rb") if directory else None
        except OSError:
            return
        if self._file is not None and from_end:
            self._file.seek(0, os.SEEK_END)

    def _replaced(self) -> bool:
        """Rotated: what the file still holds has been read."""
        try:
            now, then = os.stat(self._file.name), os.fstat(self._file.fileno())
        except OSError:
            return False
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)

    def next(self) -> Optional[Dict[str, Any]]:
        while True:
            if self._file is None:
                self._open(from_end=False)
                if self._file is None:
                    return None
            at = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(at)
                if line or not self._replaced():
                    return None
                self.close()
                continue
            try:
                event = json.loads(line)
            except ValueError:  # cut short by a full disk
                continue
            if event.get("pid") == self._pid:
                return event

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    __del__ = close


class EventBridge:
    """Follows the session on a thread of its own, or by process_events.

    `handler` is called with each event; `writer` gets it by write_event or enqueue_event. The events told are those
    that come out after the bridge was made.
    """

    def __init__(self, output_dir: Optional[str] = None, handler: Optional[Callable[[Dict[str, Any]], Any]] = None,
                 writer: Any = None):
        self._follower = _Follower(output_dir)
        self._handler = handler
        self._write = getattr(writer, "enqueue_event", None) or getattr(writer, "write_event", None)
        self._stats = {"events_processed": 0, "events_failed": 0}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="watcher-bridge", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 5) -> None:
        """Processes what has come out, and ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
            self._thread = None

    def process_events(self, max_events: int = 1000) -> int:
        """Up to so many of the events that are there now; returns how many. Never waits for more."""
        count = 0
        with self._lock:
            while count < max_events:
                event = self._follower.next()
                if event is None:
                    break
                count += 1
                self._hand_on(event)
        return count

    def get_stats(self) -> Dict[str, int]:
        return dict(self._stats, queued=_session()[1])

    def _hand_on(self, event: Dict[str, Any]) -> None:
        try:
            if self._handler is not None:
                self._handler(event)
            taken = self._write is None or self._write(event)
        except Exception:  # the handler's mistake is counted, and the next event is still told
            taken = False
        self._stats["events_processed" if taken else "events_failed"] += 1

    def _run(self) -> None:
        while not self._stop.wait(0 if self.process_events() else _POLL_S):
            pass
        while self.process_events():
            pass


class SyncEventBridge:
    """The same on the caller's thread."""

    def __init__(self, output_dir: Optional[str] = None, handler: Optional[Callable[[Dict[str, Any]], Any]] = None,
                 writer: Any = None):
        self._bridge = EventBridge(output_dir, handler, writer)

    def process_until_empty(self, timeout_seconds: float = 5.0) -> int:
        """Until the session's queue is empty and all that came out of it is processed; returns how many events."""
        end = time.monotonic() + timeout_seconds
        count = 0
        while True:
            waiting = _session()[1]  # looked at first: what it says has left the queue is in the file
            processed = self._bridge.process_events()
            count += processed
            if (waiting == 0 and processed == 0) or time.monotonic() >= end:
                return count
            if processed == 0:
                time.sleep(_POLL_S)

    def get_stats(self) -> Dict[str, int]:
        return self._bridge.get_stats()

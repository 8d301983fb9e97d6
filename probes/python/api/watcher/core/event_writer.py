"""Events to DIR/events.jsonl: at once, or by a thread that writes batches.

Lines are whole, also beside other writers of the file; a disk that refuses some is tried again, as long as there is
room in the buffer.
"""

import json
import os
import threading
from collections import deque
from typing import Any, Dict, List, Optional

_FILE = "events.jsonl"


class _LineFile:
    """Appends lines; what the disk has not taken stays with the caller."""

    def __init__(self, output_dir):
        self.path = os.path.join(os.fspath(output_dir), _FILE)
        os.makedirs(output_dir, mode=0o700, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._half_line = b""

    def append(self, lines: List[bytes]) -> int:
        """Returns how many of the lines, the first ones, are in the file now (or up to a rest that is kept here)."""
        data = self._half_line + b"".join(lines)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
            os.fsync(self._fd)
        except OSError:
            pass
        rest = data[written:]
        taken, size = 0, len(self._half_line)
        while taken < len(lines) and size < written:
            size += len(lines[taken])
            taken += 1
        self._half_line = rest[:size - written] if size > written else b""
        return taken

    def close(self) -> None:
        if self._half_line:
            self.append([])
        os.close(self._fd)


def _line(event: Dict[str, Any]) -> Optional[bytes]:
    try:
        return json.dumps(event, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        return None


class EventWriter:
    """Writes on the caller's thread, up to `max_buffer_events` at a time. Any thread."""

    def __init__(self, output_dir, max_buffer_events: int = 1000):
        self.output_dir = output_dir
        self.max_buffer_events = max(1, max_buffer_events)
        self._file: Optional[_LineFile] = _LineFile(output_dir)
        self._buffer: List[bytes] = []
        self._written = self._lost = 0
        self._lock = threading.Lock()

    def write_event(self, event_dict: Dict[str, Any]) -> bool:
        """False when the event is lost: it is no JSON, the writer is closed, or neither disk nor buffer takes it."""
        line = _line(event_dict)
        with self._lock:
            if line is not None and self._file is not None and len(self._buffer) >= self.max_buffer_events:
                self._flush()
            if line is None or self._file is None or len(self._buffer) >= self.max_buffer_events:
                self._lost += 1
                return False
            self._buffer.append(line)
            if len(self._buffer) >= self.max_buffer_events:
                self._flush()
            return True

    def flush(self) -> None:
        """Everything that the disk takes is on it."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        with self._lock:
            if self._file is None:
                return
            self._flush()
            self._lost += len(self._buffer)
            self._buffer.clear()
            self._file.close()
            self._file = None

    def get_stats(self) -> Dict[str, int]:
        with self._lock:
            return {"events_written": self._written, "events_lost": self._lost, "buffered": len(self._buffer)}

    def _flush(self) -> None:
        if self._file is None or not self._buffer:
            return
        taken = self._file.append(self._buffer)
        del self._buffer[:taken]
        self._written += taken

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class BatchEventWriter:
    """Writes on a thread of its own, `batch_size` events at a time; enqueueing never waits. Any thread."""

    MAX_QUEUED = 1_000_000
    _LONGEST_WAIT_S = 0.1

    def __init__(self, output_dir, batch_size: int = 100):
        self.batch_size = max(1, batch_size)
        self._writer = EventWriter(output_dir, self.batch_size)
        self._queue: "deque[Dict[str, Any]]" = deque()
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._refused = 0
        self._stopping = False
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="watcher-writer", daemon=True)
            self._thread.start()

    def enqueue_event(self, event_dict: Dict[str, Any]) -> bool:
        """False when the event is lost: stopped, or more than MAX_QUEUED are waiting."""
        with self._lock:  # never held for long
            if self._stopping or len(self._queue) >= self.MAX_QUEUED:
                self._refused += 1
                return False
            self._queue.append(event_dict)
        if len(self._queue) >= self.batch_size:
            self._bell.set()
        return True

    def stop(self, timeout_seconds: float = 5) -> None:
        """Writes what is queued. What takes longer than that is still being written, and "buffered" meanwhile."""
        self.start()  # events may have been queued before it ever ran
        with self._lock:
            self._stopping = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def get_stats(self) -> Dict[str, int]:
        stats = self._writer.get_stats()
        stats["events_lost"] += self._refused
        stats["buffered"] += len(self._queue)
        return stats

    def _run(self) -> None:
        while not self._stopping:
            self._bell.wait(self._LONGEST_WAIT_S)
            self._bell.clear()
            self._write_queued()
        self._write_queued()
        self._writer.close()

    def _write_queued(self) -> None:
        while self._queue:
            self._writer.write_event(self._queue.popleft())
        self._writer.flush()

    def __enter__(self) -> "BatchEventWriter":
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

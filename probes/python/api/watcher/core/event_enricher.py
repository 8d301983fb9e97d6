"""What an event gains on its way: changed bytes, and the function, file and line behind an instruction's address.

All classes may be used from any thread.
"""

import ctypes
import os
import shutil
import subprocess
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

_BLOCK = 256


class DeltaComputer:
    """Byte-level differences of two snapshots."""

    @staticmethod
    def compute_deltas(before: bytes, after: bytes) -> List[Dict[str, Any]]:
        """[{"offset": 0, "before": "0x0", "after": "0x1"}, …], and {"size_change": "4 -> 8"} for another length."""
        deltas: List[Dict[str, Any]] = []
        common = min(len(before), len(after))
        for start in range(0, common, _BLOCK):
            old, new = before[start:min(start + _BLOCK, common)], after[start:min(start + _BLOCK, common)]
            if old != new:
                deltas.extend({"offset": start + i, "before": hex(x), "after": hex(y)}
                              for i, (x, y) in enumerate(zip(old, new)) if x != y)
        if len(before) != len(after):
            deltas.append({"size_change": f"{len(before)} -> {len(after)}"})
        return deltas


class SymbolCache:
    """The symbols that were asked for last, each for a limited time."""

    def __init__(self, max_size: int = 1000, ttl_seconds: float = 3600):
        self.max_size = max_size
        self.ttl_seconds = ttl_seconds
        self._entries: "OrderedDict[str, Any]" = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ip_str: str) -> Optional[Dict]:
        """None when it is not there, or no more."""
        with self._lock:
            entry = self._entries.get(ip_str)
            if entry is None:
                return None
            if time.monotonic() - entry[0] >= self.ttl_seconds:
                del self._entries[ip_str]
                return None
            self._entries.move_to_end(ip_str)
            return entry[1]

    def set(self, ip_str: str, symbol_info: Dict) -> None:
        with self._lock:
            self._entries[ip_str] = (time.monotonic(), symbol_info)
            self._entries.move_to_end(ip_str)
            while len(self._entries) > self.max_size:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


class _DlInfo(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
                ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p)]


def _is_relocated(path: str) -> bool:
    """A shared object or a position-independent program: its addresses count from where it was loaded."""
    try:
        with open(path, "rb") as file:
            return file.read(18)[16:18] == b"\x03\x00"  # ET_DYN
    except OSError:
        return False


def _addr2line(binary: str, address: int) -> Optional[Dict[str, Any]]:
    tool = shutil.which("addr2line")
    if tool is None:
        return None
    environment = {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}
    try:
        done = subprocess.run([tool, "-f", "-C", "-e", binary, hex(address)], env=environment, timeout=10,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode != 0 or len(lines) != 2 or lines[0] == "??":
        return None
    file, _, line = lines[1].split(" (discriminator")[0].rpartition(":")
    return {"function": lines[0], "file": file, "line": int(line) if line.isdigit() else 0}


class SymbolResolver:
    """The function, file and line of an instruction's address: in `binary_path`, or in this process."""

    def __init__(self, binary_path: Optional[str] = None):
        self.binary_path = binary_path
        self.cache = SymbolCache()

    def resolve(self, ip: int) -> Dict[str, Any]:
        """{"function", "file", "line"}; of an unknown address the function is the address."""
        known = self.cache.get(hex(ip))
        if known is None:
            found = _addr2line(self.binary_path, ip) if self.binary_path else self._resolve_here(ip)
            known = found or {"function": hex(ip), "file": "??", "line": 0}
            self.cache.set(hex(ip), known)
        return dict(known)

    @staticmethod
    def _resolve_here(ip: int) -> Optional[Dict[str, Any]]:
        info = _DlInfo()
        dladdr = ctypes.CDLL(None).dladdr
        dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
        if not 0 < ip < 1 << 64 or dladdr(ip, ctypes.byref(info)) == 0:
            return None
        path = os.fsdecode(info.file)
        found = _addr2line(path, ip - info.base if _is_relocated(path) else ip)
        if found is None and info.symbol:
            found = {"function": info.symbol.decode(errors="replace"), "file": path, "line": 0}
        return found


@dataclass
class EnrichedEvent:
    event_id: str
    timestamp_ns: int
    variable_id: str
    variable_name: str
    function: str
    file: str
    line: int
    thread_id: int
    scope: str = "unknown"
    deltas: List[Dict[str, Any]] = field(default_factory=list)
    sql_context: Optional[Dict[str, Any]] = None

    # the names that the guide has for processors
    @property
    def ts_ns(self) -> int:
        return self.timestamp_ns

    @property
    def symbol(self) -> str:
        return self.function

    @property
    def tid(self) -> int:
        return self.thread_id

    @property
    def variable_ids(self) -> List[str]:
        return [self.variable_id]

    def to_dict(self) -> Dict[str, Any]:
        return dict(vars(self))


class EventEnricher:
    """Puts an event together from what was captured."""

    def __init__(self, binary_path: Optional[str] = None):
        self.symbol_resolver = SymbolResolver(binary_path)
        self.delta_computer = DeltaComputer()

    def enrich(self, event_id: str, timestamp_ns: int, ip: int, tid: int, variable_id: str, variable_name: str,
               before_snapshot: bytes, after_snapshot: bytes, sql_context: Optional[Dict[str, Any]] = None,
               scope: Optional[str] = None) -> EnrichedEvent:
        symbol = self.symbol_resolver.resolve(ip)
        return EnrichedEvent(event_id=event_id, timestamp_ns=timestamp_ns, variable_id=variable_id,
                             variable_name=variable_name, function=symbol["function"], file=symbol["file"],
                             line=symbol["line"], thread_id=tid, scope=scope or "unknown",
                             deltas=self.delta_computer.compute_deltas(before_snapshot, after_snapshot),
                             sql_context=sql_context)

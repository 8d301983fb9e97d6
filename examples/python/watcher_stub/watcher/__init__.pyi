from types import TracebackType
from typing import Any, Generic, Literal, Optional, Type, TypedDict, TypeVar, Union

_T = TypeVar("_T")
_Depth = Union[Literal["FULL"], int]
_Scope = Optional[Literal["local", "global", "both", "unknown"]]
_Reaction = Literal["record", "break"]

class Stats(TypedDict):
    emitted: int
    dropped: int
    blocked: int
    regions: int
    neighbour_traps: int
    kernel_redirects: int
    single_steps: int
    engine: str
    engine_reason: str
    paused: bool

def watch(
    value: _T,
    name: Optional[str] = None,
    *,
    track_threads: bool = False,
    track_locals: bool = False,
    track_sql: bool = False,
    mutation_depth: _Depth = "FULL",
    scope: _Scope = None,
    when: Optional[str] = None,
    proxy: bool = False,
    on_change: _Reaction = "record",
) -> _T: ...
def unwatch(name_or_value: object, /) -> None: ...

class watching(Generic[_T]):
    def __init__(
        self,
        value: _T,
        name: Optional[str] = None,
        *,
        track_threads: bool = False,
        track_locals: bool = False,
        track_sql: bool = False,
        mutation_depth: _Depth = "FULL",
        scope: _Scope = None,
        when: Optional[str] = None,
        proxy: bool = False,
        on_change: _Reaction = "record",
    ) -> None: ...
    def __enter__(self) -> _T: ...
    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None: ...

def pause() -> None: ...
def resume() -> None: ...
def stats() -> Stats: ...

class WatchProxy:
    # typed as what it stands for
    def __new__(cls, value: _T, name: Optional[str] = None, **settings: Any) -> _T: ...  # type: ignore[misc]

class ShadowMemory(Generic[_T]):
    def __init__(self, value: _T, name: Optional[str] = None, **settings: Any) -> None: ...
    @property
    def value(self) -> _T: ...
    @property
    def memory(self) -> Optional[memoryview]: ...
    def read(self) -> bytes: ...
    def write(self, value: _T) -> None: ...
    def close(self) -> None: ...

"""Scope files: a line `app.py:(local:counter,global:db_conn)` for each source file.

`#` opens a comment line, or a comment behind the list. The same rules as watcher-exec --files-scope has.
"""

import os
import re
from typing import Dict, List

SCOPES = ("local", "global", "both", "unknown")
_EXAMPLE = "a line looks like app.py:(local:counter,global:db_conn)"
_NAME = re.compile(r"[^ ,:()\"'#\x00-\x1f\x7f]+")
_BLANKS = " \t\r\n"


def validate_scope_value(scope: str) -> bool:
    """Is it one of local, global, both, unknown?"""
    return scope in SCOPES


def _parse_name(item: str) -> Dict[str, str]:
    scope, colon, name = item.partition(":")
    scope, name = (scope.strip(_BLANKS), name.strip(_BLANKS)) if colon else ("unknown", item.strip(_BLANKS))
    if not validate_scope_value(scope):
        raise ValueError(f"a scope is local, global, both or unknown, not {scope!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a variable")
    return {"name": name, "scope": scope}


def _parse_line(line: str):
    file, start, rest = line.rpartition(":(")
    if not start:
        raise ValueError(f"a list ':(…)' of names is missing; {_EXAMPLE}")
    names, end, behind = rest.partition(")")
    if not end:
        raise ValueError(f"the list is not closed by ')'; {_EXAMPLE}")
    if behind.strip(_BLANKS)[:1] not in ("", "#"):
        raise ValueError(f"nothing but a comment may follow the list; {_EXAMPLE}")
    if not file.strip(_BLANKS):
        raise ValueError(f"the source file is missing; {_EXAMPLE}")
    return file.strip(_BLANKS), [_parse_name(item) for item in names.split(",")]


def parse_scope_config(config_file_path: str) -> Dict[str, List[Dict[str, str]]]:
    """{file: [{"name": …, "scope": …}, …]}; a name without a scope is "unknown".

    FileNotFoundError when there is no such file; ValueError, naming the line, when it is no scope file or empty.
    """
    rules: Dict[str, List[Dict[str, str]]] = {}
    with open(config_file_path, "rb") as text:
        for number, line in enumerate(text, 1):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").strip(_BLANKS)
                if not line or line.startswith("#"):
                    continue
                file, names = _parse_line(line)
            except UnicodeDecodeError:
                raise ValueError(f"{config_file_path}, line {number}: this is not UTF-8") from None
            except ValueError as error:
                raise ValueError(f"{config_file_path}, line {number}: {error}") from None
            known = rules.setdefault(file, [])
            known.extend(name for i, name in enumerate(names) if name not in known and name not in names[:i])
    if not rules:
        raise ValueError(f"{config_file_path}, line 1: no variable is named in this file; {_EXAMPLE}")
    return rules


def is_config_file(path: str) -> bool:
    """Is there a file that parse_scope_config takes?"""
    try:
        return os.path.isfile(path) and bool(parse_scope_config(path))
    except (OSError, ValueError):
        return False

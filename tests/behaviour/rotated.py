"""Reads a run's events from events.jsonl and the files it was put aside as, unpacked by others' programs."""

import gzip
import json
import pathlib
import re
import subprocess


def files(directory):
    """Oldest first."""
    aside = [path for path in pathlib.Path(directory).iterdir() if re.fullmatch(r"events-\d+\.jsonl(\.gz|\.zst)?", path.name)]
    current = pathlib.Path(directory) / "events.jsonl"
    return sorted(aside, key=lambda path: int(re.search(r"\d+", path.name)[0])) + ([current] if current.exists() else [])


def content(path):
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-qdc", str(path)], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()


def lines(directory, others=()):
    """Every line of every file; of `others`, too, which come first."""
    for path in [*map(pathlib.Path, others), *files(directory)]:
        text = content(path)
        if text and not text.endswith(b"\n"):
            raise AssertionError(f"{path} ends in the middle of a line")
        yield from text.splitlines()


def events(directory, others=()):
    return [json.loads(line) for line in lines(directory, others)]

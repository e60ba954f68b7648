"""What `headway.toml` says of pipelines, as it was when it was last read whole and found right: to read all of it takes
longer than a run in which nothing has to run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from headway.kernel.records import Value, digest, encode
from headway.lifecycle.runs.capture import CaptureSpec
from headway.lifecycle.runs.pipeline import DeclaredStep

_FILE = "remembered.json"


class RememberedPipeline(Value):
    entry: str = ""
    steps: dict[str, DeclaredStep] = {}
    params: dict[str, str] = {}


class RememberedProject(Value):
    """`text` is the digest of the file, `reader` tells the code apart that read it."""

    text: str
    reader: str
    pipelines: dict[str, RememberedPipeline]
    capture: CaptureSpec


def _reader() -> str:
    """What changes when another version is installed, without the cost of asking for that."""
    stat = (Path(__file__).parents[1] / "lifecycle" / "changes" / "project.py").stat()
    return f"{stat.st_mtime_ns}/{stat.st_ctime_ns}/{stat.st_size}"


def remembered(home: Path, text: str) -> RememberedProject | None:
    """What was kept of just this text; None when it was never read, or by another version."""
    with suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode((home / _FILE).read_bytes(), type=RememberedProject)
        if found.text == digest(text.encode()) and found.reader == _reader():
            return found
    return None


def remember(home: Path, text: str, pipelines: Mapping[str, RememberedPipeline], capture: CaptureSpec) -> None:
    """Keep it for the next run; that it cannot be kept is no failure."""
    made = RememberedProject(text=digest(text.encode()), reader=_reader(), pipelines=dict(pipelines), capture=capture)
    with suppress(OSError):
        if home.is_dir():
            fresh = home / f"{_FILE}.{os.getpid()}"
            fresh.touch(0o600)
            fresh.write_bytes(encode(made))
            fresh.replace(home / _FILE)

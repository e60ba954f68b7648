"""Secrets on disk: files that only their owner may read, whole or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from headway.errors import BadSettings


def write_secret(file: Path, data: bytes) -> None:
    """Replace `file` by `data` in one step, readable by its owner alone."""
    _unfinished(file, data).replace(file)


def make_secret(file: Path, data: bytes) -> bytes:
    """What `file` holds; it is made with `data` if it is not there, by one of those who try at the same time."""
    if not file.exists():
        fresh = _unfinished(file, data)
        try:
            os.link(fresh, file)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return read_secret(file)


def read_secret(file: Path) -> bytes:
    """Raises `BadSettings` when others may read it too, `FileNotFoundError` when it is not there."""
    if file.stat().st_mode & 0o077:
        raise BadSettings(f"{file} may be read by other users; run: chmod 600 {file}")
    return file.read_bytes()


def _unfinished(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(data)
        output.flush()
        os.fsync(output.fileno())
    return fresh

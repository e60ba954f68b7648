"""The lock of a model version: the packages that its worker has, each pinned to one version."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headway.errors import Invalid

MOST_PACKAGES = 500
_PIN = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9.!+_-]{0,60})")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def checked_lock(lines: str | Iterable[str]) -> str:
    """A lock as it is kept: sorted, one package a line, each `name==version`, with `--hash=sha256:...` if it has one.

    Comments and continued lines are read as pip reads them. Raises `Invalid` for what is not pinned, and for addresses,
    paths and options: where packages come from is the operator's to say.
    """
    text = lines if isinstance(lines, str) else "\n".join(lines)
    pins: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        pin = _PIN.fullmatch(words[0])
        if pin is None or not all(_HASH.fullmatch(word) for word in words[1:]):
            raise Invalid(f"{line.strip()[:100]!r} is no pin; a lock has lines such as numpy==2.4.6, and no addresses")
        name = re.sub(r"[-_.]+", "-", pin[1]).lower()
        if name in pins:
            raise Invalid(f"{name} stands twice in the lock")
        pins[name] = " ".join([f"{name}=={pin[2]}", *sorted(words[1:])])
    if not 0 < len(pins) <= MOST_PACKAGES:
        raise Invalid(f"a lock has 1 to {MOST_PACKAGES} packages, not {len(pins)}")
    if "numpy" not in pins:
        raise Invalid("the lock lacks numpy, by which a worker takes its rows")
    return "".join(f"{pins[name]}\n" for name in sorted(pins))

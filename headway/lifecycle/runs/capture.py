"""What a run records by itself: which of it, under which names."""

from __future__ import annotations

import msgspec

from headway.kernel.records import UNREADABLE, Value, digest, encode

SYSTEM = "system/"
"""What the keys of metrics that describe the machine begin with, as MLflow has them."""
LOCK, REQUIREMENTS, DIFF = "environment/lock.json", "environment/requirements.txt", "code/diff.patch"
COMMAND_TAG, HOST_TAG, LOCK_TAG = "headway.command", "headway.host", "headway.lock"
USER_TAG, SCRIPT_TAG, KIND_TAG = "mlflow.user", "mlflow.source.name", "mlflow.source.type"
COMMIT_TAG, BRANCH_TAG, DIRTY_TAG = "mlflow.source.git.commit", "mlflow.source.git.branch", "mlflow.source.git.dirty"
_TAGS = frozenset({COMMAND_TAG, HOST_TAG, LOCK_TAG, USER_TAG, SCRIPT_TAG, KIND_TAG, COMMIT_TAG, BRANCH_TAG, DIRTY_TAG})


class CaptureSpec(Value):
    """What runs of a project record by themselves."""

    system: bool = True
    """CPU, memory, disk, network and GPU, as metrics."""
    every_s: float = 10.0
    code: bool = True
    """Commit and branch as tags, and what was edited since as an artifact."""
    packages: bool = True
    """The installed distributions, Python and platform, as artifacts."""
    command: bool = True
    """Command, script, host and user, as tags."""


NOTHING = CaptureSpec(system=False, code=False, packages=False, command=False)


class PackageLock(Value):
    """What a process of Python runs on: installed distributions with their versions."""

    python: str
    platform: str
    packages: dict[str, str]

    @property
    def digest(self) -> str:
        """The same for the same Python, platform and packages."""
        return digest(encode(self))

    @property
    def requirements(self) -> str:
        """As pip reads it."""
        return "".join(f"{name}=={version}\n" for name, version in sorted(self.packages.items()))


def captured(tag: str) -> bool:
    """Whether a run sets `tag` by itself."""
    return tag in _TAGS


def decode_lock(data: bytes) -> PackageLock | None:
    """What `encode` made of a lock; None for what another client has kept under its name."""
    try:
        return msgspec.json.decode(data, type=PackageLock)
    except UNREADABLE:
        return None

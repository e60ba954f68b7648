"""Gates: named checks over evidence, and the verdict they come to."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from headway.kernel.blobs import BlobDigest
from headway.kernel.records import Record, Value


class Outcome(StrEnum):
    """Not enough evidence is `unproven`: never a pass."""

    PASS = "pass"
    FAIL = "fail"
    UNPROVEN = "unproven"


class Finding(Value):
    """What a check says: its outcome, one sentence why, and the numbers behind it."""

    outcome: Outcome
    reason: str
    numbers: dict[str, Any] = {}


class Evidence(Record, prefix="ev"):
    """A machine-written record of one check on one subject."""

    check: str
    settings: dict[str, Any]
    subject: str
    """Id of the model version."""
    subject_blob: BlobDigest
    """Digest of what was tested."""
    inputs: dict[str, str]
    """Name -> id or digest of everything the check looked at."""
    finding: Finding
    code: str
    """Version of the code that checked."""
    actor: str


class Verdict(Record, prefix="vd"):
    """The gate's answer for a model version and an environment. `gate` seals the checks that were demanded."""

    environment: str
    model_version: str
    change: str
    gate: str
    outcome: Outcome
    evidence: tuple[str, ...]
    reasons: tuple[str, ...]


class Judge(Value):
    """Command: come to a verdict from evidence that was just measured."""

    environment: str
    model_version: str
    findings: dict[str, Finding]
    """Check name -> finding."""
    change: str = ""
    inputs: dict[str, dict[str, str]] = {}
    """Check name -> what it looked at."""
    code: str = ""

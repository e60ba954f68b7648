"""Approvals and releases: who agreed and why, and the signed decision that a model version may run somewhere."""

from __future__ import annotations

from enum import StrEnum

from headway.kernel.blobs import BlobDigest
from headway.kernel.records import Record, Value


class Decision(StrEnum):
    AGREE = "agree"
    DECLINE = "decline"


class Approval(Record, prefix="ap"):
    change: str
    verdict: str
    actor: str
    decision: Decision
    reason: str


class Envelope(Value):
    """A DSSE envelope with one Ed25519 signature (https://github.com/secure-systems-lab/dsse)."""

    payload_type: str
    payload: str
    """Base 64 of the signed statement."""
    key: str
    """Id of the public key: its BLAKE3."""
    signature: str
    """Base 64."""


class Statement(Value):
    """What a release signs."""

    release: str
    model_version: str
    blob: str
    environment: str
    change: str
    verdict: str
    approvals: tuple[str, ...]
    break_glass: str


class Release(Record, prefix="rl"):
    """Model version x environment. One without a verdict was let in by break-glass, and says why."""

    model_version: str
    label: str
    """`model@number`, for people."""
    blob: BlobDigest
    environment: str
    change: str
    verdict: str = ""
    approvals: tuple[str, ...] = ()
    break_glass: str = ""
    envelope: Envelope | None = None

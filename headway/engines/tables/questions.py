"""What a control plane asks its readers of tables, what they answer, and how both travel: as MessagePack behind its
length, which can express nothing but these records.
"""

from __future__ import annotations

from datetime import datetime
from typing import IO, Any

import msgspec

from headway.kernel.records import Value
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.profile import Layout
from headway.lifecycle.feature_views.records import DefineFeatures

MIB = 1 << 20
MOST_ANSWER_BYTES = 256 * MIB
_LENGTH_BYTES = 8


class SummaryOf(Value, tag="summary"):
    """Asks for a `Summary`."""

    data: bytes


class ReferenceOf(Value, tag="reference"):
    """Asks for an encoded `Reference`."""

    data: bytes
    contract: Contract | None


class ExtendedOf(Value, tag="extended"):
    """Asks for an encoded `Reference` with the rows of `data` counted too."""

    reference: bytes
    data: bytes
    contract: Contract | None


class JoinedOf(Value, tag="joined"):
    """Asks for the rows of all parts as one Parquet."""

    parts: tuple[bytes, ...]


class SharedOf(Value, tag="shared"):
    """Asks for the `Shared`: which of `parts` hold the rows with which the table in `data` begins."""

    parts: tuple[bytes, ...]
    data: bytes


class ContentOf(Value, tag="content"):
    """Asks for the `SegmentContent` of a segment."""

    deployment: str
    segment: str
    data: bytes


class DayProfileOf(Value, tag="day_profile"):
    """Asks for the `Profile` of one day of captured segments."""

    segments: tuple[bytes, ...]
    day: str
    layout: Layout


class SkewedDayOf(Value, tag="skewed_day"):
    """Asks for the `SkewedDay` of a release."""

    segments: tuple[bytes, ...]
    day: str
    release: str
    columns: tuple[str, ...]


class LatestOf(Value, tag="latest"):
    """Asks for the `Latest` of a feature view's source."""

    data: bytes
    view: DefineFeatures
    as_of: datetime


class RequestOf(Value, tag="request"):
    """Asks for the JSON body, of `most_bytes` at most, that asks for predictions on a table's rows."""

    data: bytes
    most_bytes: int


Question = (
    SummaryOf
    | ReferenceOf
    | ExtendedOf
    | JoinedOf
    | SharedOf
    | ContentOf
    | DayProfileOf
    | SkewedDayOf
    | LatestOf
    | RequestOf
)


class Found(Value, tag="found"):
    """An answer, to be read as the type that was asked for."""

    value: msgspec.Raw


class Failed(Value, tag="failed"):
    """What is to be raised: the leaf of this code."""

    code: str
    message: str


Answer = Found | Failed

READY = Found(value=msgspec.Raw(msgspec.msgpack.encode(None)))
"""Said once by a reader, before it is asked anything."""

read_question = msgspec.msgpack.Decoder(Question).decode
read_answer = msgspec.msgpack.Decoder(Answer).decode


def found(value: Any) -> Found:
    return Found(value=msgspec.Raw(msgspec.msgpack.encode(value)))


def send(stream: IO[bytes], message: Question | Answer) -> None:
    """Raises `OSError` when nobody listens any more."""
    body = msgspec.msgpack.encode(message)
    stream.write(len(body).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes], most_bytes: int | None = None) -> bytes | None:
    """The next message, or None when there will be none. Raises `ValueError` for one over `most_bytes`."""
    head = stream.read(_LENGTH_BYTES)
    size = int.from_bytes(head, "big")
    if most_bytes is not None and size > most_bytes:
        raise ValueError(f"a message of {size} bytes, where {most_bytes} are the most")
    body = stream.read(size)
    return body if len(head) == _LENGTH_BYTES and len(body) == size else None

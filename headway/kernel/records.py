"""The record: one frozen class that is the domain object, the body on the wire and the row in the database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self, dataclass_transform

import blake3
import msgspec

JsonNumber = float | Literal["NaN", "Infinity", "-Infinity"]
"""A number as it travels: JSON has no NaN and no infinity, which go as text."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that came from elsewhere: text that is not UTF-8, or is nested too deeply, is no error
of msgspec's own."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class RecordType(msgspec.StructMeta):
    """Lets a record name its id prefix where it is declared, `class Rollout(Record, prefix="ro")`, and makes the
    fields of every subclass keyword-only, so that a field without a default may follow one that has it."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], prefix: str | None = None, **options: Any
    ) -> RecordType:
        options.setdefault("kw_only", True)
        cls = super().__new__(mcls, name, bases, namespace, **options)
        if prefix is not None:
            cls.prefix = prefix  # type: ignore[attr-defined]
        return cls


class Value(msgspec.Struct, metaclass=RecordType, frozen=True, forbid_unknown_fields=True):
    """A frozen value without an identity of its own; unknown fields are refused when it is read."""

    prefix: ClassVar[str] = ""

    def but(self, **changes: Any) -> Self:
        """A copy with the fields in `changes` replaced."""
        return msgspec.structs.replace(self, **changes)


class Record(Value):
    """A value with an identity. `id` is `<prefix>_<26 characters>` and sorts by time of creation."""

    id: str
    created_at: datetime


class State(StrEnum):
    """A state of a record; the legal moves stand beside it as `moves: Mapping[State, frozenset[State]]`."""


_encoder = msgspec.json.Encoder(order="deterministic")


def encode(value: Any) -> bytes:
    """Canonical JSON: the same value gives the same bytes, on the wire, in a row and under a digest."""
    try:
        return _encoder.encode(value)
    except TypeError:  # msgspec sorts only keys that are texts: numbers are made texts first, as JSON has them
        return _encoder.encode(msgspec.to_builtins(value, str_keys=True))


def digest(data: bytes) -> str:
    """BLAKE3 of `data` as `b3:` and 64 hexadecimal digits; names blobs and seals records."""
    return "b3:" + blake3.blake3(data).hexdigest()


def json_number(value: float) -> JsonNumber:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def json_numbers(values: Sequence[float]) -> list[JsonNumber]:
    """As `json_number` for each; most often all are finite, which one sum tells."""
    return list(values) if math.isfinite(sum(map(abs, values))) else [json_number(value) for value in values]

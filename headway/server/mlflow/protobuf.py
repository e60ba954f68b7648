"""The wire format of protocol buffers, read by tables of fields, and the same messages as JSON.

Both give what protocol buffers call JSON, with the names of the fields as declared: bytes are base64, numbers that JSON
has not are "NaN", "Infinity" and "-Infinity" (https://protobuf.dev/programming-guides/encoding and .../json).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headway.errors import Invalid
from headway.kernel.records import json_number

_DEEPEST = 100
"""Messages within messages: the limit that the format's own libraries have."""
_VARINT, _FIXED64, _LENGTH, _GROUP, _END, _FIXED32 = range(6)
_INT32, _INT64, _UINT64 = 1 << 32, 1 << 64, (1 << 64) - 1
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_WHOLE = re.compile(r"-?[0-9]{1,20}")


class Scalar(StrEnum):
    TEXT = "text"
    BYTES = "bytes"
    IDENTIFIER = "identifier"
    """Bytes that are hexadecimal in OTLP's JSON."""
    BOOL = "bool"
    ENUM = "enum"
    INT64 = "int64"
    FIXED64 = "fixed64"
    FIXED32 = "fixed32"
    UINT32 = "uint32"
    DOUBLE = "double"


_WIRE = {
    **dict.fromkeys((Scalar.TEXT, Scalar.BYTES, Scalar.IDENTIFIER), _LENGTH),
    **dict.fromkeys((Scalar.BOOL, Scalar.ENUM, Scalar.INT64, Scalar.UINT32), _VARINT),
    Scalar.FIXED64: _FIXED64, Scalar.DOUBLE: _FIXED64, Scalar.FIXED32: _FIXED32,
}  # fmt: skip
_RANGES = {
    Scalar.ENUM: (-_INT32 // 2, _INT32 // 2), Scalar.INT64: (-_INT64 // 2, _INT64 // 2),
    Scalar.FIXED64: (0, _INT64), Scalar.FIXED32: (0, _INT32), Scalar.UINT32: (0, _INT32),
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A field. `choice` names the group of which only one is set: the last one wins."""

    name: str
    kind: Scalar | Message
    many: bool = False
    choice: str = ""


@dataclass
class Message:
    """A kind of message: its members by their numbers. A message may hold its like, so they can be added later."""

    members: dict[int, Member] = field(default_factory=dict)

    def named(self) -> Mapping[str, Member]:
        """By both names that JSON may use."""
        both = {member.name: member for member in self.members.values()}
        return both | {_camel(name): member for name, member in both.items()}


def read(data: bytes, message: Message) -> dict[str, Any]:
    """A message from its bytes; raises `Invalid` for what is none. Members that are not known are passed over."""
    return _Reader(data).message(message, 0, len(data), {}, 0)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def message(self, kind: Message, place: int, end: int, found: dict[str, Any], depth: int) -> dict[str, Any]:
        """The members between `place` and `end`, merged into `found`."""
        if depth > _DEEPEST:
            raise Invalid(f"the protocol buffer holds messages more than {_DEEPEST} deep")
        while place < end:
            number, wire, place = self._tag(place, end)
            member = kind.members.get(number)
            if member is None or wire != (_LENGTH if isinstance(member.kind, Message) else _WIRE[member.kind]):
                place = self._past(number, wire, place, end, depth)
            elif isinstance(member.kind, Message):
                start, place = self._stretch(place, end)
                same = found.get(member.name) if not member.many else None
                _put(found, kind, member, self.message(member.kind, start, place, same or {}, depth + 1))
            else:
                value, place = self._scalar(member.kind, place, end)
                _put(found, kind, member, value)
        return found

    def _tag(self, place: int, end: int) -> tuple[int, int, int]:
        tag, place = self._varint(place, end)
        if not 0 < tag >> 3 < 1 << 29 or tag >= _INT32:
            raise Invalid(f"the protocol buffer has no field {tag >> 3}")
        return tag >> 3, tag & 7, place

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while place < end and shift < 70:
            byte = self._data[place]
            value |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if byte < 128:
                return value & _UINT64, place
        raise Invalid("the protocol buffer ends within a number, or a number is too long")

    def _stretch(self, place: int, end: int) -> tuple[int, int]:
        size, place = self._varint(place, end)
        if size > end - place:
            raise Invalid("the protocol buffer ends too early; send it whole")
        return place, place + size

    def _fixed(self, size: int, place: int, end: int) -> tuple[bytes, int]:
        if size > end - place:
            raise Invalid("the protocol buffer ends too early; send it whole")
        return self._data[place : place + size], place + size

    def _scalar(self, kind: Scalar, place: int, end: int) -> tuple[Any, int]:
        wire = _WIRE[kind]
        if wire == _VARINT:
            number, place = self._varint(place, end)
            return _integer(kind, number), place
        if wire == _LENGTH:
            start, place = self._stretch(place, end)
            return _text_or_bytes(kind, self._data[start:place]), place
        data, place = self._fixed(4 if wire == _FIXED32 else 8, place, end)
        if kind is Scalar.DOUBLE:
            return json_number(struct.unpack("<d", data)[0]), place
        return int.from_bytes(data, "little"), place

    def _past(self, number: int, wire: int, place: int, end: int, depth: int) -> int:
        """The place behind a member that is not known."""
        if wire == _VARINT:
            return self._varint(place, end)[1]
        if wire == _LENGTH:
            return self._stretch(place, end)[1]
        if wire in (_FIXED32, _FIXED64):
            return self._fixed(4 if wire == _FIXED32 else 8, place, end)[1]
        if wire != _GROUP or depth >= _DEEPEST:
            raise Invalid("the protocol buffer cannot be read: a field has no such type")
        while True:
            inner, wire, place = self._tag(place, end)
            if wire == _END:
                if inner != number:
                    raise Invalid("the protocol buffer cannot be read: a group ends that was not begun")
                return place
            place = self._past(inner, wire, place, end, depth + 1)


def _put(found: dict[str, Any], kind: Message, member: Member, value: Any) -> None:
    if member.many:
        found.setdefault(member.name, []).append(value)
        return
    if member.choice:
        for other in kind.members.values():
            if other.choice == member.choice and other is not member:
                found.pop(other.name, None)
    found[member.name] = value


def _integer(kind: Scalar, number: int) -> Any:
    if kind is Scalar.BOOL:
        return number != 0
    if kind is Scalar.UINT32:
        return number % _INT32
    if kind is Scalar.ENUM:
        number %= _INT32
        return number - _INT32 if number >= _INT32 // 2 else number
    return number - _INT64 if number >= _INT64 // 2 else number


def _text_or_bytes(kind: Scalar, data: bytes) -> str:
    if kind is not Scalar.TEXT:
        return base64.b64encode(data).decode()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid("the protocol buffer holds a text that is not UTF-8") from error


def from_json(value: Any, message: Message) -> dict[str, Any]:
    """A message from JSON as OTLP writes it; raises `Invalid` naming the member that is wrong."""
    return _from_json(value, message, "the request", 0)


def _from_json(value: Any, message: Message, where: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{where} must be a JSON object")
    if depth > _DEEPEST:
        raise Invalid(f"the JSON holds messages more than {_DEEPEST} deep")
    found: dict[str, Any] = {}
    named = message.named()
    for name, given in value.items():
        member = named.get(name)
        if member is None or given is None:
            continue
        if not member.many:
            _put(found, message, member, _one(given, member, depth))
        elif isinstance(given, list):
            found[member.name] = [_one(item, member, depth) for item in given]
        else:
            raise Invalid(f"{member.name} must be a JSON array")
    return found


def _one(given: Any, member: Member, depth: int) -> Any:
    kind = member.kind
    if isinstance(kind, Message):
        return _from_json(given, kind, member.name, depth + 1)
    if kind in _RANGES:
        return _number(given, *_RANGES[kind], member.name)
    if kind is Scalar.BOOL and isinstance(given, bool):
        return given
    if kind is Scalar.DOUBLE and (given in ("NaN", "Infinity", "-Infinity") or _is_number(given)):
        return given if isinstance(given, str) else json_number(float(given))
    if kind in (Scalar.TEXT, Scalar.BYTES, Scalar.IDENTIFIER) and isinstance(given, str):
        return _written(kind, given, member.name)
    raise Invalid(f"{member.name} must be of type {kind}")


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) <= sys.float_info.max


def _number(given: Any, low: int, high: int, name: str) -> int:
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole and not (isinstance(given, str) and _WHOLE.fullmatch(given)):
        raise Invalid(f"{name} must be a whole number")
    if not low <= int(given) < high:
        raise Invalid(f"{name} must be from {low} to {high - 1}")
    return int(given)


def _written(kind: Scalar, given: str, name: str) -> str:
    try:
        given.encode()
        if kind is Scalar.TEXT:
            return given
        if kind is Scalar.IDENTIFIER:
            if not _HEX.fullmatch(given):
                raise Invalid(f"{name} must be hexadecimal")
            return base64.b64encode(bytes.fromhex(given)).decode()
        return base64.b64encode(base64.b64decode(given, validate=True)).decode()
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise Invalid(f"{name} cannot be read as {kind}") from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

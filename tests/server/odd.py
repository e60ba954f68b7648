"""Odd input of every kind, to be put wherever an API takes something."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "a huge number": b"1" + b"0" * 5000,
    "a text": b'"x"',
    "half an object": b'{"name":',
    "no UTF-8": b"\xff\xfe\x00",
    "no UTF-8 in a text": b'{"name":"\xc3\x28"}',
    "UTF-16": '{"name":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"name":"x"}',
    "a deep list": b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a deep object": b'{"name":' * 5000 + b"1" + b"}" * 5000,
    "deep for nothing": b"[" * 5000,
    "twice the same key": b'{"name":"a","name":{},"name":[]}',
    "a NUL": b'{"name":"a"}\x00',
    "NaN": b'{"name":NaN}',
    "an unknown field": b'{"no_such_field":1}',
    "a form": b"name=x",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
}

PATHS = [
    "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc", "..\\..\\windows", "/etc/passwd", "//etc",
    "file:///etc/passwd", "file://localhost/etc/passwd", "s3://bucket/x", "C:\\x", "a/../../b", "./a", "a//b", "~root",
    "mlflow-artifacts:/../../x", "http://169.254.169.254/latest", "jar:file:///x!/y", "\\\\host\\share", "a/%00/b",
]  # fmt: skip
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 31,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 63),
    1 << 64,
    10**400,
    1.5,
    1e308,
    "",
    " ",
    "x" * 100_000,
    "a b\tc\u2028d",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\u202e\u0000",
    "'; DROP TABLE runs; --",
    "%s%n{0}${x}",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"a": {}},
    [1, "a"],
    {"key": "k", "value": {}},
    "NaN",
    "Infinity",
    "1e999",
    "0x10",
    "-0",
    "٣",
]


def as_json(value: Any) -> bytes:
    """With lone surrogates as escapes, as a client may write them."""
    return json.dumps(value).encode()


def odd_objects(kind: type[msgspec.Struct], good: dict[str, Any], every: int = 1) -> Iterator[bytes]:
    """Bodies for `kind` with one odd field each; the others are what `good` says, or what their type suggests.

    With `every` n, each n-th odd value only, from another start for each field.
    """
    fields = msgspec.structs.fields(kind)
    whole = {field.encode_name: good.get(field.encode_name, _plain(field.type)) for field in fields}
    whole = {name: value for name, value in whole.items() if value is not None}
    for start, field in enumerate(fields, zlib.crc32(kind.__name__.encode())):
        for value in (*VALUES, *PATHS)[start % every :: every]:
            yield as_json({**whole, field.encode_name: value})


def _plain(kind: Any) -> Any:
    for each in (kind, *get_args(kind)):
        origin = get_origin(each) or each
        if origin in (list, tuple):
            return []
        if origin is dict:
            return {}
        for plain, value in ((bool, False), (int, 1), (float, 0.5), (str, "x")):
            if origin is plain:
                return value
    return None

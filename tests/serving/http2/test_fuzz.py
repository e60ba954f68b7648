"""Nonsense, near-sense and damaged sense: whatever a client sends, nothing fails and nothing is kept of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.http2 import frames
from headway.serving.http2.codes import Code
from headway.serving.http2.frames import frame
from tests.serving.http2.peers import HELLO, Line, asks, block, data, headers

STREAMS = st.sampled_from([0, 1, 3, 5, 7, 2, 2**31 - 1])
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", bytes(4), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", block(), block(b"/turn"), b"\x83\x86"]),
    st.builds(lambda pairs: frames.settings(pairs)[9:], st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 2, 16384, 65535, 2**24 - 1, 2**31 - 1, 2**32 - 1])),
        max_size=3,
    )),
)  # fmt: skip
FLAGS = st.sampled_from([0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x25, 0x2D, 255])
ANY = st.builds(frame, st.integers(0, 10), FLAGS, STREAMS, PAYLOADS)
OPEN, PATHS = st.sampled_from([1, 3, 5, 7]), st.sampled_from([b"/echo", b"/turn", b"/nothing"])
SENSE = st.one_of(
    st.builds(asks, OPEN, st.binary(max_size=30), PATHS),
    st.builds(headers, OPEN, PATHS),
    st.builds(data, OPEN, st.binary(max_size=30), end=st.booleans()),
    st.builds(frames.reset, OPEN, st.just(Code.CANCEL)),
    st.builds(frames.window_update, STREAMS, st.sampled_from([0, 1, 70_000, 2**31 - 1])),
)


class Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@pytest.fixture(autouse=True, scope="module")
def failures() -> Iterator[Failures]:
    """What failed in the server meanwhile: nothing."""
    failures = Failures()
    logging.getLogger("headway").addHandler(failures)
    yield failures
    logging.getLogger("headway").removeHandler(failures)
    assert failures.found == []


def ends(line: Line) -> None:
    """Nothing of it is left once the client is gone, nor once it has been waited for."""
    line.application.end_turn()
    line.heard()  # whole frames
    for now in (0.0, 20.0, 40.0):
        line.connection.look(now)
    line.lose()
    assert line.is_clean()
    assert not line.place.connections


FUZZ = settings(max_examples=400, deadline=None)


@FUZZ
@given(st.lists(ANY | SENSE, max_size=25), st.integers(1, 60))
def test_random_frames(sent: list[bytes], size: int) -> None:
    told = b"".join(sent)
    line = Line()
    for at in range(0, len(told), size):
        line.say(told[at : at + size])
    ends(line)


@FUZZ
@given(
    st.lists(SENSE, min_size=1, max_size=8), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=5)
)
def test_damaged_frames(sent: list[bytes], damage: list[tuple[int, int]]) -> None:
    told = bytearray(HELLO + b"".join(sent))
    for place, byte in damage:
        told[place % len(told)] = byte
    line = Line(hello=b"")
    line.say(bytes(told))
    ends(line)


@FUZZ
@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
def test_random_bytes(sent: list[bytes], greeted: bool) -> None:
    line = Line(hello=HELLO if greeted else b"")
    line.say(*sent)
    ends(line)

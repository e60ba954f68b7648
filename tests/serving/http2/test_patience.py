"""How long a client may take, by looks at moments that the tests choose, and how many idle frames it may send."""

from __future__ import annotations

import pytest

from headway.serving.http2 import budget, frames
from headway.serving.http2.codes import Code
from headway.serving.http2.frames import END_HEADERS, frame, reset, window_update
from headway.serving.http2.since import Since
from tests.serving.http2.peers import (
    HELLO,
    SETTINGS,
    Line,
    answers_in,
    asks,
    block,
    data,
    goaway_of,
    headers,
    resets_in,
)

TIMEOUT_S, KEEP_ALIVE_S = 10.0, 100.0


@pytest.fixture
def line() -> Line:
    return Line()


def test_since() -> None:
    since = Since()
    assert [since.lasts_s(state, now) for state, now in ((1, 5.0), (1, 7.0), (2, 9.0), (2, 9.5))] == [0, 2, 0, 0.5]
    assert [since.lasts_s(state, now) for state, now in ((None, 10.0), (None, 20.0), (2, 21.0))] == [0, 0, 0]


UNFINISHED = {
    "no preface": b"",
    "half a preface": frames.PREFACE[:5],
    "no settings": frames.PREFACE,
    "half a frame": HELLO + headers(1)[:-1],
    "half a block": HELLO + frame(frames.HEADERS, 0, 1, block()),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_is_begun_must_be_ended_in_time(name: str) -> None:
    line = Line(hello=b"")
    line.say(UNFINISHED[name])
    line.connection.look(1000.0)
    line.connection.look(1000.0 + TIMEOUT_S - 1)
    assert not line.connection.is_over
    line.connection.look(1000.0 + TIMEOUT_S)
    assert goaway_of(line.heard()) == (0, Code.NO_ERROR)
    assert (line.wire.ended, line.wire.aborted) == (True, False)
    line.connection.look(1020.0)
    line.connection.look(1021.0)
    assert line.wire.aborted


def test_a_block_in_many_parts_is_one_block(line: Line) -> None:
    line.say(frame(frames.HEADERS, 0, 1, block()))
    for now in range(0, 11, 2):
        line.say(frame(frames.CONTINUATION, 0, 1, b""))
        line.connection.look(now)
    assert goaway_of(line.heard()) == (0, Code.NO_ERROR)


def test_frames_that_go_on_are_waited_for(line: Line) -> None:
    for place in range(8):
        sent = asks(2 * place + 1, b"a")
        line.say(sent[:5])
        line.connection.look(place * TIMEOUT_S)
        assert answers_in(line.say(sent[5:])) == {2 * place + 1: (200, b"a", True)}
    assert not line.connection.is_over


def test_a_request_that_is_not_whole_in_time_is_refused_and_others_are_not(line: Line) -> None:
    line.say(headers(1))
    line.connection.look(0.0)
    line.say(data(1, b"slow", end=False) + headers(3))
    line.connection.look(5.0)
    line.connection.look(TIMEOUT_S)
    told = line.heard()
    assert answers_in(told) == {1: (408, b"", True)}
    assert resets_in(told) == [(1, Code.NO_ERROR)]
    assert answers_in(line.say(data(3, b"in time"))) == {3: (200, b"in time", True)}
    assert line.is_clean()


def test_an_answer_that_is_not_taken_in_time_is_dropped(line: Line) -> None:
    line.say(asks(1, b"200000", b"/size"))
    line.connection.look(0.0)
    line.say(window_update(0, 100) + window_update(1, 100))
    line.connection.look(9.0)
    line.connection.look(18.0)
    assert resets_in(line.heard()) == []
    line.connection.look(19.0)
    assert resets_in(line.heard()) == [(1, Code.CANCEL)]
    assert line.is_clean()


def test_a_client_that_reads_nothing_is_dropped(line: Line) -> None:
    line.connection.pause_writing()
    for now, buffered, aborted in ((0, 900, False), (9, 800, False), (18, 800, False), (19, 800, True)):
        line.wire.buffered = buffered
        line.connection.look(now)
        assert line.wire.aborted is aborted


def test_one_that_asks_nothing_is_asked_to_leave(line: Line) -> None:
    line.say(asks(1, b"a"))
    line.connection.look(0.0)
    line.say(asks(3, b"a"))
    for now in range(1, 101, 33):
        line.say(frame(frames.PING, 0, 0, bytes(8)))
        line.connection.look(now)
    assert goaway_of(line.heard()) is None
    line.connection.look(101.0)
    assert goaway_of(line.heard()) == (2**31 - 1, Code.NO_ERROR)
    assert answers_in(line.say(asks(5, b"just now")))[5] == (200, b"just now", True)
    line.connection.look(102.0)
    line.connection.look(103.0)
    assert goaway_of(line.heard()) == (5, Code.NO_ERROR)
    assert line.wire.ended


def test_one_that_is_being_answered_is_not_idle(line: Line) -> None:
    line.say(asks(1, b"a", b"/turn"))
    for now in (0.0, KEEP_ALIVE_S, 2 * KEEP_ALIVE_S):
        line.connection.look(now)
    line.application.end_turn()
    assert answers_in(line.heard()) == {1: (200, b"a", True)}
    assert not line.connection.is_over


def test_last_bytes_that_are_still_taken_are_waited_for(line: Line) -> None:
    line.say(window_update(0, 0))
    for now, buffered in ((0, 500), (5, 400), (14, 300), (23, 0)):
        line.wire.buffered = buffered
        line.connection.look(now)
        assert not line.wire.aborted
    line.connection.look(24)
    assert line.wire.aborted


FLOODS = {
    "pings": frame(frames.PING, 0, 0, bytes(8)),
    "answers to pings": frame(frames.PING, frames.ACK, 0, bytes(8)),
    "settings": SETTINGS,
    "answers to settings": frame(frames.SETTINGS, frames.ACK, 0),
    "windows": window_update(0, 1),
    "priorities": frame(frames.PRIORITY, 0, 1, bytes(5)),
    "extensions": frame(0x77, 0, 0, b"x"),
    "goaways": frame(frames.GOAWAY, 0, 0, bytes(8)),
    "empty data": data(1, b"", end=False),
    "padding": frame(frames.DATA, frames.PADDED, 1, b"\x05\0\0\0\0\0"),
    "data of a stream that is over": data(3),
    "resets of a stream that is over": reset(3, Code.CANCEL),
    "trailers of a stream that is over": frame(frames.HEADERS, END_HEADERS, 3, b""),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_cut(name: str, line: Line) -> None:
    line.say(headers(1) + headers(3) + reset(3, Code.CANCEL))
    assert goaway_of(line.say(FLOODS[name] * (budget.MOST - 10))) is None
    assert goaway_of(line.say(FLOODS[name] * 20)) == (3, Code.ENHANCE_YOUR_CALM)
    assert line.connection.is_over
    assert line.is_clean()


@pytest.mark.parametrize("path", [b"/turn", b"/echo"])
def test_streams_that_are_opened_to_be_reset_are_cut(path: bytes, line: Line) -> None:
    """Whether or not anything was asked with them (CVE-2023-44487)."""
    numbers = range(1, 2 * budget.MOST + 3, 2)
    whole = path == b"/turn"
    sent = b"".join(headers(number, path, end=whole) + reset(number, Code.CANCEL) for number in numbers)
    told = goaway_of(line.say(sent))
    assert told is not None
    assert told[1] is Code.ENHANCE_YOUR_CALM
    line.application.end_turn()
    assert line.is_clean()


def test_malformed_requests_are_cut(line: Line) -> None:
    sent = b"".join(frame(frames.HEADERS, 5, number, b"\x83") for number in range(1, 2 * budget.MOST + 3, 2))
    said = line.say(sent)
    told = goaway_of(said), len(resets_in(said))
    assert told == ((2 * budget.MOST - 1, Code.ENHANCE_YOUR_CALM), budget.MOST)


@pytest.mark.parametrize("part", [b"", b"x" * 9000])
def test_blocks_without_end_are_cut(line: Line, part: bytes) -> None:
    """CVE-2024-27316."""
    told = line.say(frame(frames.HEADERS, 0, 1, block()) + frame(frames.CONTINUATION, 0, 1, part) * 9)
    assert goaway_of(told) == (0, Code.ENHANCE_YOUR_CALM)


def test_a_second_later_or_with_answers_there_is_more_to_spend(line: Line) -> None:
    ping = frame(frames.PING, 0, 0, bytes(8))
    for now in range(5):
        line.say(ping * (budget.MOST - 1))
        line.connection.look(now)
    for place in range(500):
        line.say(ping * budget.ANSWER + asks(2 * place + 1, b"a"))
    assert not line.connection.is_over

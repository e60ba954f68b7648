"""Frames of HTTP/2 as bytes: what is answered, and what ends a stream or the whole connection (RFC 9113)."""

from __future__ import annotations

import asyncio
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.http2 import frames
from headway.serving.http2.codes import Code
from headway.serving.http2.frames import END_HEADERS, END_STREAM, frame, goaway, reset, window_update
from headway.serving.http2.stream import Reply
from headway.serving.http2.streams import MOST_STREAMS
from tests.serving.http2.peers import (
    BODY_BYTES,
    HELLO,
    SETTINGS,
    Echo,
    Frame,
    Line,
    answers_in,
    asks,
    block,
    data,
    echoed,
    goaway_of,
    headers,
    resets_in,
)


@pytest.fixture
def line() -> Line:
    return Line()


def test_what_is_said_first() -> None:
    line = Line(hello=b"")
    first, window = line.heard()
    assert dict(frames.settings_in(first.payload)) == {
        frames.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        frames.INITIAL_WINDOW_SIZE: BODY_BYTES + frames.FRAME_BYTES,
        frames.MAX_HEADER_LIST_SIZE: 16384,
    }
    assert (window.kind, window.stream) == (frames.WINDOW_UPDATE, 0)
    assert line.say(HELLO) == [Frame(frames.SETTINGS, frames.ACK, 0, b"")]


def test_requests_are_answered(line: Line) -> None:
    told = answers_in(line.say(asks(1, b"one") + asks(3, b"") + asks(5, b"x" * 40_000)))
    assert told == {1: (200, b"one", True), 3: (200, b"", True), 5: (200, b"x" * 40_000, True)}
    assert line.is_clean()


def test_a_request_may_end_with_its_headers_or_behind_its_body(line: Line) -> None:
    trailers = frame(frames.HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x01a\x01b")
    told = answers_in(line.say(headers(1, end=True) + headers(3) + data(3, b"two", end=False) + trailers))
    assert told == {1: (200, b"", True), 3: (200, b"two", True)}


def test_padding_and_priorities_are_cut_off(line: Line) -> None:
    flags = END_HEADERS | frames.PADDED | frames.WITH_PRIORITY
    head = frame(frames.HEADERS, flags, 1, b"\x03" + b"\0\0\0\0\x10" + block() + b"\0\0\0")
    body = frame(frames.DATA, END_STREAM | frames.PADDED, 1, b"\x04body\0\0\0\0")
    assert answers_in(line.say(head + body)) == {1: (200, b"body", True)}


def test_a_block_may_come_in_parts(line: Line) -> None:
    whole = block()
    sent = frame(frames.HEADERS, END_STREAM, 1, whole[:3]) + frame(frames.CONTINUATION, 0, 1, whole[3:9])
    assert line.say(sent) == []
    assert answers_in(line.say(frame(frames.CONTINUATION, END_HEADERS, 1, whole[9:]))) == {1: (200, b"", True)}


PATHS = st.sampled_from([b"/echo", b"/nothing", b"/elsewhere"])
REQUESTS = st.lists(
    st.tuples(PATHS, st.binary(max_size=300) | st.just(b"y" * 20_000)),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(deadline=None)
@given(REQUESTS, st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_frames_cut_anywhere_say_the_same(requests: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    sent = b"".join(asks(2 * place + 1, body, path) for place, (path, body) in enumerate(requests))
    sent = HELLO + sent + frame(frames.PING, 0, 0, b"12345678")
    whole, cut = Line(hello=b""), Line(hello=b"")
    told, at = [], 0
    for size in sizes * (len(sent) // sum(sizes) + 1):
        told += cut.say(sent[at : at + size])
        at += size
    assert at >= len(sent)
    said = whole.say(sent)
    assert answers_in(told) == answers_in(said)
    assert len(answers_in(said)) == len(requests)
    assert sorted(each for each in told if not each.stream) == sorted(each for each in said if not each.stream)
    assert cut.is_clean()


def test_byte_by_byte() -> None:
    line, sent = Line(hello=b""), HELLO + asks(1, b"slowly")
    assert answers_in([each for at in range(len(sent)) for each in line.say(sent[at : at + 1])]) == {
        1: (200, b"slowly", True)
    }


def test_a_ping_is_answered(line: Line) -> None:
    assert line.say(frame(frames.PING, 0, 0, b"what now")) == [Frame(frames.PING, frames.ACK, 0, b"what now")]


def test_what_is_not_known_is_overlooked(line: Line) -> None:
    unknown = frame(0x42, 0xFF, 7, b"future") + frame(frames.PRIORITY, 0, 9, b"\0\0\0\0\1")
    assert line.say(unknown + frames.settings([(0x99, 5)])) == [Frame(frames.SETTINGS, frames.ACK, 0, b"")]


def test_the_reserved_bit_is_overlooked(line: Line) -> None:
    assert answers_in(line.say(headers(1 | 1 << 31, end=True))) == {1: (200, b"", True)}


BREAKS = {
    "no preface": (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR),
    "no settings first": (frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "too large a frame": (HELLO + frame(frames.DATA, 0, 1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "even stream": (HELLO + headers(2), Code.PROTOCOL_ERROR),
    "headers of nothing": (HELLO + headers(0), Code.PROTOCOL_ERROR),
    "data of nothing": (HELLO + data(0, b"x"), Code.PROTOCOL_ERROR),
    "data before headers": (HELLO + data(1, b"x"), Code.PROTOCOL_ERROR),
    "reset before headers": (HELLO + reset(1, Code.CANCEL), Code.PROTOCOL_ERROR),
    "reset of the connection": (HELLO + reset(0, Code.CANCEL), Code.PROTOCOL_ERROR),
    "reset of three bytes": (HELLO + headers(1) + frame(frames.RST_STREAM, 0, 1, b"abc"), Code.FRAME_SIZE_ERROR),
    "window before headers": (HELLO + window_update(1, 5), Code.PROTOCOL_ERROR),
    "window of nothing": (HELLO + window_update(0, 0), Code.PROTOCOL_ERROR),
    "window too wide": (HELLO + window_update(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "window of five bytes": (HELLO + frame(frames.WINDOW_UPDATE, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
    "settings of a stream": (HELLO + frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "settings of five bytes": (HELLO + frame(frames.SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
    "an answer to settings": (HELLO + frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "initial window": (HELLO + frames.settings([(frames.INITIAL_WINDOW_SIZE, 2**31)]), Code.FLOW_CONTROL_ERROR),
    "small frames": (HELLO + frames.settings([(frames.MAX_FRAME_SIZE, 16383)]), Code.PROTOCOL_ERROR),
    "large frames": (HELLO + frames.settings([(frames.MAX_FRAME_SIZE, 2**24)]), Code.PROTOCOL_ERROR),
    "push": (HELLO + frames.settings([(frames.ENABLE_PUSH, 2)]), Code.PROTOCOL_ERROR),
    "a promise": (HELLO + frame(frames.PUSH_PROMISE, END_HEADERS, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "ping of a stream": (HELLO + frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "ping of seven bytes": (HELLO + frame(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "goaway of a stream": (HELLO + frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "priority of nothing": (HELLO + frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "priority of four bytes": (HELLO + frame(frames.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "only padding": (HELLO + headers(1) + frame(frames.DATA, frames.PADDED, 1, b"\x02ab"[:2]), Code.PROTOCOL_ERROR),
    "no padding": (HELLO + headers(1) + frame(frames.DATA, frames.PADDED, 1), Code.PROTOCOL_ERROR),
    "short priority": (HELLO + frame(frames.HEADERS, 0x24, 1, b"abc"), Code.FRAME_SIZE_ERROR),
    "continuing nothing": (HELLO + frame(frames.CONTINUATION, END_HEADERS, 1, block()), Code.PROTOCOL_ERROR),
    "a block that is interrupted": (HELLO + frame(frames.HEADERS, 0, 1, block()) + data(1), Code.PROTOCOL_ERROR),
    "a block that goes on elsewhere": (
        HELLO + frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, END_HEADERS, 3, block()),
        Code.PROTOCOL_ERROR,
    ),
    "a block that cannot be read": (HELLO + frame(frames.HEADERS, END_HEADERS, 1, b"\x80"), Code.COMPRESSION_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_the_connection(name: str) -> None:
    sent, code = BREAKS[name]
    line = Line(hello=b"")
    told = goaway_of(line.say(sent))
    assert told is not None
    assert told[1] is code
    assert line.wire.ended
    assert line.connection.is_over
    assert line.say(asks(99, b"more")) == []
    assert line.is_clean()


def test_answers_that_are_owed_come_before_the_end(line: Line) -> None:
    told = line.say(asks(1, b"first", b"/turn") + window_update(0, 0))
    assert answers_in(told) == {1: (200, b"first", True)}
    assert goaway_of(told) == (1, Code.PROTOCOL_ERROR)


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    literals = b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in pairs)
    return frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, literals)


POST, HTTP, PATH = (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/echo")
MALFORMED = {
    "no method": fields(HTTP, PATH),
    "no scheme": fields(POST, PATH),
    "no path": fields(POST, HTTP),
    "empty path": fields(POST, HTTP, (b":path", b"")),
    "two paths": fields(POST, HTTP, PATH, PATH),
    "pseudo behind": fields(POST, HTTP, (b"a", b"b"), PATH),
    "status": fields(POST, HTTP, PATH, (b":status", b"200")),
    "capitals": fields(POST, HTTP, PATH, (b"Name", b"b")),
    "space in a name": fields(POST, HTTP, PATH, (b"na me", b"b")),
    "no name": fields(POST, HTTP, PATH, (b"", b"b")),
    "line feed": fields(POST, HTTP, PATH, (b"a", b"b\nc")),
    "NUL in a path": fields(POST, HTTP, (b":path", b"/a\0b")),
    "connection": fields(POST, HTTP, PATH, (b"connection", b"close")),
    "chunked": fields(POST, HTTP, PATH, (b"transfer-encoding", b"chunked")),
    "te": fields(POST, HTTP, PATH, (b"te", b"gzip")),
    "length": fields(POST, HTTP, PATH, (b"content-length", b"-1")),
    "another length": headers(1, b"/echo", (b"content-length", b"4")) + data(1, b"three"),
    "trailers that do not end": headers(1) + headers(1),
    "pseudo in trailers": headers(1) + headers(1, end=True),
    "a stream's window": headers(1) + window_update(1, 0),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_breaks_one_stream(name: str, line: Line) -> None:
    told = line.say(MALFORMED[name] + asks(3, b"goes on"))
    assert resets_in(told) == [(1, Code.PROTOCOL_ERROR)]
    assert answers_in(told)[3] == (200, b"goes on", True)
    assert line.application.answered == [b"goes on"]
    assert line.is_clean()


def test_a_window_that_overflows_ends_its_stream(line: Line) -> None:
    told = line.say(headers(1) + window_update(1, 2**31 - 1) + asks(3, b"goes on"))
    assert resets_in(told) == [(1, Code.FLOW_CONTROL_ERROR)]
    assert answers_in(told)[3][1] == b"goes on"


def test_more_behind_the_end_is_refused_while_the_answer_is_awaited(line: Line) -> None:
    line.say(asks(1, b"a", b"/turn") + data(1, b"b"))
    line.application.end_turn()
    told = line.heard()
    assert resets_in(told) == [(1, Code.STREAM_CLOSED)]
    assert answers_in(told) == {}
    assert line.is_clean()


def test_what_is_on_the_way_to_a_stream_that_is_over_is_overlooked(line: Line) -> None:
    line.say(asks(1, b"a"))
    assert line.say(data(1, b"b") + window_update(1, 5) + reset(1, Code.CANCEL)) == []
    assert answers_in(line.say(asks(3, b"c"))) == {3: (200, b"c", True)}


def test_a_refusal_by_the_head_is_said_at_once_and_stops_the_body(line: Line) -> None:
    told = line.say(headers(1, b"/nothing"))
    assert answers_in(told) == {1: (404, b"", True)}
    assert resets_in(told) == [(1, Code.NO_ERROR)]
    assert line.say(data(1, b"too late")) == []
    assert line.is_clean()


def test_a_body_that_is_too_large_is_refused_and_no_more_of_it_kept(line: Line) -> None:
    told = line.say(asks(1, b"x" * BODY_BYTES))
    assert answers_in(told)[1] == (200, b"x" * 65535, False)  # as far as the first window goes
    told = line.say(window_update(0, 2**20) + window_update(1, 2**20) + asks(3, b"x" * (BODY_BYTES + 1)))
    assert answers_in([each for each in told if each.stream == 3]) == {3: (413, b"", True)}
    told = line.say(headers(5) + b"".join(data(5, b"x" * 16384, end=False) for _ in range(9)))
    assert answers_in([each for each in told if each.stream == 5]) == {5: (413, b"", True)}
    assert resets_in(told) == [(5, Code.NO_ERROR)]
    assert line.is_clean()


def test_bodies_that_are_not_whole_are_bounded_together(line: Line) -> None:
    part = b"x" * frames.FRAME_BYTES
    sent = [
        headers(number) + data(number, part, end=False) + data(number, part, end=False) for number in range(1, 31, 2)
    ]
    told = line.say(*sent)
    assert {status for status, *_ in answers_in(told).values()} == {429}
    assert line.connection.streams._held <= 4 * BODY_BYTES


def test_what_is_on_the_way_to_a_refused_stream_is_not_held_against_a_client(line: Line) -> None:
    line.say(headers(1, b"/nothing"))
    assert line.say(data(1, b"x", end=False) * 5000) == []
    assert not line.connection.is_over


def test_so_many_streams_and_no_more(line: Line) -> None:
    line.say(b"".join(headers(2 * place + 1) for place in range(MOST_STREAMS)))
    extra = 2 * MOST_STREAMS + 1
    assert resets_in(line.say(headers(extra, end=True))) == [(extra, Code.REFUSED_STREAM)]
    assert answers_in(line.say(data(1, b"one"))) == {1: (200, b"one", True)}
    assert answers_in(line.say(headers(extra + 2, end=True)))[extra + 2][0] == 200


def test_a_stream_that_is_cancelled_is_not_answered(line: Line) -> None:
    line.say(asks(1, b"a", b"/turn") + asks(3, b"b", b"/turn") + headers(5) + data(5, b"c", end=False))
    assert line.say(reset(1, Code.CANCEL) + reset(5, Code.CANCEL)) == []
    line.application.end_turn()
    assert answers_in(line.heard()) == {3: (200, b"b", True)}
    assert line.is_clean()


def test_what_one_read_brings_is_written_at_once(line: Line) -> None:
    written: list[bytes] = []
    line.wire.write = written.append  # type: ignore[method-assign]
    line.say(b"".join(asks(number, b"a", b"/turn") for number in (1, 3, 5)) + frame(frames.PING, 0, 0, bytes(8)))
    assert written == []
    line.application.end_turn()
    assert len(written) == 1


def test_heads_are_read_once_while_the_table_stays(line: Line) -> None:
    line.say(b"".join(asks(number, b"a") for number in (1, 3, 5)))
    assert line.application.heads == 1
    path = b"\x44\x05/echo"  # a literal that is remembered: the same bytes mean the same, the next index another
    head = b"\x83\x86" + path
    remembered = [frame(frames.HEADERS, END_HEADERS | END_STREAM, number, head) for number in (7, 9)]
    assert set(answers_in(line.say(b"".join(remembered)))) == {7, 9}
    assert line.application.heads == 3
    indexed = [frame(frames.HEADERS, END_HEADERS | END_STREAM, number, b"\x83\x86\xbe") for number in (11, 13)]
    line.say(b"".join(indexed))
    assert line.application.heads == 4
    other = frame(frames.HEADERS, END_HEADERS | END_STREAM, 15, b"\x83\x86\x44\x08/nothing")
    again = frame(frames.HEADERS, END_HEADERS | END_STREAM, 17, b"\x83\x86\xbe")
    assert [status for status, *_ in answers_in(line.say(other + again)).values()] == [404, 404]


def test_metadata_that_is_too_large_is_refused_and_the_connection_goes_on(line: Line) -> None:
    many = tuple((b"name-%d" % place, b"v" * 100) for place in range(120))
    told = line.say(headers(1, b"/echo", *many, end=True) + asks(3, b"goes on"))
    assert {stream: status for stream, (status, *_) in answers_in(told).items()} == {1: 431, 3: 200}


def test_an_application_that_fails_is_said_so(line: Line) -> None:
    told = answers_in(line.say(asks(1, b"a", b"/fails") + asks(3, b"b")))
    assert (told[1][0], told[3][0]) == (500, 200)


def test_answers_that_take_longer_come_when_they_are_there() -> None:
    async def ask() -> None:
        line = Line(Echo())
        assert line.say(asks(1, b"", b"/later") + asks(3, b"", b"/later") + asks(5, b"quick"))[0].stream == 5
        await asyncio.sleep(0)
        first, second = line.application.later
        second.set_result(echoed(b"second"))
        first.set_exception(RuntimeError("something unforeseen"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        told = answers_in(line.heard())
        assert (told[3], told[1][0]) == ((200, b"second", True), 500)
        assert line.is_clean()

    asyncio.run(ask())


def test_what_a_turn_owes_may_come_later_and_keeps_nobody() -> None:
    async def ask() -> None:
        line = Line(Echo())
        line.say(asks(1, b"", b"/turn-later") + asks(3, b"b", b"/turn") + asks(5, b"", b"/turn-later"))
        line.application.end_turn()
        assert answers_in(line.heard()) == {3: (200, b"b", True)}
        await asyncio.sleep(0)
        assert line.say(reset(1, Code.CANCEL)) == []
        first, second = line.application.later
        second.set_result(echoed(b"second"))
        first.set_result(echoed(b"first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answers_in(line.heard()) == {5: (200, b"second", True)}
        assert line.is_clean()

    asyncio.run(ask())


def test_a_client_that_goes_while_a_turn_owes_it_something_keeps_nothing() -> None:
    async def ask() -> None:
        line = Line(Echo())
        line.say(asks(1, b"", b"/turn-later"))
        line.lose()
        line.application.end_turn()
        await asyncio.sleep(0)
        line.application.later[0].set_result(echoed(b"first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert line.heard() == []
        assert line.is_clean()

    asyncio.run(ask())


def test_one_that_is_cancelled_while_it_is_answered_counts_until_it_is() -> None:
    async def ask() -> None:
        line = Line(Echo())
        line.say(asks(1, b"", b"/later"))
        await asyncio.sleep(0)
        assert line.say(reset(1, Code.CANCEL)) == []
        assert len(line.connection.streams.open) == 1
        line.application.later[0].set_result(Reply(b"\x88"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert line.heard() == []
        assert line.is_clean()

    asyncio.run(ask())


def test_a_client_that_half_closes_gets_its_answers() -> None:
    async def ask() -> None:
        line = Line(Echo())
        line.say(asks(1, b"a", b"/turn") + asks(3, b"", b"/turn-later"))
        await asyncio.sleep(0)
        assert line.connection.eof_received()
        assert answers_in(line.heard()) == {1: (200, b"a", True)}
        line.application.later[0].set_result(echoed(b"b"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answers_in(line.heard()) == {3: (200, b"b", True)}
        assert line.wire.ended

    asyncio.run(ask())
    assert not Line().connection.eof_received()


def test_a_connection_that_is_lost_keeps_nothing(line: Line) -> None:
    line.say(asks(1, b"a", b"/turn") + headers(3) + data(3, b"c", end=False) + asks(5, b"99999", b"/size"))
    line.lose()
    line.application.end_turn()
    assert line.is_clean()
    assert not line.place.connections
    assert line.say(SETTINGS) == []


def test_a_connection_that_is_lost_is_freed_at_once(line: Line) -> None:
    """Without a collector, which may run much later."""
    line.say(asks(1, b"a", b"/turn") + headers(3) + asks(5, b"99999", b"/size"))
    line.lose()
    connection, line.connection = weakref.ref(line.connection), None  # type: ignore[assignment]
    assert connection() is None


def test_leaving_takes_two_steps(line: Line) -> None:
    line.say(asks(1, b"a", b"/turn"))
    line.connection.drain()
    line.connection.drain()
    told = line.say(asks(3, b"b", b"/turn"))  # it has not heard yet
    line.application.end_turn()
    told += line.heard()
    assert goaway_of(told) == (2**31 - 1, Code.NO_ERROR)
    assert set(answers_in(told)) == {1, 3}
    assert not line.connection.is_over
    [ping] = [each for each in told if each.kind == frames.PING]
    line.say(asks(5, b"c", b"/turn"))
    line.say(frame(frames.PING, frames.ACK, 0, ping.payload) + headers(7))
    line.application.end_turn()
    told = line.heard()
    assert resets_in(told) == [(7, Code.REFUSED_STREAM)]
    assert goaway_of(told) == (5, Code.NO_ERROR)
    assert line.connection.is_over
    assert set(answers_in(told)) == {5}
    assert line.wire.ended


def test_one_that_is_over_is_not_told_to_leave(line: Line) -> None:
    line.say(window_update(0, 0))
    assert line.connection.is_over
    line.connection.drain()
    line.connection.look(0.0)
    assert line.heard() == []


def test_one_that_has_said_nothing_is_closed() -> None:
    line = Line(hello=b"")
    line.connection.drain()
    assert line.wire.ended


def test_a_client_may_say_that_it_goes(line: Line) -> None:
    told = line.say(asks(1, b"a") + goaway(0, Code.NO_ERROR))
    assert answers_in(told) == {1: (200, b"a", True)}
    assert not line.wire.ended

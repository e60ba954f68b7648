"""Flow control, against the client of the h2 package, which counts every byte itself."""

from __future__ import annotations

import asyncio

import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.http2 import frames
from headway.serving.http2.codes import Code
from headway.serving.http2.flow import Receiving
from headway.serving.http2.frames import reset, window_update
from tests.serving.http2.peers import (
    BODY_BYTES,
    HELLO,
    Client,
    Echo,
    Line,
    answers_in,
    asks,
    echoed,
    goaway_of,
    headers,
    resets_in,
)

INITIAL_WINDOW_SIZE = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
LARGE = 300_000


def size(number: int) -> bytes:
    return b"%d" % number


def told(client: Client, stream: int) -> int:
    return len(client.bodies.get(stream, b""))


def test_a_large_answer_goes_as_far_as_the_window_and_then_on() -> None:
    client = Client()
    stream = client.ask(size(LARGE), b"/size")
    assert told(client, stream) == frames.INITIAL_WINDOW
    client.widen(100_000)
    assert told(client, stream) == frames.INITIAL_WINDOW
    client.widen(50_000, stream)
    assert told(client, stream) == frames.INITIAL_WINDOW + 50_000
    client.widen(LARGE, stream)
    assert told(client, stream) == frames.INITIAL_WINDOW + 100_000
    assert stream not in client.ended
    client.widen(LARGE)
    assert told(client, stream) == LARGE
    assert stream in client.ended
    assert client.line.is_clean()


def test_frames_are_as_large_as_the_client_takes() -> None:
    client = Client()
    client.h2.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 40_000})
    client.exchange()
    client.widen(LARGE)
    client.ask(size(60_000), b"/size")
    assert [len(event.data) for event in client.events if hasattr(event, "data")] == [40_000, 20_000]


def test_a_window_that_shrinks_below_nothing_opens_again() -> None:
    client = Client()
    client.widen(LARGE)
    stream = client.ask(size(LARGE), b"/size")
    assert told(client, stream) == frames.INITIAL_WINDOW
    client.h2.update_settings({INITIAL_WINDOW_SIZE: 10})
    client.exchange()
    client.widen(frames.INITIAL_WINDOW - 10, stream)
    assert told(client, stream) == frames.INITIAL_WINDOW
    client.widen(7, stream)
    assert told(client, stream) == frames.INITIAL_WINDOW + 7
    client.h2.update_settings({INITIAL_WINDOW_SIZE: LARGE})
    client.exchange()
    assert told(client, stream) == LARGE


def test_small_answers_wait_behind_the_window_of_the_connection() -> None:
    client = Client()
    first, second = client.ask(size(frames.INITIAL_WINDOW - 5), b"/size"), client.ask(b"0123456789")
    assert (told(client, first), told(client, second)) == (frames.INITIAL_WINDOW - 5, 5)
    third = client.ask(b"abc")
    assert third not in client.ended
    client.widen(100)
    assert {first, second, third} <= client.ended
    assert client.bodies[third] == b"abc"


def test_large_answers_that_come_later_are_sent_without_a_word_of_the_client() -> None:
    line = Line()
    line.say(asks(1, b"y" * 40_000, b"/turn"))
    line.application.end_turn()
    assert answers_in(line.heard()) == {1: (200, b"y" * 40_000, True)}

    async def ask() -> None:
        line = Line()
        line.say(asks(1, b"", b"/later"))
        await asyncio.sleep(0)
        line.application.later[0].set_result(echoed(b"y" * 40_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answers_in(line.heard()) == {1: (200, b"y" * 40_000, True)}

    asyncio.run(ask())


def test_small_answers_overtake_those_whose_own_window_is_shut() -> None:
    line = Line()
    line.say(window_update(0, 2**20) + asks(1, size(BODY_BYTES), b"/size") + asks(3, b"small", b"/turn"))
    line.application.end_turn()
    assert answers_in(line.heard()) == {1: (200, b"x" * frames.INITIAL_WINDOW, False), 3: (200, b"small", True)}


def test_while_answers_are_not_taken_no_more_is_answered() -> None:
    line = Line()
    told = line.say(*(asks(number, size(BODY_BYTES), b"/size") for number in range(1, 21, 2)))
    assert resets_in(told) == [(number, Code.REFUSED_STREAM) for number in range(11, 21, 2)]
    line.say(reset(1, Code.CANCEL) + reset(3, Code.CANCEL))
    assert answers_in(line.say(headers(21, end=True)))[21][0] == 200
    wide = b"".join(window_update(number, 2**20) for number in (5, 7, 9))
    told = line.say(window_update(0, 2**20) + wide)
    assert {number for number, (*_, whole) in answers_in(told).items() if whole} == {5, 7, 9}
    assert line.connection.out.held == 0


def test_one_that_is_cancelled_gives_its_place_to_others() -> None:
    client = Client()
    first = client.ask(size(LARGE), b"/size")
    second = client.ask(size(20_000), b"/size")
    client.h2.reset_stream(first)
    client.widen(50_000)
    assert second in client.ended
    assert client.line.is_clean()


def test_a_client_that_remembers_nothing_is_told_so() -> None:
    """A table of no bytes is agreed upon in front of the next block; h2 holds the server to that."""
    client = Client()
    client.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    client.exchange()
    assert client.bodies[client.ask(b"one")] == b"one"
    assert client.bodies[client.ask(b"two")] == b"two"


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([1, 100, 16_384, 65_536, 90_000]), min_size=1, max_size=4),
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 70_000)), max_size=12),
    st.lists(st.integers(0, 100_000), max_size=3),
)
def test_answers_are_whole_whatever_the_windows(
    sizes: list[int], widenings: list[tuple[bool, int, int]], initials: list[int]
) -> None:
    """h2 refuses every byte that its windows do not take."""
    client = Client()
    streams = [client.ask(size(number), b"/size") for number in sizes]
    for initial in initials:
        client.h2.update_settings({INITIAL_WINDOW_SIZE: initial})
        client.exchange()
    for of_connection, place, more in widenings:
        stream = streams[place % len(streams)]
        if of_connection:
            client.widen(more)
        elif stream not in client.ended:
            client.widen(more, stream)
    client.widen(2**20)
    for stream in streams:
        if stream not in client.ended:
            client.widen(2**20, stream)
    assert [client.bodies[stream] for stream in streams] == [b"x" * number for number in sizes]
    assert client.ended == set(streams)
    assert client.line.is_clean()


def test_tiny_windows_are_not_held_against_a_client_that_takes_its_answer() -> None:
    client = Client()
    client.h2.update_settings({INITIAL_WINDOW_SIZE: 0})
    client.exchange()
    stream = client.ask(size(3000), b"/size")
    for _ in range(3000):
        client.widen(1, stream)
    assert stream in client.ended


def test_bodies_go_through_windows_of_the_server() -> None:
    """Much more than any window, by a client that waits for each."""
    client = Client(Echo(2**20))
    body = b"y" * 2**20
    for _ in range(20):
        stream = client.ask(body)
        client.widen(2**20)
        client.widen(2**20, stream)
        assert client.bodies.pop(stream) == body


def test_the_window_of_the_connection_is_opened_again_at_half() -> None:
    window = Receiving()
    assert [window.take(size) for size in (2**23, 1, 16384)] == [0, 2**23 + 1, 0]


def test_an_initial_window_that_is_too_wide_for_an_open_stream() -> None:
    line = Line()
    sent = headers(1) + frames.window_update(1, 2**30) + frames.settings([(frames.INITIAL_WINDOW_SIZE, 2**30)])
    assert goaway_of(line.say(sent)) == (1, Code.FLOW_CONTROL_ERROR)


def test_a_client_that_is_behind_is_not_sent_more() -> None:
    line = Line(Echo(), HELLO + frames.settings([(frames.INITIAL_WINDOW_SIZE, 2**30)]) + frames.window_update(0, 2**30))
    line.connection.pause_writing()
    assert not line.wire.reads
    head = line.say(asks(1, size(10**7), b"/size"))
    assert answers_in(head) == {1: (200, b"", False)}
    line.wire.write = lambda data: (line.wire.sent.extend(data), line.connection.pause_writing())  # type: ignore
    line.connection.resume_writing()
    sent = answers_in(line.heard())[1]
    assert 0 < len(sent[1]) <= 2**18 + frames.FRAME_BYTES
    assert not sent[2]
    del line.wire.write
    line.connection.resume_writing()
    assert len(answers_in(line.heard())[1][1]) == 10**7 - len(sent[1])
    assert line.is_clean()
    assert BODY_BYTES < 10**7

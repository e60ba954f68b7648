"""The streams of one connection: requests as they come, until each is answered (RFC 9113, 5 and 8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from headway.serving.http2 import frames
from headway.serving.http2.blocks import Blocks
from headway.serving.http2.budget import ANSWER, Budget
from headway.serving.http2.codes import Code, ConnectionFault, StreamFault
from headway.serving.http2.outgoing import Outgoing
from headway.serving.http2.stream import Application, Reply, Stream

MOST_STREAMS = 256
"""Requests on the way at once; a client may send further ones again."""
MOST_HELD = 4
"""How many bodies of the largest size may be held: of requests that are not whole, and of answers that wait for the
client to widen its windows."""
_TOO_LARGE = "the request is larger than is taken here"

log = logging.getLogger(__name__)


class Streams:
    """`flush` sends what has been put out."""

    def __init__(self, application: Application, out: Outgoing, peer: bytes, flush: Callable[[], None]) -> None:
        self.blocks, self.budget, self.last, self.owed = Blocks(application), Budget(), 0, 0
        """`last` is the newest stream; `owed` are the answers that come at the end of this turn."""
        self.open: dict[int, Stream] = {}
        self.is_closed = False
        """Whether further ones are refused."""
        self._application, self._out, self._peer, self._flush = application, out, peer, flush
        self._answer, self._arrived_ns = application.answer, application.arrived_ns
        self._body_bytes, self._held = application.most_bytes, 0
        self._tasks: set[asyncio.Task[None]] = set()

    # What the client sends.

    def begin(self, number: int, block: bytes, ended: int) -> None:
        """A request, or what stands behind one."""
        if number <= self.last:
            self._take_trailers(number, block, ended)
            return
        self.last = number
        asked, size = self.blocks.opened(block)
        if self.is_closed or len(self.open) >= MOST_STREAMS or self._out.held > self._body_bytes * MOST_HELD:
            raise StreamFault(Code.REFUSED_STREAM)
        stream = self.open[number] = Stream(self, number, asked, size, self._peer, self._arrived_ns())
        if ended:
            self._answer_whole(stream, b"")
        elif type(asked) is Reply:
            self._say(stream, asked)

    def take(self, number: int, payload: bytes, ended: int) -> None:
        """A part of a body."""
        stream = self.open.get(number)
        if stream is None or stream.ended:
            self._stray(number, free=bool(payload))
        elif ended:
            self._answer_whole(stream, stream.body + payload if stream.body else payload)
        else:
            self._hold(stream, payload)

    def drop(self, number: int) -> None:
        """The client does not wait for the answer any more."""
        if stream := self.opened(number):
            self._drop(stream)

    def opened(self, number: int) -> Stream | None:
        """None if it is over; raises `ConnectionFault` if it has not begun."""
        if number > self.last or not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"there is no stream {number} yet")
        return self.open.get(number)

    def _take_trailers(self, number: int, block: bytes, ended: int) -> None:
        self.blocks.check_trailers(block)
        stream = self.open.get(number)
        if stream is None or stream.ended:
            self._stray(number)
        elif ended:
            self._answer_whole(stream, stream.body)
        else:
            raise StreamFault(Code.PROTOCOL_ERROR)

    def _stray(self, number: int, *, free: bool = False) -> None:
        """Something came for a stream that takes nothing any more. Where that was ended here, it was on the way."""
        stream = self.opened(number)
        if stream and not stream.gone:
            raise StreamFault(Code.STREAM_CLOSED)
        if not free:
            self.budget.spend()

    def _hold(self, stream: Stream, payload: bytes) -> None:
        if not payload:
            self.budget.spend()
        if not stream.body:
            stream.body = bytearray()
        stream.body += payload
        self._held += len(payload)
        if len(stream.body) > self._body_bytes:
            self.refuse(stream, 413, _TOO_LARGE)
        elif self._held > self._body_bytes * MOST_HELD:
            self.refuse(stream, 429, "too much is being sent at once; send fewer requests at a time")

    def _answer_whole(self, stream: Stream, body: bytes | bytearray) -> None:
        if stream.size is not None and stream.size != len(body):
            raise StreamFault(Code.PROTOCOL_ERROR)
        stream.ended = True
        if len(body) > self._body_bytes:
            self.refuse(stream, 413, _TOO_LARGE)
            return
        if type(stream.asked) is Reply:
            self._say(stream, stream.asked)
            return
        try:
            said = self._answer(stream.asked, bytes(body), stream)
        except Exception:
            said = self._failed()
        if said is None:
            self.owed += 1
        else:
            self._give(stream, said)

    # What it is answered.

    def _give(self, stream: Stream, reply: Reply | Awaitable[Reply]) -> None:
        if isinstance(reply, Reply):
            self._say(stream, reply)
        else:
            self._tasks.add(asyncio.get_running_loop().create_task(self._answer_later(stream, reply)))

    async def _answer_later(self, stream: Stream, answer: Awaitable[Reply]) -> None:
        try:
            said = await answer
        except Exception:
            said = self._failed()
        self._say(stream, said)
        self._flush()
        if task := asyncio.current_task():
            self._tasks.discard(task)

    def _failed(self) -> Reply:
        log.exception("request failed")
        return self._application.refuse(500, "the server failed on this request")

    def tell(self, stream: Stream, reply: Reply | Awaitable[Reply]) -> None:
        """Say what was put off."""
        self.owed -= 1
        self._give(stream, reply)
        if not self.owed:
            self._flush()

    def refuse(self, stream: Stream, status: int, reason: str) -> None:
        self._say(stream, self._application.refuse(status, reason))

    def _say(self, stream: Stream, reply: Reply) -> None:
        if stream.gone:
            self._forget(stream)
            return
        self.budget.earn(ANSWER)
        if not self._out.reply(stream, reply):
            return
        if not stream.ended:
            self._out.put(frames.reset(stream.number, Code.NO_ERROR))
        self._forget(stream)

    def pump(self) -> None:
        """Go on with the answers that wait for their windows."""
        count, done = self._out.pump()
        self.budget.earn(count)
        for stream in done:
            self._forget(stream)

    # Ends.

    def reset(self, number: int, code: Code) -> None:
        self._out.put(frames.reset(number, code))
        if stream := self.open.get(number):
            self._drop(stream)

    def abandon(self) -> None:
        """Nobody waits for any of them."""
        for stream in list(self.open.values()):
            self._drop(stream)
        self.open.clear()

    def lose(self) -> None:
        """There is nobody to send to. Without the way back, what is left is freed at once, and not when it is next
        looked for circles."""
        self.abandon()
        self._flush = _nothing

    def settle(self) -> None:
        """Say now what is owed at the end of this turn."""
        if self.owed:
            self._application.end_turn()

    def _drop(self, stream: Stream) -> None:
        """One that is being answered counts as on the way until it is."""
        stream.gone = True
        if not stream.ended or stream.rest is not None:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self.open.pop(stream.number, None)
        if stream.rest is not None:
            self._out.forget(stream)
        if stream.body:
            self._held -= len(stream.body)
            stream.body = b""


def _nothing() -> None:
    pass

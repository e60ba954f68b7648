"""What the model server answers to which path, whatever carries the request: the core behind every front."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import Any

from headway.errors import HeadwayError, TooLarge, Unavailable
from headway.serving.capture.queue import Capture
from headway.serving.counters import ServerCounters, ServerStatus, WorkerStatus
from headway.serving.dialects.dialect import Dialect
from headway.serving.dialects.mlflow import MLFLOW, is_parquet
from headway.serving.dialects.parquet import ParquetRequests
from headway.serving.dialects.predict import PREDICTION
from headway.serving.dialects.protocol import encode, encode_error
from headway.serving.heap import resident_bytes
from headway.serving.http.encodings import LEAST_BYTES, decoded, packed_later
from headway.serving.inference import Inference, status_of
from headway.serving.loaded import LoadedTable
from headway.serving.messages import JSON, Answer, Head
from headway.serving.pages import Pages, model_path, not_allowed
from headway.serving.quick import QuickOpenInference
from headway.serving.router import Router
from headway.serving.siblings import Siblings
from headway.serving.snapshots import Snapshot, Totals, total
from headway.serving.turn import MOST_BYTES as TURN_BYTES
from headway.serving.turn import Tell, Turn
from headway.serving.watch import Watch

METRICS = b"text/plain; version=0.0.4; charset=utf-8"
_PREDICT = "/v1/predict/"
TOTALS = ("/v1/status", "/metrics")
OPEN = QuickOpenInference()


class Responder:
    """Answers at once where it can, so that the usual request costs no task; `most_bytes` bounds a body."""

    def __init__(
        self,
        router: Router,
        inference: Inference,
        counters: ServerCounters,
        capture: Capture,
        most_bytes: int,
        siblings: Siblings | None = None,
        parquet: ParquetRequests | None = None,
        turn: Turn | None = None,
        watch: Watch | None = None,
        must_load: bool = False,
        ends: int = 0,
    ) -> None:
        self._must_load, self._ends = must_load, ends
        self._parquet = parquet
        self._router, self._counters, self._capture, self._siblings = router, counters, capture, siblings
        self.inference, self.door, self.most_bytes = inference, inference.door, most_bytes
        self.turn, self._watch = turn or Turn(), watch or Watch()
        self.about = Pages(router, counters)

    async def start(self) -> None:
        """Load the routing table, then keep watching it and keep writing what is captured. Raises what is wrong with
        the table if the first one must load."""
        if self._siblings and (before := self._siblings.before()):
            self._counters.resume(before.releases)
            self._capture.resume(before.capture)
        await self._router.refresh()
        if self._must_load and self._router.failure is not None:
            raise self._router.failure
        self._watch.add(self._router)
        self._flushing = asyncio.create_task(self._capture.run())

    async def meet(self) -> None:
        """Be known to the other workers from now on."""
        if self._siblings:
            await self._siblings.start(self.snapshot, lambda: self._capture.flush(at_once=True))
            self._capture.on_written = self._siblings.keep

    async def stop(self) -> None:
        """Return once all that was captured is written, and no worker is left."""
        self._capture.close()
        await self._watch.remove(self._router)
        await self._flushing
        await asyncio.to_thread(self._router.close)
        if self._siblings:
            await self._siblings.stop()

    def put_off(self, path: str, head: Head, body: bytes, peer: bytes, tell: Tell) -> bool:
        """Whether `tell` is given the answer to a POST at the end of this turn of the event loop, as `Core` has it."""
        table = self._router.active
        if table is None or path != table.infer_path or not table.by_turn or len(body) > TURN_BYTES:
            return False
        if self.inference.telemetry is not None or head.content_encoding:
            return False
        self.turn.put_off((self.inference, table, head, body, peer, tell, OPEN))
        return True

    def respond(self, method: str, path: str, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]:
        """The answer to a request; a body of None was larger than `most_bytes`. Never raises."""
        table = self._router.active
        try:
            if method != "POST":
                answer: Answer | Awaitable[Answer] = self._page(path, "GET" if method == "HEAD" else method)
            elif table is not None and path == table.infer_path:
                answer = self._infer(table, head, body)
            else:
                answer = self._post(path, head, body)
        except HeadwayError as error:
            answer = Answer(status_of(error), encode_error(str(error)))
        if head.accept_encoding and (not isinstance(answer, Answer) or len(answer.body) >= LEAST_BYTES):
            return packed_later(answer, head.accept_encoding)
        return answer

    def snapshot(self) -> Snapshot:
        table = self._router.active.table if self._router.active else None
        worker = WorkerStatus(
            pid=os.getpid(),
            generation=table.generation if table else 0,
            error=self._router.error,
            resident_bytes=resident_bytes(),
            ends=self._ends,
        )
        return Snapshot(worker=worker, releases=self._counters.counts(), capture=self._capture.status())

    def _status(self, totals: Totals) -> Answer:
        table = self._router.active.table if self._router.active else None
        status = ServerStatus(
            deployment=table.deployment if table else "",
            generation=min(worker.generation for worker in totals.workers),
            error=next((worker.error for worker in totals.workers if worker.error), ""),
            pid=os.getpid(),
            releases=totals.counters.status(),
            capture=totals.capture,
            workers=totals.workers,
            models=self._router.sizes(),
        )
        return Answer(200, encode(status))

    def _post(self, path: str, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]:
        if path == "/v1/flush":
            return self._flush()
        if path == "/invocations":
            return self._invoke(head, body)
        if path.startswith(_PREDICT):
            return self._infer(self.about.serving(path.removeprefix(_PREDICT)), head, body, PREDICTION)
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            name, head.version, rest = model_path(path)
            if rest == "infer":
                return self._infer(self.about.serving(name), head, body)
        return self._page(path, "POST")

    async def _flush(self) -> Answer:
        await self._capture.flush(at_once=True)
        others, dead = await self._siblings.snapshots(flush=True) if self._siblings else ([], [])
        self._capture.recount()
        return Answer(200, encode(total(self.snapshot(), others, dead).capture))

    def _invoke(self, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]:
        table = self._router.active
        if table is None:
            error = Unavailable("no routing table is loaded yet")
            return MLFLOW.refuse(status_of(error), str(error), error)
        return self._infer(table, head, body, MLFLOW)

    def _infer(
        self, table: LoadedTable, head: Head, body: bytes | None, dialect: Dialect[Any] = OPEN
    ) -> Answer | Awaitable[Answer]:
        if not table.routes:
            error = Unavailable("no release is deployed here yet")
            return dialect.refuse(status_of(error), str(error), error)
        if refusal := self.inference.turn_away(table, head, dialect):
            return refusal
        if body is None:
            limit = TooLarge(f"the body is larger than {self.most_bytes} bytes; send fewer rows in a request")
            return self.inference.refuse(table, limit, dialect)
        if head.content_encoding or (dialect is MLFLOW and is_parquet(head)):
            return self._unpacked(table, head, body, dialect)
        if table.waits:
            return self.inference.answer_apart(table, body, head, dialect)
        return self.inference.answer(table, body, head, dialect)

    async def _unpacked(self, table: LoadedTable, head: Head, body: bytes, dialect: Dialect[Any]) -> Answer:
        try:
            plain = body
            if head.content_encoding:
                plain = await asyncio.to_thread(decoded, body, head.content_encoding, self.most_bytes)
            if self._parquet and dialect is MLFLOW and is_parquet(head):
                plain = await self._parquet.body(plain, self.most_bytes)
                head.content_type = JSON
        except Unavailable as refusal:
            return self.inference.not_run(table, refusal, head, dialect)
        except HeadwayError as refusal:
            return self.inference.refuse(table, refusal, dialect)
        try:
            self.door.check_time(table.table.limits, head)
        except HeadwayError as refusal:
            return self.inference.not_run(table, refusal, head, dialect)
        newest = self._router.active  # another one may have come meanwhile
        return await self.inference.answer_apart(newest if newest and newest.routes else table, plain, head, dialect)

    def _page(self, path: str, method: str) -> Answer | Awaitable[Answer]:
        if method != "POST" and (path in ("/v1/flush", "/invocations") or path.startswith(_PREDICT)):
            return not_allowed(path, "POST")
        if not (path in TOTALS or path.endswith("/stats")):
            return self.about.page(path, method)
        if self._siblings is None:
            return self._page_of(total(self.snapshot()), path, method)
        return self._page_of_all(self._siblings, path, method)

    async def _page_of_all(self, siblings: Siblings, path: str, method: str) -> Answer:
        others, dead = await siblings.snapshots()
        self._capture.recount()
        try:
            return self._page_of(total(self.snapshot(), others, dead), path, method)
        except HeadwayError as error:
            return Answer(status_of(error), encode_error(str(error)))

    def _page_of(self, totals: Totals, path: str, method: str) -> Answer:
        """What tells of all workers."""
        if path in TOTALS and method != "GET":
            return not_allowed(path, "GET")
        match path:
            case "/v1/status":
                return self._status(totals)
            case "/metrics":
                text = totals.counters.prometheus(totals.capture, totals.workers, self._router.sizes())
                return Answer(200, text.encode(), METRICS)
        return Pages(self._router, totals.counters).page(path, method)

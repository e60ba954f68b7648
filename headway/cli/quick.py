"""`headway run` where nothing has to run: without a server, the database is read and written directly, and whatever
takes long to import is left alone. At the first step that is not cached, all of it is opened and the run goes on."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.cli.remembered import RememberedPipeline, remembered
from headway.cli.wish import Loaded, Wish
from headway.client.active import UNOPENED
from headway.client.blob_files import BlobFiles
from headway.client.home import find_home, owner_token, running_server
from headway.client.origin import command_tags, repository_tags
from headway.engines.execution.gpus import gpus_here
from headway.engines.execution.parallel import ParallelExecutor
from headway.engines.execution.places import Places
from headway.engines.pipelines.executor import LocalExecutor, silent
from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.project import code_of, coerce_params, find_project, load_pipeline, load_spec
from headway.errors import HeadwayError, LedgerBroken
from headway.kernel.access import Permission
from headway.kernel.blobs import blob_place
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.kernel.records import digest as digest_of
from headway.lifecycle.runs.capture import CaptureSpec
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Code, LastResult, PipelineNode, Run, RunState, StepResult, StepRun, StepState
from headway.lifecycle.runs.records import Pipeline as Graph
from headway.lifecycle.runs.results import resolved
from headway.lifecycle.runs.rules import check_texts
from headway.lifecycle.runs.session import LastResults
from headway.running.where import Where
from headway.storage.sql.direct import DirectDatabase

if TYPE_CHECKING:
    from headway.client.client import Client
    from headway.client.run import Run as RunHandle
    from headway.engines.pipelines.delayed import DelayedProgress

_CLOCK = SystemClock()


@dataclass(frozen=True)
class Ended:
    """`run` is the record of one that found everything; None for one that was run as any other."""

    identifier: str
    value: Any
    run: Run | None


class QuickSession:
    """A run's line to the database in this home, for as long as everything is found there; from the first thing that
    is not, it is the line that `begin` opens."""

    def __init__(
        self, direct: DirectDatabase, blobs: Path, pipeline: str, begin: Callable[[], DelayedProgress]
    ) -> None:
        self._direct, self._blobs, self._pipeline, self._begin = direct, blobs, pipeline, begin
        self._files = BlobFiles(blobs)
        self._opened: DelayedProgress | None = None
        self._last = LastResults(self._whole_ones)
        self.steps: Sequence[StepRun] = ()
        self.nodes: Sequence[PipelineNode] = ()

    @property
    def opened(self) -> bool:
        return self._opened is not None

    def open(self) -> DelayedProgress:
        if self._opened is None:
            self._opened = self._begin()
        return self._opened

    @property
    def run(self) -> str:
        return self.open().run

    def put_blob(self, data: bytes) -> str:
        return self.open().put_blob(data)

    def get_blob(self, digest: str) -> bytes:
        if self._opened is None:
            try:
                data = (self._blobs / blob_place(digest)).read_bytes()
            except OSError:
                data = b""
            if digest_of(data) == digest:
                return data
        return self.open().get_blob(digest)

    def blob_file(self, digest: str) -> Path | None:
        return self._files.path(digest)

    def cached(self, key: str) -> StepResult | None:
        found = self._last.keyed(key)
        if found is None and self._opened is not None:
            return self._opened.cached(key)  # steps that end in other threads ask too
        if found is None:
            found = self._direct.keyed(key)
            if found is not None and not self._is_whole(found):
                return self.open().cached(key)
        return found

    def last_results(self) -> Sequence[LastResult]:
        return self._last.all()

    def _whole_ones(self) -> list[LastResult]:
        known = self._opened.last_results() if self._opened else self._direct.last_results(self._pipeline)
        return [last for last in known if self._is_whole(last.result)]

    def _is_whole(self, result: StepResult) -> bool:
        return all(os.path.exists(f"{self._blobs}/{blob_place(output.blob)}") for output in result.outputs)

    def keep(self, result: StepResult) -> StepResult:
        self._last.forget(result.key)
        return self.open().keep(result)

    def log(self, step: str, text: str) -> None:
        self.open().log(step, text)

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        if self._opened is None and all(step.state is StepState.CACHED for step in steps):
            self.steps, self.nodes = steps, nodes
        else:
            self.open().progress(steps, nodes)

    def catch_up(self) -> None:
        """Open the run, and tell it what was found so far."""
        if self._opened is None:
            self.open().progress(self.steps, self.nodes)


def run_quickly(wish: Wish, home: str | None, client: Callable[[], Client]) -> Ended | Loaded | None:
    """What was run. Where that cannot be done, with a server, another database, another token, or a `headway.toml` that
    was not read whole before, None, or the pipeline that was loaded by then."""
    folder = find_home(home)
    if os.environ.get("HEADWAY_URL") or os.environ.get("HEADWAY_TOKEN") or running_server(folder):
        return None
    direct = DirectDatabase.open(folder / "headway.db", folder / "ledger.head")
    if direct is None:
        return None
    try:
        return _Quick(wish, folder, direct, client).run()
    finally:
        direct.close()


class _Quick:
    def __init__(self, wish: Wish, home: Path, direct: DirectDatabase, client: Callable[[], Client]) -> None:
        self._wish, self._home, self._direct, self._client = wish, home, direct, client
        self._folder = find_project(Path.cwd())
        self._code: Code | None = None
        self._stack = ExitStack()
        self._handle: RunHandle | None = None

    def run(self) -> Ended | Loaded | None:
        actor = self._direct.actor(owner_token(self._home), _CLOCK.now())
        text = (self._folder / "headway.toml").read_text()
        project = remembered(self._home, text)
        if project is None or actor is None or not actor.may(Permission.WRITE):
            return None
        found = self._found(project.pipelines)
        if found is None or not self._direct.has_room(found.pipeline.name):
            return found
        return self._execute(found.pipeline, found.pipeline.bound(found.params), project.capture, actor.name)

    def _found(self, known: Mapping[str, RememberedPipeline]) -> Loaded | None:
        name = self._wish.name
        if ":" in name:
            pipeline = load_pipeline(self._folder, name)
            return Loaded(pipeline, coerce_params(pipeline, self._wish.texts))
        spec = known.get(name)
        if spec is None:
            return None
        pipeline = load_spec(self._folder, name, spec)
        return Loaded(pipeline, coerce_params(pipeline, {**spec.params, **self._wish.texts}))

    def _execute(self, pipeline: Pipeline, params: Mapping[str, Any], capture: CaptureSpec, actor: str) -> Ended:
        began = _CLOCK.now()
        session = QuickSession(
            self._direct, self._home / "blobs", pipeline.name, lambda: self._begin(pipeline, params)
        )  # fmt: skip
        executor = self._executor(session, pipeline)
        unopened = UNOPENED.set(lambda: self._handle_of(session))
        try:
            with self._stack:
                try:
                    value = resolved(executor.run(pipeline, params))
                    if not session.opened:
                        record = self._record(pipeline, params, capture, actor, began, session)
                        if record is not None:
                            return Ended(record.id, value, record)
                        session.catch_up()
                except BaseException:
                    session.catch_up()
                    raise
        finally:
            UNOPENED.reset(unopened)
        assert self._handle is not None
        return Ended(self._handle.id, value, None)

    def _executor(self, session: QuickSession, pipeline: Pipeline) -> LocalExecutor:
        """Of workers none is started before a step has to run."""
        wish, files = self._wish, FileDigests(self._folder, self._home / "files.json")
        if wish.execution.where is Where.IN_PROCESS:
            return LocalExecutor(
                session, _CLOCK, self._folder, wish.report or silent, force=wish.force, explain=wish.explain,
                files=files,
            )  # fmt: skip

        def places() -> Places:
            from headway.running.options import workers_of  # noqa: PLC0415

            handle = self._handle_of(session)
            return workers_of(wish.execution, handle.client, handle.record, pipeline, self._folder)

        made = ParallelExecutor(
            session, _CLOCK, self._folder, places, workers=wish.execution.slots, gpus=gpus_here(),
            report=wish.report or silent, echo=wish.echo, begun=lambda: self._hold(session, made.stop),
            force=wish.force, explain=wish.explain, files=files,
        )  # fmt: skip
        return made

    def _hold(self, session: QuickSession, stop: Callable[[], None]) -> None:
        """While steps run nobody else goes on with the run, and whoever cancels it ends them."""
        from headway.running.heart import Heart  # noqa: PLC0415
        from headway.running.pipelines import bring_in  # noqa: PLC0415

        handle = self._handle_of(session)
        heart = Heart(handle.client, handle.id, stop)
        self._stack.callback(bring_in, handle.client, handle.id)
        self._stack.callback(heart.stop)
        heart.start()

    def _handle_of(self, session: QuickSession) -> RunHandle:
        session.open()
        assert self._handle is not None
        return self._handle

    def _begin(self, pipeline: Pipeline, params: Mapping[str, Any]) -> DelayedProgress:
        """Open the client, and the run there."""
        from headway.client.capture import Capture  # noqa: PLC0415
        from headway.engines.pipelines.delayed import DelayedProgress  # noqa: PLC0415
        from headway.running.pipelines import begin  # noqa: PLC0415
        from headway.sdk import capture_spec  # noqa: PLC0415

        client, code = self._client(), self._code_now()
        capture = Capture(capture_spec(self._folder), self._folder)
        self._handle = begin(client, pipeline, params, code, capture, tags=self._wish.recipe)
        self._wish.began(self._handle.id)
        self._stack.enter_context(self._handle)
        line = client.session(self._handle.id, pipeline.name, code)
        return self._stack.enter_context(DelayedProgress(line))

    def _code_now(self) -> Code:
        if self._code is None:
            self._code = code_of(self._folder)
        return self._code

    def _record(
        self, pipeline: Pipeline, params: Mapping[str, Any], capture: CaptureSpec, actor: str, began: datetime,
        session: QuickSession,
    ) -> Run | None:  # fmt: skip
        """Keep the run; None when that has to be done in the long way."""
        ids, code = time_sorted(_CLOCK), self._code_now()
        tags = command_tags(sys.orig_argv, sys.argv[0] if sys.argv else "") if capture.command else {}
        tags |= repository_tags(self._folder) if capture.code and code.commit else {}
        started = Run(
            id=ids(Run.prefix), created_at=began, experiment=pipeline.name, name=pipeline.name, pipeline=pipeline.name,
            code=code, started_by=actor, params={key: str(value) for key, value in params.items()},
            state=RunState.RUNNING, started_at=began,
        )  # fmt: skip
        ended = started.but(state=RunState.FINISHED, ended_at=_CLOCK.now(), tags=self._wish.recipe | tags)
        known, nodes = self._direct.pipeline(pipeline.name), tuple(session.nodes)
        graph = None
        if known is None or known.nodes != nodes or known.code != code:
            graph = Graph(id=ids(Graph.prefix), created_at=_CLOCK.now(), name=pipeline.name, nodes=nodes, code=code)
        try:
            check_texts({**ended.params, **ended.tags})
            self._direct.record(started, ended, session.steps, graph, actor)
        except LedgerBroken:
            raise
        except (sqlite3.Error, HeadwayError):
            return None
        return ended

"""What a run would do: the pipeline's own code runs, its steps do not."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.keys import Keys
from headway.engines.pipelines.lookup import Decision, Lookup
from headway.engines.pipelines.names import Names
from headway.engines.pipelines.outputs import Stored
from headway.kernel.clock import Clock
from headway.lifecycle.runs.explanations import Because, Explanation, Preview, Reason
from headway.lifecycle.runs.pipeline import Pipeline, Step, executing
from headway.lifecycle.runs.records import StepResult
from headway.lifecycle.runs.results import Content, Result
from headway.lifecycle.runs.session import Session


class _Untold(BaseException):
    """What a step gives is asked for, and it has not run. No error of the pipeline's: it must not be caught there."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


class _Later:
    """The content of a step that would run. `like` is what it gave before; while `guess` is on, that is taken."""

    def __init__(self, preview: PreviewExecution, step: str, like: Content | None, length: int | None = None) -> None:
        self._preview, self._step, self._like, self._length = preview, step, like, length

    @property
    def digest(self) -> str:
        if self._preview.guess and self._like is not None:
            return self._like.digest
        self._refuse()

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(getattr(self._like, "formats", ()))

    def load(self) -> Any:
        self._refuse()

    def keys(self) -> range | tuple[Hashable, ...] | None:
        if self._like is not None:
            return self._like.keys()
        return range(self._length) if self._length is not None else self._refuse()

    def part(self, key: Any) -> _Later:
        return _Later(self._preview, self._step, self._like.part(key) if self._like is not None else None)

    def _refuse(self) -> NoReturn:
        raise _Untold(self._step)


class PreviewExecution:
    """Looks every call up and runs none. Where a result is not known, the last one tells how many parts it has."""

    def __init__(
        self, session: Session, clock: Clock, folder: Path, forced: Collection[str] = (),
        files: FileDigests | None = None,
    ) -> None:  # fmt: skip
        self._session = session
        folder = folder.resolve()
        self._lookup = Lookup(session, Keys(folder, files or FileDigests(folder)), clock, forced)
        self._names = Names()
        self._explanations: list[Explanation] = []
        self.guess = False

    def of(self, pipeline: Pipeline, params: Mapping[str, Any]) -> Preview:
        """Raises what the pipeline's own code raises, and `BadPipeline` for what has no key."""
        pipeline.bound(params)
        end = ""
        try:
            with executing(self):
                pipeline.function(**params)
            self._lookup.check_forced()
        except _Untold as untold:
            end = f"what comes next depends on what {untold.step} gives, which runs first"
        return Preview(pipeline=pipeline.name, steps=tuple(self._explanations), open_end=end)

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        name = self._names.next(step.name)
        try:
            decision = self._lookup.decide(step, arguments, name)
        except _Untold as untold:
            return self._unsure(step, arguments, name, untold.step)
        self._explanations.append(self._lookup.explain(decision))
        if decision.kept is not None:
            return Result(name, self._stored(step, decision.kept))
        return Result(name, self._later(step, name))

    def _unsure(self, step: Step, arguments: inspect.BoundArguments, name: str, source: str) -> Result:
        """A step whose inputs are not known: would it run if they were as before?"""
        decision = self._guessed(step, arguments, name)
        if decision is not None and decision.kept is None and self._lookup.last().get(name) is not None:
            self._explanations.append(self._lookup.explain(decision))
        else:
            reason = Reason(because=Because.INPUT, what=source, before="same" if decision and decision.kept else "")
            self._explanations.append(Explanation(step=name, runs=None, reasons=(reason,)))
        return Result(name, self._later(step, name))

    def _guessed(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Decision | None:
        self.guess = True
        try:
            return self._lookup.decide(step, arguments, name)
        except _Untold:
            return None
        finally:
            self.guess = False

    def _stored(self, step: Step, kept: StepResult) -> Stored:
        return Stored(kept.outputs, self._session.get_blob, file=self._session.blob_file, pickle=step.pickle)

    def _later(self, step: Step, name: str) -> _Later:
        before = self._lookup.last().get(name)
        if before is not None:
            return _Later(self, name, self._stored(step, before))
        said = step.signature.return_annotation
        parts = get_args(said) if get_origin(said) is tuple else ()
        return _Later(self, name, None, len(parts) if parts and parts[-1] is not Ellipsis else None)

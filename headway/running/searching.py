"""A search's own run, and the runs of its trials: begun here, or gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.run import Run as Handle
from headway.errors import BadPipeline, Conflict
from headway.kernel.records import encode
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Code, Run, RunState, StartRun
from headway.lifecycle.runs.results import resolved
from headway.running.exporter import OnnxExporter
from headway.running.heart import Heart, await_release
from headway.running.options import Shared, shared
from headway.running.pipelines import carry_out
from headway.running.recipe import Recipe
from headway.running.tuning import SEARCH, Search, Study, Tuner, checked_search, search_of, trial_tags, trials_of
from headway.running.where import Execution

Report = Callable[[str], None]


def begin_search(
    client: Client, pipeline: Pipeline, params: Mapping[str, Any], search: Search, *, folder: Path, code: Code,
    capture: Capture, execution: Execution, recipe: Recipe | None = None,
) -> Study:  # fmt: skip
    """Search as a run of its own; `params` are those that all trials are given alike.

    Raises `Invalid` for a param that the pipeline does not take.
    """
    _check(pipeline, params, checked_search(search))
    handle = client.start_run(
        pipeline.name, OnnxExporter(client), name=f"search of {pipeline.name}", params=params, code=code,
        capture=capture, tags={SEARCH: encode(search).decode(), **(recipe.tag if recipe else {})},
    )  # fmt: skip
    return _carry_out(handle, pipeline, params, search, folder, code, execution)


def resume_search(
    client: Client, identifier: str, pipeline: Pipeline, params: Mapping[str, Any], *, folder: Path, code: Code,
    execution: Execution,
) -> Study:  # fmt: skip
    """Go on with a search that was killed, cancelled or failed; trials that were over are not run again.

    Raises `Conflict` for one that is finished, `LeaseLost` while another process works at it.
    """
    record = client.runs.get(identifier)
    search = search_of(record)
    if record.state is RunState.FINISHED:
        raise Conflict(f"search {identifier} is finished; start another one")
    await_release(client, record.id)
    client.runs.resume(record.id)
    handle = client.resume(record.id, OnnxExporter(client))
    return _carry_out(handle, pipeline, params, search, folder, code, execution)


def _check(pipeline: Pipeline, params: Mapping[str, Any], search: Search) -> None:
    both = sorted(search.space.keys() & params.keys())
    if both:
        raise BadPipeline(f"{both[0]!r} is searched for and given; leave out one of the two")
    pipeline.bound({**params, **dict.fromkeys(search.space)})


def _carry_out(
    handle: Handle, pipeline: Pipeline, params: Mapping[str, Any], search: Search, folder: Path, code: Code,
    execution: Execution,
) -> Study:  # fmt: skip
    client = handle.client
    with handle, ExitStack() as until_the_end:
        carried = shared(execution, client, handle.record, pipeline, folder)
        if carried is not None:
            until_the_end.callback(carried.close)
        trials = _Trials(client, handle.record, pipeline, params, folder, code, execution, carried, search)
        tuner = Tuner(client, handle.record, search, execution.slots, trials.start)
        heart = Heart(client, handle.id, tuner.stop)
        until_the_end.callback(heart.stop)
        heart.start()
        return tuner.run()


class _Trials:
    """Makes the runs of trials, whose steps share one crew."""

    def __init__(
        self, client: Client, parent: Run, pipeline: Pipeline, params: Mapping[str, Any], folder: Path, code: Code,
        execution: Execution, carried: Shared | None, search: Search,
    ) -> None:  # fmt: skip
        self._search = search
        self._client, self._parent, self._pipeline, self._params = client, parent, pipeline, params
        self._folder, self._code, self._execution, self._shared = folder, code, execution, carried

    def start(self, number: int, chosen: dict[str, Any]) -> tuple[str, Callable[[], Any]]:
        params = self._pipeline.bound({**self._params, **chosen})
        command = StartRun(
            experiment=self._parent.experiment, name=f"trial {number}", pipeline=self._pipeline.name,
            parent=self._parent.id, params={key: str(value) for key, value in params.items()},
            tags=trial_tags(number, chosen), code=self._code,
        )  # fmt: skip
        run = self._client.runs.start(command)
        return run.id, lambda: self._run(run.id, params, chosen)

    def _run(self, run: str, params: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
        with self._client.resume(run, OnnxExporter(self._client)) as handle:
            made = carry_out(
                handle, self._pipeline, params, self._folder, self._code, self._execution, shared=self._shared,
                heart=True,
            )  # fmt: skip
            handle.flush()
            if self._search.metric not in self._client.runs.metrics([run]).get(run, {}):
                value = self._told(resolved(made), chosen)
                if value is not None:
                    handle.log_metric(self._search.metric, value)

    def _told(self, made: Any, chosen: Mapping[str, Any]) -> float | None:
        """The trial's value where its steps logged none, because they came from the cache: what the pipeline gives, or
        what a trial of the same params has logged."""
        found = made.get(self._search.metric) if isinstance(made, dict) else made
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
        same = [each.id for each, said in trials_of(self._client, self._parent.id) if said["params"] == chosen]
        values = self._client.runs.metrics(same)
        known = (values.get(each, {}).get(self._search.metric) for each in same)
        return next((value for value in known if value is not None), None)

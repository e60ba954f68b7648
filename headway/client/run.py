"""The handle on a run: what happens inside `with hw.start_run("orders") as run:` is logged to it."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Mapping, Sequence
from contextvars import Token
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from headway.client.active import ACTIVE
from headway.client.capture import Capture
from headway.client.shipping import Shipper
from headway.client.spool import Attached, Ended, Opening, Points, Spool, Texts
from headway.errors import Invalid, RunCancelled, Unavailable
from headway.kernel.clock import Clock, microseconds
from headway.kernel.records import Value, encode
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.models.graphs import Graph
from headway.lifecycle.models.locks import checked_lock
from headway.lifecycle.models.records import (
    AddVersion,
    Baseline,
    ClassName,
    Feeding,
    Form,
    ModelVersion,
    Parity,
    Signature,
    Task,
    Variant,
)
from headway.lifecycle.runs.records import Artifact, RunState
from headway.lifecycle.runs.records import Run as RunRecord

if TYPE_CHECKING:
    from headway.client.client import Client


_LOG = logging.getLogger("headway.client")


class Exported(Value):
    """A model in the form in which it is served. `parity` is None when there is nothing to compare it with; `note`
    says why it has not the usual form."""

    onnx: bytes
    """Or, when `form` is another one, the bytes of that."""
    signature: Signature
    parity: Parity | None = None
    form: Form = Form.ONNX
    variants: tuple[Variant, ...] = ()
    note: str = ""
    feeding: Feeding = Feeding.FRAME
    files: tuple[bytes, ...] = ()
    """What the bytes list, where they are those of a folder."""
    as_given: bool = False
    """Nothing was converted."""


class Exporter(Protocol):
    """Brings a trained model into the form in which it is served."""

    def export(self, model: Any, evaluation: str, example: Any, score: str | None) -> Exported:
        """`model` is an ONNX file's bytes or a fitted estimator. `example` is a frame of its features; when it is
        None, the rows of the dataset version `evaluation` are taken."""
        ...

    def export_file(
        self, path: Path, evaluation: str, score: str | None, signature: Signature | None,
        classes: tuple[ClassName, ...],
    ) -> Exported:  # fmt: skip
        """A file or folder that is served as it is; `signature` and `classes` say what it does not say itself."""
        ...

    def export_graph(self, graph: Graph, evaluation: str) -> tuple[Exported, tuple[str, ...]]:
        """The graph in the form in which it is served, and the ids of its parts."""
        ...


class Run:
    """A run that is going on. Metrics, params and tags are written to a file of this machine at once, and sent from
    there about every second and at the end, so that no call waits for the server and nothing is lost with it or with
    this process: `headway sync` sends what was left. What the server refuses is raised by the next call that logs, or
    at the end.

    As a context manager it is the active run of its block, and finished, failed or cancelled at its end.
    """

    def __init__(
        self,
        record: RunRecord,
        client: Client,
        exporter: Exporter,
        clock: Clock,
        spools: Path | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.record, self.client = record, client
        self._exporter, self._now_us = exporter, microseconds(clock)
        self._spool = Spool.create(spools, Opening(run=record.id, url=client.url))
        self._shipper = Shipper(self._spool, client.runs)
        self._params = dict(record.params)
        self._read: set[str] = set()
        self._outer: Token[Run | None] | None = None
        self.capture = capture
        if capture is not None:
            capture.start(self._note, clock, dict(record.tags))

    @property
    def id(self) -> str:
        return self.record.id

    def log_metric(self, key: str, value: float, *, step: int = 0) -> None:
        """Add one point to the series `key`; NaN and infinity are values like others."""
        self.log_metrics({key: value}, step=step)

    def log_metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        shipper = self._shipper
        if not shipper.calm:
            shipper.check()
        try:
            self._spool.append_row(step, self._now_us(), values)
        except (struct.error, OverflowError, TypeError, ValueError):
            numbers = {key: _number(key, value) for key, value in values.items()}
            self._spool.append(Points(step, self._now_us(), numbers))
        if not shipper.calm:
            shipper.start()

    def log_param(self, key: str, value: Any) -> None:
        """Note what the run was given. Raises `Invalid` when the param has another value already."""
        self.log_params({key: value})

    def log_params(self, values: Mapping[str, Any]) -> None:
        texts = {key: str(value) for key, value in values.items()}
        for key, text in texts.items():
            if self._params.get(key, text) != text:
                raise Invalid(f"param {key!r} is {self._params[key]!r} already; params do not change, use a tag")
        self._params |= texts
        self._log(Texts(texts, {}))

    def set_tag(self, key: str, value: Any) -> None:
        self._log(Texts({}, {key: str(value)}))

    def log_artifact(self, name: str, content: bytes | Path | Any) -> Artifact:
        """Keep an output under `name`: bytes, the file at a `Path`, a str, or anything that JSON can say."""
        if isinstance(content, bytes):
            return self.client.runs.add_artifact(self.id, name, content)
        if isinstance(content, Path):
            if not content.is_file():
                raise Invalid(f"there is no file {content} to log as {name!r}")
            return self.client.runs.add_artifact(self.id, name, content.read_bytes())
        if isinstance(content, str):
            return self.client.runs.add_artifact(
                self.id, name, content.encode(), media_type="text/plain; charset=utf-8"
            )
        try:
            data = encode(content)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise Invalid(f"artifact {name!r} is no bytes, path or JSON: {error}") from None
        return self.client.runs.add_artifact(self.id, name, data, media_type="application/json")

    def log_model(
        self,
        name: str, model: Any, *,
        training: Sequence[str | Any], evaluation: str | Any, task: Task | str | None = None, example: Any = None,
        baselines: Mapping[str, Any] | None = None, metrics: Mapping[str, float] | None = None,
        score: str | None = None, note: str = "", signature: Signature | None = None,
        classes: Sequence[ClassName] = (), requirements: Sequence[str] | Path = (), feature_views: Sequence[str] = (),
    ) -> ModelVersion:  # fmt: skip
        """Register `model` as the next version of the model `name`.

        `model` and each of `baselines` are fitted estimators of scikit-learn, LightGBM, XGBoost or CatBoost, PyTorch
        networks, or the bytes of ONNX files. A model is converted, and its served forms compared with it on the rows of
        `example` (a frame of features; by default those of `evaluation`); the fastest of those that answer alike is
        kept. `model` may be the path of a file as well, which is served as it is: `.onnx`, `.skops`, a LightGBM text,
        XGBoost's `.ubj` or `.json`, torch.export's `.pt2`, or a `.py` or a folder with `model.py` in it, whose function
        `predict` takes arrays by input and gives arrays by output, as `signature` says. `classes` names those that such
        a file only counts. `requirements` are the packages of a model that is not ONNX, each pinned, or the path of
        such a list: its worker runs in an environment of its own with these and no others.

        `training` and `evaluation` are dataset versions, or references to them such as `orders@3`; gates will judge the
        model by `evaluation`, so it must be data that it never saw. `task` is multiclass for a classifier of three
        classes or more, and binary, if it is left out. `score` names the output that quality is judged by, by default
        the probabilities. `metrics` are logged to the run as well. `feature_views` are those that its features were
        joined from: the model server looks up in them what a request leaves out.
        """
        values = {key: _number(key, value) for key, value in (metrics or {}).items()}
        held_out = _reference(evaluation)
        exported = (
            self._exporter.export_file(model, held_out, score, signature, tuple(classes))
            if isinstance(model, Path)
            else self._exporter.export(model, held_out, example, score)
        )
        simpler = tuple(
            self._baseline(other, self._exporter.export(simple, held_out, example, score))
            for other, simple in (baselines or {}).items()
        )
        if values:
            self.log_metrics(values)
        command = self._command(name, exported, training, held_out, task, simpler, note).but(
            lock=self._lock(requirements),
            feature_views=tuple(feature_views),
            metrics={key: value for key, value in values.items() if math.isfinite(value)},
        )
        if exported.note:
            self.set_tag(f"headway.form.{name}", exported.note)
        return self.client.models.add(command)

    def _command(
        self, name: str, exported: Exported, training: Sequence[str | Any], held_out: str, task: Task | str | None,
        baselines: tuple[Baseline, ...], note: str,
    ) -> AddVersion:  # fmt: skip
        for data in exported.files:
            self.client.blobs.put(data)
        return AddVersion(
            model=name,
            blob=self.client.blobs.put(exported.onnx),
            signature=exported.signature,
            task=_task(task, exported.signature),
            run=self.id,
            training=tuple(_reference(version) for version in training),
            evaluation=held_out,
            parity=exported.parity,
            form=exported.form,
            feeding=exported.feeding,
            as_given=exported.as_given,
            variants=exported.variants,
            baselines=baselines,
            note="; ".join(filter(None, (note, exported.note))),
        )

    def _lock(self, requirements: Sequence[str] | Path) -> str:
        lines = requirements.read_text() if isinstance(requirements, Path) else requirements
        return self.client.blobs.put(checked_lock(lines).encode()) if lines else ""

    def log_graph(
        self, name: str, graph: Graph, *, evaluation: str | Any, training: Sequence[str | Any] = (),
        task: Task | str | None = None, baselines: Mapping[str, Any] | None = None, note: str = "",
    ) -> ModelVersion:  # fmt: skip
        """Register `graph`, made of model versions that are there, as the next version of the model `name`.

        Where all parts are ONNX it becomes one ONNX model, if that answers on the rows of `evaluation` as the parts do
        one after the other; else it runs part by part. It learnt from what its parts learnt from, and is judged,
        released and served as any other. Raises `Invalid` when the parts do not fit together.
        """
        held_out = _reference(evaluation)
        exported, parts = self._exporter.export_graph(graph, held_out)
        simpler = tuple(
            self._baseline(other, self._exporter.export(simple, held_out, None, None))
            for other, simple in (baselines or {}).items()
        )
        command = self._command(name, exported, training, held_out, task, simpler, note).but(parts=parts)
        return self.client.models.add(command)

    def _baseline(self, name: str, made: Exported) -> Baseline:
        if made.form is not Form.ONNX:
            raise Invalid(f"baseline {name!r} cannot be {made.form}: {made.note}; take a simpler one, which is ONNX")
        return Baseline(name=name, blob=self.client.blobs.put(made.onnx))

    def note_read(self, version: DatasetVersion) -> None:
        """Note that it reads a dataset version, so that what it makes is known to have come from there."""
        if version.id not in self._read:
            self.client.runs.note_read(self.id, version.id)
            self._read.add(version.id)

    def flush(self) -> None:
        """Send everything that was logged so far; raises `Unavailable` when the server does not answer."""
        self._shipper.flush()

    def leave(self) -> None:
        """Send everything, and let go of the run without ending it."""
        self._shipper.stop()
        self._shipper.flush()
        self._spool.remove()

    def _log(self, frame: Points | Texts) -> None:
        self._shipper.check()
        self._spool.append(frame)
        self._shipper.start()

    def _note(self, frame: Points | Texts | Attached) -> None:
        """As `_log`, but what the server has refused is for the next call of a person."""
        self._spool.append(frame)
        self._shipper.start()

    def finish(self) -> None:
        self._end(RunState.FINISHED)

    def fail(self, error: str) -> None:
        self._end(RunState.FAILED, error)

    def cancel(self) -> None:
        self._end(RunState.CANCELLED)

    def _end(self, state: RunState, error: str = "") -> None:
        """End the run here, and at the server when it answers. A run of a pipeline must reach it: somebody waits."""
        if self.capture is not None:
            self.capture.stop()
        self._shipper.stop()
        try:
            self._shipper.flush()
            self.record = self.client.runs.move(self.id, state, error=error)
        except Unavailable as unavailable:
            self._spool.append(Ended(state, error))
            self._spool.sync()
            self._spool.close()
            if self.record.pipeline or self._spool.path is None:
                raise
            _LOG.warning("%s; run `headway sync` later to send %s", unavailable, self._spool.path)
        else:
            self._spool.remove()

    def __enter__(self) -> Run:
        self._outer = ACTIVE.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._outer:
            ACTIVE.reset(self._outer)
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt | RunCancelled):
            self.cancel()
        else:
            self.fail(f"{type(error).__name__}: {error}")

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.record.experiment}>"


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Invalid(f"metric {key!r} takes a number, not {value!r:.80}; log texts as params or tags") from None


def _reference(version: str | Any) -> str:
    return version if isinstance(version, str) else str(version.id)


def _task(task: Task | str | None, signature: Signature) -> Task:
    if task is None:
        return Task.MULTICLASS if signature.classes else Task.BINARY
    try:
        return Task(task)
    except ValueError:
        raise Invalid(f"task is one of {', '.join(Task)}, not {task!r}") from None

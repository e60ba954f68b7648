"""Putting aside, taking back and purging, on the platform in memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from headway.errors import Forbidden, Invalid, NotFound, Refused
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.ledger import verify
from headway.kernel.records import digest, encode
from headway.lifecycle.datasets.records import AddVersion as AddDatasetVersion
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.models.records import AddVersion, Datatype, ModelVersion, Register, Signature, Task, TensorSpec
from headway.lifecycle.runs.logged import LogModel
from headway.lifecycle.runs.records import LogBatch, Metric, Output, Run, StartRun, StepRun
from headway.testing.memory_platform import OpenedPlatform, open_platform

WHY = "the customer asked for it"
AUTHOR = Actor(name="ada", role=Role.AUTHOR)
_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1)),),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 1)),),
    score="y",
)


@dataclass
class Desk:
    opened: OpenedPlatform

    def run(self, experiment: str = "late", **told: str) -> Run:
        started = self.opened.platform.runs.start(StartRun(experiment=experiment, **told), by=AUTHOR)  # type: ignore[arg-type]
        blob = self.opened.platform.blobs.put(f"weights of {started.id}".encode())
        self.opened.platform.runs.add_artifact(started.id, "weights", blob, by=AUTHOR)
        return started

    def dataset(self, name: str, rows: int) -> DatasetVersion:
        blob = self.opened.platform.blobs.put(encode(Summary(rows=rows, columns=())))
        return self.opened.platform.datasets.add(AddDatasetVersion(dataset=name, blob=blob), by=AUTHOR)

    def model(self, run: Run, training: DatasetVersion, evaluation: DatasetVersion) -> ModelVersion:
        command = AddVersion(
            model="late", blob=self.opened.platform.blobs.put(b"onnx"), signature=_SIGNATURE, task=Task.REGRESSION,
            run=run.id, training=(training.id,), evaluation=evaluation.id,
        )  # fmt: skip
        return self.opened.platform.models.add(command, by=AUTHOR)

    def purge(self, *references: str) -> list[str]:
        """Delete and purge, and tell what went with them."""
        retention, ledger, gone = self.opened.platform.retention, self.opened.stores.ledger, list[str]()
        for reference in references:
            identifier = retention.delete(self.identifier(reference), by=AUTHOR).id
            before = ledger.latest(limit=1)[0].number
            purged = retention.purge(identifier, WHY, by=SYSTEM)
            went = [entry.subject for entry in ledger.entries(after=before) if entry.subject[:2] not in ("ds", "md")]
            assert len(went) == purged.records or identifier.startswith("md")
            gone += went
        verify(ledger)
        return gone

    def identifier(self, reference: str) -> str:
        if "@" not in reference:
            return reference
        datasets, models = self.opened.platform.datasets, self.opened.platform.models
        return (datasets if reference.startswith("orders") else models).version(reference).id


@pytest.fixture
def desk() -> Desk:
    return Desk(open_platform())


def test_a_purged_run_takes_all_its_parts_along_and_leaves_tombstones(desk: Desk) -> None:
    platform, stores = desk.opened.platform, desk.opened.stores
    run, other = desk.run(), desk.run()
    point = Metric(key="loss", value=0.5, at=desk.opened.clock.now())
    for each in (run, other):
        platform.runs.log(each.id, LogBatch(metrics=(point,)), by=AUTHOR)
        platform.runs.progress(each.id, [StepRun(step="load")], by=AUTHOR)
    outputs = [Output(blob=platform.blobs.put(b"rows"), format="json")]
    platform.pipelines.keep("k1", "load", run.id, outputs, by=AUTHOR)
    written = stores.kept.body(run.id)
    assert written
    gone = desk.purge(run.id)
    assert [identifier.partition("_")[0] for identifier in gone] == ["ar", "sr", "rn"]
    with pytest.raises(NotFound, match=f"run '{run.id}'"):
        platform.runs.get(run.id)
    assert platform.pipelines.result("k1") is None
    assert stores.metrics.latest([run.id, other.id]) == {run.id: {}, other.id: {"loss": 0.5}}
    assert not stores.runs.steps(run.id)
    assert stores.runs.steps(other.id)
    tombstone = platform.retention.tombstone(run.id)
    assert (tombstone.kind, tombstone.purged_by, tombstone.why) == ("rn", SYSTEM.name, WHY)
    entries = stores.ledger.entries(subject=run.id)
    assert tombstone.sealed == entries[-2].record
    assert (entries[-1].verb, entries[-1].why, entries[-1].actor) == ("record.purge", WHY, SYSTEM.name)
    assert {platform.retention.tombstone(part).purged_with for part in gone} == {run.id, ""}


def test_the_ledger_finds_a_purge_that_left_no_tombstone_and_one_that_was_forged(desk: Desk) -> None:
    run, stores = desk.run(), desk.opened.stores
    body = stores.kept.body(run.id)
    with desk.opened.platform.journal.act("mallory", "quietly"):
        stores.kept.remove(run.id)
    with pytest.raises(Exception, match="no longer kept"):
        verify(stores.ledger)
    other = desk.run()
    retention = desk.opened.platform.retention
    retention.delete(other.id, by=AUTHOR)
    tombstone = retention.purge(other.id, WHY, by=SYSTEM).tombstone
    with desk.opened.platform.journal.act("mallory", "quietly"):
        stores.tombstones.put(tombstone.but(why="nothing to see"))
        stores.tombstones.put(tombstone.but(id=run.id, sealed=digest(body or b"")))
    with pytest.raises(Exception, match="is not as entry"):
        verify(stores.ledger)


def test_what_is_in_use_is_not_purged(desk: Desk) -> None:
    run, retention = desk.run(), desk.opened.platform.retention
    with pytest.raises(Refused, match="delete it first"):
        retention.purge(run.id, WHY, by=SYSTEM)
    retention.delete(run.id, by=AUTHOR)
    retention.restore(run.id, by=AUTHOR)
    with pytest.raises(Refused, match="delete it first"):
        retention.purge(run.id, WHY, by=SYSTEM)
    assert desk.opened.platform.runs.get(run.id).deleted_at is None


def test_a_purge_takes_the_right_and_a_reason(desk: Desk) -> None:
    run, retention = desk.run(), desk.opened.platform.retention
    retention.delete(run.id, by=AUTHOR)
    with pytest.raises(Forbidden):
        retention.purge(run.id, WHY, by=AUTHOR)
    with pytest.raises(Invalid, match="reason"):
        retention.purge(run.id, "  ", by=SYSTEM)


def test_what_something_came_from_is_refused_with_the_names_of_what_depends(desk: Desk) -> None:
    platform = desk.opened.platform
    run, training, evaluation = desk.run(), desk.dataset("orders", 1), desk.dataset("orders", 2)
    version = desk.model(run, training, evaluation)
    for reference in (training.id, evaluation.id):
        with pytest.raises(Refused, match=version.id) as refused:
            platform.retention.delete(reference, by=AUTHOR)
        assert refused.value.details["dependents"] == [version.id]
    platform.retention.delete(run.id, by=AUTHOR)
    with pytest.raises(Refused, match=version.id):
        platform.retention.purge(run.id, WHY, by=SYSTEM)
    desk.purge("late@1")
    assert platform.retention.purge(run.id, WHY, by=SYSTEM).records == 2
    desk.purge("orders@1", "orders@2")


def test_numbers_of_purged_versions_are_not_given_again(desk: Desk) -> None:
    platform, run = desk.opened.platform, desk.run()
    first, second = desk.dataset("orders", 1), desk.dataset("orders", 2)
    desk.model(run, first, second)
    desk.purge("late@1", "orders@2")
    assert platform.datasets.version("orders").id == first.id
    third = desk.dataset("orders", 2)
    assert third.number == 3
    assert desk.model(run, first, third).number == 2
    registered = platform.registry.register(Register(model="late", source="s3://elsewhere"), by=AUTHOR)
    desk.purge(registered.id)
    assert platform.registry.register(Register(model="late", source="s3://elsewhere"), by=AUTHOR).number == 4


def test_what_is_put_aside_is_not_the_newest(desk: Desk) -> None:
    platform = desk.opened.platform
    first, second = desk.dataset("orders", 1), desk.dataset("orders", 2)
    platform.retention.delete(second.id, by=AUTHOR)
    assert platform.datasets.version("orders").id == first.id
    assert platform.datasets.versions("orders").items == (first,)
    again = desk.dataset("orders", 2)
    assert again.number == 3
    platform.retention.restore(second.id, by=AUTHOR)
    assert [version.number for version in platform.datasets.versions("orders").items] == [3, 2, 1]


def test_an_experiment_goes_with_runs_logged_models_and_traces(desk: Desk) -> None:
    platform = desk.opened.platform
    outer = desk.run("trials")
    inner = desk.run("trials", parent=outer.id)
    kept = desk.run("late")
    experiment = platform.experiments.named("trials")
    assert experiment
    logged = platform.logged_models.create(LogModel(experiment=experiment.id, run=inner.id), by=AUTHOR)
    trace = platform.traces.keep("tr-1", experiment.id, {"spans": 1}, {}, by=AUTHOR)
    platform.artifacts.put(trace.id, "spans.json", platform.blobs.put(b"[]"), 2, by=AUTHOR)
    gone = desk.purge(experiment.id)
    assert {outer.id, inner.id, logged.id, trace.id, experiment.id} < set(gone)
    assert gone[-1] == experiment.id
    assert platform.experiments.named("trials") is None
    assert platform.runs.get(kept.id)


def test_a_run_that_another_is_inside_of_waits_for_it(desk: Desk) -> None:
    outer = desk.run()
    inner = desk.run(parent=outer.id)
    desk.opened.platform.retention.delete(outer.id, by=AUTHOR)
    with pytest.raises(Refused, match=inner.id):
        desk.opened.platform.retention.purge(outer.id, WHY, by=SYSTEM)
    desk.purge(inner.id, outer.id)


def test_registered_models_and_what_gates_judge(desk: Desk) -> None:
    platform = desk.opened.platform
    platform.registry.create("forest", by=AUTHOR)
    model = platform.registry.model("forest")
    registered = platform.registry.register(Register(model="forest", source="runs:/x"), by=AUTHOR)
    assert desk.purge(model.id) == [registered.id]
    assert platform.retention.tombstone(model.id).name == "forest"
    desk.model(desk.run(), desk.dataset("orders", 1), desk.dataset("orders", 2))
    with pytest.raises(Refused, match="gates judge"):
        platform.retention.delete(platform.registry.model("late").id, by=AUTHOR)


def test_the_record_of_what_was_delivered_stays(desk: Desk) -> None:
    opened = desk.opened
    release = opened.platform.environments.declare("production", by=SYSTEM)
    with pytest.raises(Invalid, match="stays"):
        opened.platform.retention.delete(release.id, by=SYSTEM)
    with pytest.raises(NotFound, match="nothing with the id"):
        opened.platform.retention.delete("rn_00000000000000000000009999", by=SYSTEM)


def test_what_is_gone_says_who_purged_it(desk: Desk) -> None:
    run = desk.run()
    desk.purge(run.id)
    with pytest.raises(NotFound, match=f"purged by {SYSTEM.name}.*{WHY}"):
        desk.opened.platform.retention.restore(run.id, by=SYSTEM)

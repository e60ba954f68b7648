"""Every noun of the client, against the whole platform in this process."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headway.client.client import Client
from headway.errors import Conflict, ContractBroken, Forbidden, IllegalMove, Invalid, NotFound
from headway.kernel.access import Role
from headway.kernel.records import digest
from headway.lifecycle.changes.records import OpenChange, Stage
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.monitors.records import AlertState
from headway.lifecycle.releases.records import Decision
from headway.lifecycle.rollouts.records import RolloutState, Shadow
from headway.lifecycle.runs.records import (
    Code,
    LogBatch,
    Metric,
    Output,
    PipelineNode,
    RunState,
    StartRun,
    StepResult,
    StepRun,
    StepState,
)
from tests.client.conftest import As, client_of
from tests.server.world import DAY, World, deliver, open_world, segment

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Ids = dict[str, str]


class TestDatasets:
    FRAME = pl.DataFrame({"size": [1.0, 2.0], "name": ["a", "b"]})
    CONTRACT = Contract(
        columns=(ColumnRule(name="size", kind=Kind.FLOAT, low=0, high=10), ColumnRule(name="name", kind=Kind.STR))
    )

    def test_add_and_read_back(self, author: Client) -> None:
        added = author.datasets.add("boxes", self.FRAME, contract=self.CONTRACT, note="first")
        assert (added.label, added.rows, added.contract) == ("boxes@1", 2, self.CONTRACT)
        assert author.datasets.read("boxes@1").equals(self.FRAME)
        assert author.datasets.version("boxes") == author.datasets.version(added.id) == added

    def test_the_same_again_is_the_same(self, author: Client) -> None:
        first = author.datasets.add("crates", self.FRAME)
        assert author.datasets.add("crates", self.FRAME.clone()) == first
        assert author.datasets.add("crates", self.FRAME.head(1)).number == 2
        assert [version.number for version in author.datasets.versions("crates").items] == [2, 1]

    def test_a_broken_contract_names_column_and_rule(self, author: Client) -> None:
        wrong = self.FRAME.with_columns(size=pl.lit(99.0))
        with pytest.raises(ContractBroken, match="'size' breaks rule 'high'") as caught:
            author.datasets.add("barrels", wrong, contract=self.CONTRACT)
        assert caught.value.details["violations"][0]["column"] == "size"
        with pytest.raises(ContractBroken):
            author.datasets.check(wrong, self.CONTRACT)
        author.datasets.check(self.FRAME, self.CONTRACT)
        with pytest.raises(NotFound):
            author.datasets.version("barrels")

    def test_a_file(self, author: Client, tmp_path: Path) -> None:
        self.FRAME.write_csv(tmp_path / "t.csv")
        assert author.datasets.add("files", tmp_path / "t.csv").rows == 2

    def test_pages_follow_each_other(self, author: Client) -> None:
        for rows in range(1, 4):
            author.datasets.add("pages", pl.DataFrame({"n": list(range(rows))}))
        first = author.datasets.versions("pages", limit=2)
        rest = author.datasets.versions("pages", limit=2, before=first.next)
        assert [version.number for version in (*first.items, *rest.items)] == [3, 2, 1]
        assert rest.next is None

    @pytest.mark.parametrize("reference", ["nothing", "boxes@99", "a/b", "../../x", "ü", "a?b#c"])
    def test_references_that_lead_nowhere(self, author: Client, reference: str) -> None:
        with pytest.raises((NotFound, Invalid)):
            author.datasets.version(reference)


class TestRuns:
    def test_metrics_come_back_as_they_were(self, author: Client) -> None:
        run = author.runs.start(StartRun(experiment="wild"))
        values = [1.5, math.nan, math.inf, -math.inf, 1e308]
        points = tuple(Metric(key="loss/train", value=value, at=NOW, step=n) for n, value in enumerate(values))
        author.runs.log(run.id, LogBatch(params={"rate": "0.1"}, tags={"who": "me"}, metrics=points))
        back = author.runs.history(run.id, "loss/train").points
        assert [point.step for point in back] == [0, 1, 2, 3, 4]
        assert all(math.isnan(a.value) if math.isnan(b) else a.value == b for a, b in zip(back, values, strict=True))
        assert author.runs.metrics([run.id]) == {run.id: {"loss/train": 1e308}}
        assert author.runs.get(run.id).params == {"rate": "0.1"}

    def test_states(self, author: Client) -> None:
        run = author.runs.start(StartRun(experiment="states", running=False))
        lease = author.runs.claim(run.id, "worker-1")
        author.runs.move(run.id, RunState.RUNNING, token=lease.token)
        assert author.runs.move(run.id, RunState.FAILED, error="boom").error == "boom"
        with pytest.raises(IllegalMove):
            author.runs.move(run.id, RunState.FINISHED)
        assert [item.id for item in author.runs.list(experiment="states", state="failed").items] == [run.id]
        assert "states" in {experiment.name for experiment in author.runs.experiments().items}

    def test_searching_and_counting(self, author: Client) -> None:
        started = [
            author.runs.start(StartRun(experiment="sought", name=f"run {number}", params={"half": str(number % 2)}))
            for number in range(5)
        ]
        for number, run in enumerate(started):
            author.runs.log(run.id, LogBatch(metrics=(Metric(key="auc", value=number / 10, at=NOW),)))
        page = author.runs.search(["sought"], where="metrics.auc > 0.1", order=["metrics.auc DESC"], limit=2)
        assert [run.name for run in page.items] == ["run 4", "run 3"]
        rest = author.runs.search(
            ["sought"], where="metrics.auc > 0.1", order=["metrics.auc DESC"], after=page.next or ""
        )
        assert [run.name for run in rest.items] == ["run 2"]
        assert author.runs.count(["sought"]) == 5
        assert author.runs.count(where="params.half = '1' AND metrics.auc >= 0") == 2
        with pytest.raises(Invalid, match="none that this search gave"):
            author.runs.search(["sought"], after=page.next or "")
        with pytest.raises(Invalid, match="did you mean 'status'"):
            author.runs.search(where="statu = 'failed'")
        with pytest.raises(Invalid, match="limit must be from 1"):
            author.runs.search(limit=0)
        with pytest.raises(NotFound, match="did you mean 'sought'"):
            author.runs.count(["sougth"])

    def test_deleting_and_restoring(self, author: Client, client_as: As) -> None:
        run = author.runs.start(StartRun(experiment="put-aside"))
        assert author.runs.delete(run.id).deleted_at is not None
        assert author.runs.search(["put-aside"]).items == ()
        assert [each.id for each in author.runs.search(["put-aside"], deleted=True).items] == [run.id]
        assert author.runs.restore(run.id) == run
        experiment = author.experiments.delete("put-aside")
        assert experiment in author.experiments.list().items
        assert "put-aside" not in {each.experiment for each in author.runs.search(limit=1000).items}
        with pytest.raises(Forbidden):
            client_as(Role.READER).experiments.restore(experiment.id)
        assert author.experiments.restore(experiment.id).deleted_at is None
        assert author.experiments.get("put-aside").id == experiment.id
        with pytest.raises(NotFound, match="headway experiment list"):
            author.experiments.get("not there at all")

    def test_steps_and_artifacts(self, author: Client) -> None:
        run = author.runs.start(StartRun(experiment="steps"))
        steps = (StepRun(step="load", state=StepState.DONE, started_at=NOW, ended_at=NOW),)
        author.runs.progress(run.id, steps)
        assert author.runs.steps(run.id) == steps
        made = author.runs.add_artifact(run.id, "notes", b"hello", media_type="text/plain")
        assert author.runs.artifacts(run.id) == (made,)
        assert author.blobs.get(made.blob) == b"hello"
        for name in ("", "../notes", "/notes", "a//b", "a\0"):
            with pytest.raises(Invalid, match="cannot name an artifact"):
                author.runs.add_artifact(run.id, name, b"hello")
        assert author.runs.artifacts(run.id) == (made,)

    def test_pipelines_and_results(self, author: Client) -> None:
        run = author.runs.start(StartRun(experiment="cache"))
        nodes = (PipelineNode(step="load"), PipelineNode(step="fit", after=("load",)))
        recorded = author.pipelines.record("cached", nodes, Code(digest="b3:1"))
        assert author.pipelines.record("cached", nodes, Code(digest="b3:1")) == recorded
        for name in ("", "a/b", "5th"):
            with pytest.raises(Invalid, match="cannot name a pipeline"):
                author.pipelines.record(name, nodes, Code(digest="b3:1"))
        assert recorded in author.pipelines.list().items
        key = digest(b"key")
        assert author.pipelines.result(key) is None
        output = Output(blob=author.blobs.put(b"value"), format="bytes")
        kept = author.pipelines.keep(
            StepResult(id="", created_at=NOW, key=key, step="load", run=run.id, outputs=(output,))
        )
        assert author.pipelines.result(key) == kept


class TestBlobs:
    def test_large_ones_are_sent_once(self, author: Client) -> None:
        data = bytes(200_000)
        name = author.blobs.put(data)
        assert author.blobs.has(name)
        assert author.blobs.put(data) == name == digest(data)
        assert author.blobs.get(name) == data

    def test_absent(self, author: Client) -> None:
        with pytest.raises(NotFound):
            author.blobs.get(digest(b"never kept"))
        assert not author.blobs.has(digest(b"never kept"))


class TestDelivery:
    def test_models(self, author: Client, ids: Ids) -> None:
        version = author.models.version(ids["model_version"])
        assert version == author.models.version(version.label)
        assert author.models.onnx(version.label) == b"an onnx file"
        assert version in author.models.versions("late").items
        assert "late" in [model.name for model in author.models.list().items]

    def test_gate_and_release(self, author: Client, ids: Ids) -> None:
        assert author.environments.list().items == (author.environments.get("production"),)
        verdict = author.gates.verdict(ids["verdict"])
        assert author.gates.evidence(verdict.evidence[0]).check == "accuracy"
        assert verdict in author.gates.list("late@1").items
        assert author.releases.check(ids["release"]) == author.releases.get(ids["release"])
        assert author.releases.list("production").items[0].id == ids["release"]

    def test_what_serves(self, author: Client, ids: Ids) -> None:
        deployment = author.deployments.get("arrivals")
        assert author.deployments.list().items == (deployment,)
        assert author.deployments.endpoint("arrivals").ready
        (move,) = author.deployments.traffic("arrivals").items
        assert author.deployments.served("arrivals", move.created_at + timedelta(seconds=1)) == move
        with pytest.raises(NotFound, match="before its first release"):
            author.deployments.served("arrivals", move.created_at - timedelta(days=1))
        assert author.rollouts.list("arrivals").items == (author.rollouts.get(ids["rollout"]),)

    def test_steering_by_hand(self, client_as: As, ids: Ids) -> None:
        operator = client_as(Role.OPERATOR)
        assert operator.rollouts.pause(ids["rollout"], "a look").state is RolloutState.PAUSED
        with pytest.raises(Conflict, match="it has no step 1"):
            operator.rollouts.advance(ids["rollout"], "on")
        assert operator.rollouts.resume(ids["rollout"], "seen").state is RolloutState.RUNNING
        with pytest.raises(Conflict, match="wait for it or roll it back"):
            operator.rollouts.start("arrivals", ids["release"], steps=(5, 100), why="again")
        pinned = operator.deployments.pin("arrivals", ids["release"], "a wish", keys=["a"], prefixes=["b-"])
        assert [(pin.key, pin.starts_with) for pin in pinned.pins] == [("a", False), ("b-", True)]
        assert operator.deployments.unpin("arrivals", "no more").pins == ()
        shadowed = operator.deployments.shadow("arrivals", ids["release"], "a look", percent=5, tolerance=0.01)
        assert shadowed.shadow == Shadow(release=ids["release"], percent=5, tolerance=0.01)
        assert operator.deployments.differences("arrivals", ids["release"], day="2026-03-01") == ()
        assert operator.deployments.unshadow("arrivals", "seen").shadow is None

    def test_predictions(self, author: Client, client_as: As, ids: Ids) -> None:
        assert author.predictions.get("p/0").label == 1.0
        assert author.predictions.get("p/2").label is None
        labelled = author.predictions.label({"p/2": 1.0, "p/0": 1.0, "gone": 0.0})
        assert (labelled.joined, labelled.repeated, labelled.unknown) == (1, 1, ("gone",))
        (quality,) = author.deployments.quality("arrivals", since_day="2026-01-01")
        assert (quality.day, quality.n) == (f"{DAY:%Y-%m-%d}", 3)
        kept = client_as(Role.WORKER).deployments.ingest("arrivals", segment(ids["release"]))
        assert author.predictions.segments("arrivals").items == (kept,)

    def test_monitors_and_alerts(self, client_as: As, ids: Ids) -> None:
        operator = client_as(Role.OPERATOR)
        assert operator.monitors.list().items == (operator.monitors.get("drift"),)
        assert operator.monitors.windows("drift").items[0].reason == "delay moved"
        assert operator.alerts.list().items[0].id == ids["alert"]
        assert operator.alerts.acknowledge(ids["alert"], "looking").state is AlertState.ACKNOWLEDGED
        assert operator.alerts.resolve(ids["alert"], "fixed").note == "fixed"
        assert operator.alerts.get(ids["alert"]).state is AlertState.RESOLVED

    def test_changes(self, author: Client, ids: Ids) -> None:
        change = author.changes.get("1")
        assert change == author.changes.get(ids["change"])
        assert [approval.reason for approval in author.changes.approvals("1")] == ["good"]
        assert author.triggers.list().items == ()
        assert author.changes.dora(NOW, NOW + timedelta(days=1)).settled == 0
        assert author.changes.dora().until > NOW

    def test_status_and_me(self, author: Client, ids: Ids) -> None:
        assert author.me().role is Role.AUTHOR
        status = author.status()
        assert ids["change"] in {change.id for change in status.changes}
        assert status.deployments[0].endpoint is not None
        assert author.version()

    def test_ledger_and_lineage(self, author: Client, ids: Ids) -> None:
        newest = author.ledger.list(limit=3)
        assert [entry.number for entry in newest] == sorted((entry.number for entry in newest), reverse=True)
        assert {entry.verb for entry in author.ledger.list(subject=ids["release"])} == {"release.sign"}
        assert author.ledger.verify() >= newest[0].number
        neighbours = author.lineage.of(ids["model_version"])
        assert ids["run"] in {edge.parent for edge in neighbours.up}
        assert ids["release"] in {edge.child for edge in neighbours.down}


class TestPeople:
    def test_tokens(self, owner: Client) -> None:
        granted = owner.tokens.create("bob@example.org", Role.READER, days=3)
        assert granted.secret.startswith("hw_")
        assert granted.token in owner.tokens.list()
        owner.tokens.revoke("bob@example.org")
        assert next(token for token in owner.tokens.list() if token.id == granted.token.id).revoked_at
        with pytest.raises(NotFound):
            owner.tokens.revoke("bob@example.org")

    def test_who_may_not_is_told_who_may(self, client_as: As) -> None:
        with pytest.raises(Forbidden, match="owner"):
            client_as(Role.READER).tokens.create("eve", Role.OWNER)
        with pytest.raises(Forbidden):
            client_as(Role.READER).datasets.add("x", {"a": [1]})

    def test_decisions(self, tmp_path: Path) -> None:
        world: World = open_world(tmp_path / ".headway")
        try:
            ids = deliver(world)
            operator, approver = client_of(world, Role.OPERATOR), client_of(world, Role.APPROVER)
            rolled_back = operator.rollouts.roll_back(ids["rollout"], "too slow")
            assert (rolled_back.state, rolled_back.reason) == (RolloutState.ROLLED_BACK, "too slow")
            command = OpenChange(deployment="arrivals", model_version=ids["model_version"])
            opened = operator.changes.open(command)
            with pytest.raises(IllegalMove):
                approver.changes.approve(str(opened.number), "too early")
            assert operator.changes.cancel(str(opened.number), "no need").stage is Stage.REJECTED
            verdict_of_first = approver.changes.approvals(ids["change"])[0]
            assert verdict_of_first.decision is Decision.AGREE
        finally:
            world.close()

    def test_project(self, tmp_path: Path) -> None:
        world = open_world(tmp_path / ".headway")
        operator = client_of(world, Role.OPERATOR)
        try:
            text = '[project]\nname = "x"\n[environments.production]\ngate = ["contract"]\n'
            assert operator.project.apply(text).environments == ("production",)
            assert operator.project.text() == text
            with pytest.raises(Invalid, match="enviroments"):
                operator.project.apply('[project]\nname = "x"\n[enviroments.production]\n')
        finally:
            world.close()

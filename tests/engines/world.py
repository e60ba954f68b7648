"""A platform in memory with everything declared, and the parts of people and workers, to be played by a test."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headway.engines.conductor import Conductor
from headway.engines.workers import ATTEMPTS, Workers
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.records import encode
from headway.lifecycle.changes.records import Change, OpenChange
from headway.lifecycle.datasets.records import AddVersion as AddDataset
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.environments.records import CheckSpec, RolloutPolicy
from headway.lifecycle.gates.records import Finding, Judge, Outcome
from headway.lifecycle.models.records import AddVersion, Datatype, ModelVersion, Signature, Task, TensorSpec
from headway.lifecycle.monitors.skew import SkewedDay
from headway.lifecycle.predictions.records import Captured, Counts, Segment, SegmentContent
from headway.lifecycle.releases.records import Decision
from headway.lifecycle.runs.records import RunState
from headway.testing.memory_platform import MemoryTarget, OpenedPlatform, open_platform

AUTHOR = Actor(name="author", role=Role.AUTHOR)
APPROVER = Actor(name="approver", role=Role.APPROVER)
WORKER = Actor(name="worker", role=Role.WORKER)
GATEKEEPER = Actor(name="gatekeeper", role=Role.GATEKEEPER)
DEPLOYMENT = "late"
POLICY = RolloutPolicy(
    steps=(10, 100), min_requests=50, max_error_rate=0.2, max_slow_rate=0.2, patience_s=600, mirror=False
)
TENSOR = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
SIGNATURE = Signature(inputs=(TENSOR,), outputs=(TENSOR.but(name="score"),), score="score")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ListedWorkers(Workers):
    """Starts no process: `asked` says for what one would have been started; a test plays those in `alive`, whose logs
    are in `folder`."""

    def __init__(self, folder: Path = Path("workers")) -> None:
        super().__init__(folder, (), lambda role: {})
        self.asked: list[tuple[str, ...]] = []
        self.alive: set[str] = set()
        self.closed = False

    def ensure(self, key: str, role: str, arguments: Sequence[str], cwd: Path | None = None) -> bool:
        if key in self.alive:
            return True
        if sum(each[0] == key for each in self.asked) >= ATTEMPTS:
            return False
        self.asked.append((key, role, *arguments))
        self.alive.add(key)
        return True

    def busy(self, key: str) -> bool:
        return key in self.alive

    def keep(self, keys: Collection[str]) -> None:
        self.alive &= set(keys)

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, opened: OpenedPlatform | None = None) -> None:
        self.opened = opened or open_platform()
        self.platform, self.clock, self.stores = self.opened.platform, self.opened.clock, self.opened.stores
        self.target, self.workers = MemoryTarget(), ListedWorkers()
        self.made = 0
        self.platform.environments.declare(
            "production", by=SYSTEM, gate=(CheckSpec(check="accuracy"),), approvals=1, rollout=POLICY
        )
        self.platform.deployments.declare(DEPLOYMENT, "production", "late", by=SYSTEM)

    def conductor(self, holder: str = "here") -> Conductor:
        return Conductor(
            self.platform, self.stores.leases, self.workers, self.target, self.clock, holder, Path("project")
        )

    def dataset(self, name: str, note: str = "") -> str:
        self.made += 1
        blob = self.platform.blobs.put(encode(Summary(rows=self.made, columns=())))
        return self.platform.datasets.add(AddDataset(dataset=name, blob=blob, note=note), by=AUTHOR).id

    def open(self, *, break_glass: str = "", by: Actor = AUTHOR) -> Change:
        command = OpenChange(deployment=DEPLOYMENT, pipeline="train", break_glass=break_glass)
        return self.platform.changes.open(command, by=by)

    def change(self, change: Change) -> Change:
        return self.platform.changes.get(change.id)

    def work(self, run: str) -> ModelVersion:
        """As a worker does: claim the run, register a model version from it, finish it."""
        lease = self.platform.runs.claim(run, "a worker")
        self.platform.runs.move(run, RunState.RUNNING, by=WORKER, token=lease.token)
        self.made += 1
        command = AddVersion(
            model="late", blob=self.platform.blobs.put(b"model %d" % self.made), signature=SIGNATURE,
            task=Task.BINARY, run=run, training=(self.dataset("training"),), evaluation=self.dataset("held-out"),
        )  # fmt: skip
        version = self.platform.models.add(command, by=WORKER)
        self.platform.runs.move(run, RunState.FINISHED, by=WORKER, token=lease.token)
        return version

    def judge(self, change: Change, outcome: Outcome = Outcome.PASS) -> None:
        change = self.change(change)
        finding = Finding(outcome=outcome, reason="measured")
        self.platform.gates.judge(
            Judge(
                environment=change.environment, model_version=change.model_version, change=change.id,
                findings={"accuracy": finding}, inputs={}, code="0",
            ),
            by=GATEKEEPER,
        )  # fmt: skip

    def approve(self, change: Change) -> None:
        self.platform.changes.decide(change.id, Decision.AGREE, "good", by=APPROVER)

    def serve(self) -> None:
        """As the supervisor does: apply what should be served."""
        self.target.apply(self.platform.deployments.routing(DEPLOYMENT))

    def capture(
        self, release: str, rows: int = 100, errors: int = 0, at: datetime = NOON, *, ahead: bool = False
    ) -> Segment:
        """A segment of requests to a release has come in; after they happened, unless their clock is `ahead`."""
        self.made += 1
        if not ahead:
            self.clock.advance(max(0.0, (at - self.clock.now()).total_seconds()))
        content = SegmentContent(
            captured=tuple(self._captured(row, release, at) for row in range(rows)),
            counts=(Counts(release=release, requests=rows, errors=errors, latency={1000: rows}),),
            first_event_at=at, last_event_at=at, rows=rows,
        )  # fmt: skip
        data = encode(content)
        self.clock.advance(1)
        return self.platform.predictions.ingest(DEPLOYMENT, self.platform.blobs.put(data), data, by=WORKER)

    def _captured(self, row: int, release: str, at: datetime) -> Captured:
        name = f"{self.made}/{row}"
        return Captured(id=name, deployment="", segment="", row=row, release=release, event_at=at, score=0.5)

    def settle(self, change: Change) -> Change:
        """Bring a change all the way by whatever it takes."""
        conductor = self.conductor()
        for _ in range(30):
            conductor.step()
            self.serve()
            now = self.change(change)
            if now.over:
                return now
            match now.stage:
                case "running":
                    self.work(now.run)
                case "registered":
                    self.judge(now)
                case "judged":
                    self.approve(now)
                case "rolling_out":
                    self.capture(now.release)
        raise AssertionError(f"change {change.number} is still {self.change(change).stage}")

    def at_noon(self, days: int) -> datetime:
        return NOON + timedelta(days=days)


def no_skew(segments: Sequence[bytes], day: str, release: str, columns: Collection[str]) -> SkewedDay:
    """For observers of worlds without a contract."""
    raise AssertionError("no monitor of this test watches for skew")

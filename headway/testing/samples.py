"""One valid record of each kind, for tests that need some."""

from __future__ import annotations

from headway.kernel.access import AccessToken, Role
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.records import Record
from headway.lifecycle.changes.records import Cause, Change, Firing, Moment, Stage, Trigger
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.lifecycle.datasets.schema import Column, Kind
from headway.lifecycle.environments.records import CheckSpec, Environment
from headway.lifecycle.feature_views.records import Feature, FeatureView, Materialisation
from headway.lifecycle.gates.records import Evidence, Finding, Outcome, Verdict
from headway.lifecycle.models.records import (
    Datatype,
    Model,
    ModelVersion,
    Registration,
    Signature,
    Task,
    TensorSpec,
    Trust,
)
from headway.lifecycle.monitors.records import Alert, Monitor, Watches, Window
from headway.lifecycle.predictions.records import Counts, Segment
from headway.lifecycle.releases.records import Approval, Decision, Envelope, Release
from headway.lifecycle.retention.policy import Retention, RetentionPolicy
from headway.lifecycle.retention.records import Fate, Sweep, Tally, Tombstone
from headway.lifecycle.rollouts.records import Deployment, Rollout, Share, TrafficChange
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Output, Pipeline, PipelineNode, Run, StepResult
from headway.lifecycle.runs.traces import Trace
from headway.lifecycle.webhooks.records import Webhook

_BLOB = "b3:" + "ab" * 32
_SIGNATURE = Signature(
    inputs=(TensorSpec(name="distance", datatype=Datatype.FP32, shape=(-1, 1)),),
    outputs=(TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),),
    score="probabilities",
)
_CONTRACT = Contract(columns=(ColumnRule(name="distance", kind=Kind.FLOAT, low=0.0, high=6000.0, unit="mi"),))


def samples(ids: Ids, clock: Clock) -> dict[str, Record]:
    """Name of the store in `Stores` -> a record for it, all with new ids and the present as their time."""
    return {**_development(ids, clock), **_delivery(ids, clock), **_service(ids, clock)}


def _development(ids: Ids, clock: Clock) -> dict[str, Record]:
    now = clock.now()
    return {
        "tokens": AccessToken(
            id=ids("tk"), created_at=now, name="ada", role=Role.AUTHOR, secret_sha256=ids("secret"), expires_at=now
        ),
        "datasets": Dataset(id=ids("ds"), created_at=now, name="orders", about="one row per order"),
        "dataset_versions": DatasetVersion(
            id=ids("dv"), created_at=now, dataset="orders", number=1, blob=_BLOB, size=10, rows=2, contract=_CONTRACT,
            schema=(Column(name="distance", kind=Kind.FLOAT),), note="first",
        ),
        "feature_views": FeatureView(
            id=ids("fv"), created_at=now, name="customers", number=1, source="orders", entity=("customer",),
            event_time="at", features=(Feature(name="amount"), Feature(name="per_night", expression="amount / nights")),
            ttl_s=3600.0,
        ),
        "materialisations": Materialisation(
            id=ids("fm"), created_at=now, view="fv_1", version="dv_1", as_of=now, entities=2, written=1, removed=0
        ),
        "experiments": Experiment(id=ids("ex"), created_at=now, name="late"),
        "runs": Run(id=ids("rn"), created_at=now, experiment="late", params={"depth": "3"}, started_at=now),
        "artifacts": Artifact(id=ids("ar"), created_at=now, run="rn_1", name="model.onnx", blob=_BLOB, size=10),
        "step_results": StepResult(
            id=ids("sr"), created_at=now, key="k", step="train", run="rn_1",
            outputs=(Output(blob=_BLOB, format="onnx"),),
        ),
        "pipelines": Pipeline(
            id=ids("pl"), created_at=now, name="train", nodes=(PipelineNode(step="load"),), params={"rows": 5}
        ),
        "logged_models": LoggedModel(id=ids("lm"), created_at=now, name="forest", experiment="ex_1", run="rn_1"),
        "traces": Trace(id=ids("tx"), created_at=now, request=f"tr-{ids('trace')}", experiment="ex_1"),
        "registrations": Registration(
            id=ids("rg"), created_at=now, model="late", number=1, source="models:/m-1", run="rn_1", tags={"team": "ops"}
        ),
        "trusts": Trust(
            id=ids("tu"), created_at=now, blob=f"b3:{ids('blob'):0>64}", label="late@1", why="ours", trusted_by="ada"
        ),
        "models": Model(id=ids("md"), created_at=now, name="late"),
        "model_versions": ModelVersion(
            id=ids("mv"), created_at=now, model="late", number=1, blob=_BLOB, size=10, signature=_SIGNATURE,
            task=Task.BINARY, run="rn_1", training=("dv_1",), evaluation="dv_2", contract=_CONTRACT,
            metrics={"auc": 0.7},
        ),
    }  # fmt: skip


def _delivery(ids: Ids, clock: Clock) -> dict[str, Record]:
    now = clock.now()
    return {
        "environments": Environment(id=ids("en"), created_at=now, name="production", gate=(CheckSpec(check="parity"),)),
        "evidence": Evidence(
            id=ids("ev"), created_at=now, check="parity", settings={}, subject="mv_1", subject_blob=_BLOB,
            inputs={"data": "dv_2"}, finding=Finding(outcome=Outcome.PASS, reason="equal"), code="0.1", actor="ada",
        ),
        "verdicts": Verdict(
            id=ids("vd"), created_at=now, environment="production", model_version="mv_1", change="ch_1", gate=_BLOB,
            outcome=Outcome.UNPROVEN, evidence=("ev_1",), reasons=("too few rows",),
        ),
        "approvals": Approval(
            id=ids("ap"), created_at=now, change="ch_1", verdict="vd_1", actor="bo", decision=Decision.AGREE,
            reason="measured twice",
        ),
        "releases": Release(
            id=ids("rl"), created_at=now, model_version="mv_1", label="late@1", blob=_BLOB, environment="production",
            change="ch_1", envelope=Envelope(payload_type="t", payload="cA==", key="k", signature="cw=="),
        ),
        "triggers": Trigger(
            id=ids("tr"), created_at=now, name="drifted", on=Cause.ALERT, pipeline="train", deployment="late"
        ),
        "firings": Firing(
            id=ids("fi"), created_at=now, trigger="tr_1", key=ids("al"), cause=Cause.SCHEDULE, slot_at=now,
            params={"day": "2026-01-01"},
        ),
        "changes": Change(
            id=ids("ch"), created_at=now, number=1, title="retrain", cause=Cause.ALERT, trigger="tr_1", opened_by="ada",
            caused_by="al_1", deployment="late", environment="production",
            history=(Moment(stage=Stage.OPENED, at=now),),
        ),
    }  # fmt: skip


def _service(ids: Ids, clock: Clock) -> dict[str, Record]:
    now = clock.now()
    traffic = (Share(release="rl_1", percent=100),)
    return {
        "deployments": Deployment(
            id=ids("dp"), created_at=now, name="late", environment="production", model="late", traffic=traffic
        ),
        "traffic": TrafficChange(
            id=ids("tc"), created_at=now, deployment="late", generation=1, traffic=traffic, rollout="ro_1", why="first"
        ),
        "rollouts": Rollout(
            id=ids("ro"), created_at=now, deployment="late", change="ch_1", candidate="rl_1", incumbent=None,
            steps=(10, 100),
        ),
        "segments": Segment(
            id=ids("sg"), created_at=now, deployment="late", blob=_BLOB, size=10, rows=1, first_event_at=now,
            last_event_at=now, counts=(Counts(release="rl_1", requests=1, errors=0, latency={1000: 1}),),
        ),
        "monitors": Monitor(id=ids("mo"), created_at=now, name="drift", deployment="late", watches=Watches.DRIFT),
        "windows": Window(
            id=ids("wi"), created_at=now, monitor="drift", release="rl_1", day="2026-01-01", rows=900,
            outcome=Outcome.PASS, statistic=1.5, limit=100.0, reason="quiet",
        ),
        "alerts": Alert(
            id=ids("al"), created_at=now, monitor="drift", deployment="late", release="rl_1", window="wi_1",
            day="2026-01-01", message="distance has moved",
        ),
        "tombstones": Tombstone(
            id=ids("rn"), created_at=now, kind="rn", name="nightly", made_at=now, sealed=_BLOB, purged_by="ada",
            why="asked for",
        ),
        "sweeps": Sweep(
            id=ids("sw"), created_at=now, swept_by="ada", older_than_s=60.0, purged={"deleted_days": 1},
            blobs={Fate.DESTROYED: Tally(objects=1, bytes=10)},
        ),
        "policies": Retention(id=ids("rt"), created_at=now, policy=RetentionPolicy(deleted_days=30), declared_by="ada"),
        "webhooks": Webhook(
            id=ids("wh"), created_at=now, name=ids("chat"), url="https://example.com/hook", events=("change.settled",)
        ),
    }  # fmt: skip

"""What each stage asks of its stores."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headway.lifecycle.changes.records import OVER, Cause, FiringState, Stage
from headway.lifecycle.monitors.records import AlertState
from headway.lifecycle.rollouts.records import MOVES, RolloutState
from headway.testing.contracts.state import State


def kept(state: State, name: str, /, **changes: object) -> Any:
    record = state.sample(name, **changes)
    state.keep(name, record)
    return record


class QuestionsContract:
    @pytest.mark.parametrize(
        "name", ["datasets", "experiments", "models", "environments", "deployments", "monitors", "triggers"]
    )
    def test_named(self, state: State, name: str) -> None:
        ann, bob = (kept(state, name, name=given) for given in ("ann", "bob"))
        store = getattr(state.stores, name)
        assert (store.named("ann"), store.named("bob"), store.named("cyd")) == (ann, bob, None)

    @pytest.mark.parametrize("name", ["environments", "deployments", "monitors", "triggers"])
    def test_all_in_the_order_of_names(self, state: State, name: str) -> None:
        late, early = (kept(state, name, name=given) for given in ("b", "B"))
        assert getattr(state.stores, name).all() == [early, late]

    @pytest.mark.parametrize(("name", "line"), [("dataset_versions", "dataset"), ("model_versions", "model")])
    def test_a_version_by_number_or_the_newest(self, state: State, name: str, line: str) -> None:
        second, first = (kept(state, name, number=number, **{line: "a"}) for number in (2, 1))
        kept(state, name, number=3, **{line: "b"})
        store = getattr(state.stores, name)
        assert (store.of("a"), store.of("a", 1), store.of("a", 3), store.of("c")) == (second, first, None, None)
        assert (store.get(first.id), store.get("nothing")) == (first, None)

    def test_a_dataset_version_by_content(self, state: State) -> None:
        version = kept(state, "dataset_versions", dataset="a")
        assert state.stores.dataset_versions.holding("a", version.blob) == version
        assert state.stores.dataset_versions.holding("b", version.blob) is None
        assert state.stores.dataset_versions.holding("a", "b3:" + "0" * 64) is None

    def test_the_model_version_that_a_run_made(self, state: State) -> None:
        outer = kept(state, "runs")
        inner = kept(state, "runs", parent=outer.id)
        direct = kept(state, "model_versions", run=outer.id, number=1)
        assert state.stores.model_versions.made_by(outer.id) == direct
        nested = kept(state, "model_versions", run=inner.id, number=2)
        assert state.stores.model_versions.made_by(outer.id) == nested
        assert state.stores.model_versions.made_by(inner.id) == nested
        assert state.stores.model_versions.made_by("rn_other") is None

    def test_runs_by_each_column(self, state: State) -> None:
        run = kept(state, "runs", experiment="e", parent="p", change="c")
        kept(state, "runs", experiment="other")
        ask = state.stores.runs.list
        for found in (ask(experiment="e"), ask(parent="p"), ask(change="c"), ask(experiment="e", state="pending")):
            assert found.items == (run,)
        assert ask(experiment="e", state="running").items == ()

    def test_artifacts_and_results_are_found_newest_first(self, state: State) -> None:
        first, second = (kept(state, "artifacts", run="r", name="model") for _ in range(2))
        assert state.stores.artifacts.list("r") == [first, second]
        assert state.stores.artifacts.named("r", "model") == second
        assert state.stores.artifacts.named("r", "other") is None
        _, newest = (kept(state, "step_results", key="k") for _ in range(2))
        assert state.stores.step_results.keyed("k") == newest
        assert state.stores.step_results.keyed("other") is None
        other = kept(state, "step_results", key="k2")
        assert state.stores.step_results.among(["k2", "none", "k"]) == {"k": newest, "k2": other}
        assert state.stores.step_results.among(["none"] * 900) == {}
        assert state.stores.step_results.among([]) == {}
        _, again = (kept(state, "pipelines", name="p") for _ in range(2))
        assert state.stores.pipelines.named("p") == again

    def test_approvals_of_a_change(self, state: State) -> None:
        approvals = [kept(state, "approvals", change="ch_a") for _ in range(2)]
        kept(state, "approvals", change="ch_b")
        assert state.stores.approvals.list("ch_a") == approvals

    def test_the_traffic_at_a_moment(self, state: State) -> None:
        start = state.clock.now()
        first = kept(state, "traffic", deployment="d", generation=1)
        same_time = kept(state, "traffic", deployment="d", generation=2)
        later = kept(state, "traffic", deployment="d", generation=3, created_at=start + timedelta(seconds=10))
        at = state.stores.traffic.at
        assert first.created_at == same_time.created_at
        assert at("d", start) == same_time
        assert at("d", start + timedelta(seconds=9)) == same_time
        assert at("d", start + timedelta(seconds=10)) == later
        assert at("d", start - timedelta(microseconds=1)) is None
        assert at("other", start) is None

    def test_open_rollouts(self, state: State) -> None:
        rollouts = [kept(state, "rollouts", deployment="d", state=each) for each in RolloutState]
        other = kept(state, "rollouts", deployment="e")
        still = [rollout for rollout in rollouts if MOVES[rollout.state]]
        assert state.stores.rollouts.open("d") == still
        assert state.stores.rollouts.open() == [*still, other]

    def test_windows_by_day_and_the_latest(self, state: State) -> None:
        late = kept(state, "windows", monitor="m", release="rl_1", day="2026-01-09")
        early = kept(state, "windows", monitor="m", release="rl_1", day="2026-01-02")
        of = state.stores.windows.of
        assert (of("m", "rl_1"), of("m", "rl_1", "2026-01-02")) == (late, early)
        assert (of("m", "rl_2"), of("m", "rl_1", "2026-01-03"), of("n", "rl_1")) == (None, None, None)

    def test_alerts_that_are_not_resolved(self, state: State) -> None:
        alerts = [kept(state, "alerts", monitor="m", state=each) for each in AlertState]
        other = kept(state, "alerts", monitor="n")
        assert state.stores.alerts.unresolved("m") == alerts[:2]
        assert state.stores.alerts.unresolved() == [*alerts[:2], other]

    def test_changes_by_number_stage_and_cause(self, state: State) -> None:
        assert state.stores.changes.last_number() == 0
        changes = [
            kept(state, "changes", number=number, stage=stage, trigger="tr_a", caused_by=f"al_{number}")
            for number, stage in enumerate(Stage, 1)
        ]
        store = state.stores.changes
        assert store.last_number() == len(changes)
        assert (store.numbered(2), store.numbered(99)) == (changes[1], None)
        assert store.open() == [change for change in changes if change.stage not in OVER]
        assert (store.caused("tr_a"), store.caused("tr_a", "al_2")) == (changes[-1], changes[1])
        assert (store.caused("tr_b"), store.caused("tr_a", "al_99"), store.caused("tr_b", "al_2")) == (None, None, None)

    def test_firings_by_key_and_those_that_wait(self, state: State) -> None:
        start = state.clock.now()
        first = kept(state, "firings", key="a", slot_at=start)
        other = kept(state, "firings", key="a", trigger="tr_2", slot_at=start + timedelta(days=3))
        opened = kept(state, "firings", key="b", slot_at=start + timedelta(days=1), state=FiringState.OPENED)
        asked = kept(state, "firings", key="c", slot_at=start + timedelta(days=2), cause=Cause.BACKFILL)
        store = state.stores.firings
        assert (store.keyed("tr_1", "a"), store.keyed("tr_2", "a"), store.keyed("tr_2", "b")) == (first, other, None)
        assert (store.get(opened.id), store.get("fi_none")) == (opened, None)
        assert (store.waiting(), store.waiting("tr_1")) == ([first, other, asked], [first, asked])
        assert store.last_slot("tr_1") == start + timedelta(days=1)
        assert store.last_slot("tr_3") is None
        assert store.list("tr_1", state=FiringState.OPENED).items == (opened,)

    def test_a_token_by_its_secret(self, state: State) -> None:
        tokens = [kept(state, "tokens") for _ in range(2)]
        assert state.stores.tokens.by_secret(tokens[1].secret_sha256) == tokens[1]
        assert state.stores.tokens.by_secret("other") is None
        assert list(state.stores.tokens.all()) == tokens

    def test_segments_by_time_content_and_order_of_keeping(self, state: State) -> None:
        start = state.clock.now()
        hours = [start + timedelta(hours=hour) for hour in range(5)]
        blob = "b3:" + "cd" * 32
        late = state.sample("segments", deployment="d", blob=blob, first_event_at=hours[2], last_event_at=hours[3])
        early = kept(state, "segments", deployment="d", first_event_at=hours[0], last_event_at=hours[1])
        state.keep("segments", late, early)
        kept(state, "segments", deployment="other")
        store = state.stores.segments
        assert store.between("d", hours[0], hours[4]) == [early, late]
        assert store.between("d", hours[1], hours[2]) == [early]
        assert store.between("d", hours[4], hours[4]) == []
        assert store.since("d") == [early, late], "the order of keeping, not of ids"
        assert store.since("d", early.id) == [late]
        assert store.since("d", late.id) == []
        assert store.since("d", limit=1) == [early]
        assert store.holding("d", blob) == late
        assert store.holding("other", blob) is None

"""What holds for every store of records."""

from __future__ import annotations

from typing import Any

import pytest

from headway.errors import AlreadyExists, Invalid
from headway.kernel.ledger import verify
from headway.lifecycle.runs.records import Pipeline
from headway.lifecycle.stores import Stores
from headway.testing.contracts.state import State
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples

EVERY = sorted(samples(counted_ids(), FrozenClock()))
_PAGED: dict[str, dict[str, str]] = {
    "datasets": {},
    "dataset_versions": {"dataset": "orders"},
    "feature_views": {},
    "materialisations": {"view": "fv_1"},
    "experiments": {},
    "runs": {"experiment": "late"},
    "pipelines": {},
    "logged_models": {"experiment": "ex_1"},
    "traces": {"experiment": "ex_1"},
    "registrations": {"model": "late"},
    "models": {},
    "model_versions": {"model": "late"},
    "evidence": {"subject": "mv_1"},
    "verdicts": {"model_version": "mv_1"},
    "releases": {"environment": "production"},
    "traffic": {"deployment": "late"},
    "rollouts": {"deployment": "late"},
    "segments": {"deployment": "late"},
    "windows": {"monitor": "drift"},
    "alerts": {},
    "firings": {"trigger": "tr_1"},
    "changes": {},
    "tombstones": {"kind": "rn"},
    "sweeps": {},
    "policies": {},
}
"""Stores with pages -> an argument of the page that every sample fits."""
_UNIQUE = {
    "datasets": "name",
    "experiments": "name",
    "models": "name",
    "environments": "name",
    "deployments": "name",
    "monitors": "name",
    "triggers": "name",
    "firings": "key",
    "dataset_versions": "number",
    "feature_views": "number",
    "model_versions": "number",
    "registrations": "number",
    "traces": "request",
    "changes": "number",
    "tokens": "secret_sha256",
    "trusts": "blob",
}


class RecordStoreContract:
    @pytest.mark.parametrize("name", EVERY)
    def test_a_record_comes_back_as_it_was_kept(self, state: State, name: str) -> None:
        record = state.sample(name)
        state.keep(name, record)
        assert all_of(state.stores, name, record) == [record]
        assert verify(state.stores.ledger) == 1

    @pytest.mark.parametrize("name", EVERY)
    def test_a_later_put_replaces(self, state: State, name: str) -> None:
        record = state.sample(name)
        later = record.but(created_at=state.clock.advance(1))
        state.keep(name, record, later)
        assert all_of(state.stores, name, record) == [later]
        assert verify(state.stores.ledger) == 2

    @pytest.mark.parametrize("name", EVERY)
    def test_nothing_is_written_outside_an_act(self, state: State, name: str) -> None:
        with pytest.raises(RuntimeError, match="inside"):
            getattr(state.stores, name).put(state.sample(name))

    @pytest.mark.parametrize("name", sorted(_UNIQUE))
    def test_what_is_unique_is_kept_once(self, state: State, name: str) -> None:
        first, column = state.sample(name), _UNIQUE[name]
        state.keep(name, first)
        with pytest.raises(AlreadyExists):
            state.keep(name, state.sample(name, **{column: getattr(first, column)}))
        assert all_of(state.stores, name, first) == [first]
        assert verify(state.stores.ledger) == 1

    @pytest.mark.parametrize("name", sorted(_PAGED))
    def test_pages_are_newest_first_and_complete(self, state: State, name: str) -> None:
        column = _UNIQUE.get(name)
        kept = []
        for number in range(1, 8):
            kept.append(state.sample(name, **_other(column, number)))
        state.keep(name, *kept)
        store, seen, before = getattr(state.stores, name), [], None
        ask = store.list if hasattr(store, "list") else store.all
        for expected in (3, 3, 1):
            page = ask(**_PAGED[name], limit=3, before=before)
            assert len(page.items) == expected
            seen += page.items
            before = page.next
        assert before is None
        assert seen == kept[::-1]
        assert all(not ask(**{key: "other"}, limit=3).items for key in _PAGED[name])

    @pytest.mark.parametrize("limit", [0, 1001])
    def test_a_page_has_limits(self, state: State, limit: int) -> None:
        with pytest.raises(Invalid, match="limit"):
            state.stores.runs.list(limit=limit)

    def test_a_record_that_cannot_be_read_again_is_refused(self, state: State) -> None:
        with pytest.raises(Invalid):
            state.keep("model_versions", state.sample("model_versions", metrics={"auc": float("nan")}))
        assert state.stores.model_versions.list().items == ()

    def test_a_text_that_is_no_unicode_is_refused(self, state: State) -> None:
        with pytest.raises(Invalid):
            state.keep("runs", state.sample("runs", name="\ud800"))

        def why() -> None:
            with state.act(why="\ud800") as act:
                act.save(state.stores.runs, state.sample("runs"))

        with pytest.raises(Invalid):
            why()
        assert state.stores.runs.list().items == ()

    def test_what_was_kept_cannot_be_changed_in_place(self, state: State) -> None:
        params: dict[str, Any] = {"rows": 5}
        state.keep("pipelines", state.sample("pipelines", params=params))
        params["rows"] = 6
        found = state.stores.pipelines.named("train")
        assert isinstance(found, Pipeline)
        assert found.params == {"rows": 5}
        found.params["rows"] = 7
        assert state.stores.pipelines.named("train") != found


def _other(column: str | None, number: int) -> dict[str, object]:
    return {} if column is None else {column: number if column == "number" else f"name-{number}"}


def all_of(stores: Stores, name: str, like: Any) -> list[Any]:
    """All records of a store that are like this one, by whichever question the store has for that."""
    store = getattr(stores, name)
    if name == "step_results":
        return [store.keyed(like.key)]
    if name == "trusts":
        return [store.of(like.blob)]
    if hasattr(store, "all"):
        found = store.all()
    else:
        arguments = {
            "approvals": ("change",), "artifacts": ("run",), "traffic": ("deployment",), "firings": ("trigger",),
            "materialisations": ("view",),
        }.get(name, ())  # fmt: skip
        found = store.list(*(getattr(like, argument) for argument in arguments))
    return list(getattr(found, "items", found))

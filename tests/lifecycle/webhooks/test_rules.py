"""When a delivery is tried again, when it is given up, how it is signed, and what it says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.kernel.events import Event
from headway.lifecycle.webhooks.records import Attempt, Delivery, DeliveryState
from headway.lifecycle.webhooks.rules import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    after,
    checked_name,
    checked_secret,
    pause_s,
    signature,
)
from headway.lifecycle.webhooks.topics import MOST_BYTES, TOPICS, body_of, checked_topics, sample_of, topic_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(hours=24)
PENDING, DELIVERED, GIVEN_UP = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.GIVEN_UP


def delivery(attempts: int = 0, age: timedelta = timedelta()) -> Delivery:
    return Delivery(
        id="wd_1", created_at=NOW, webhook="wh_1", event="change.settled", number=1, subject="ch_1",
        happened_at=NOW - age, attempts=attempts,
    )  # fmt: skip


OUTCOMES = [
    (Attempt(status=200), timedelta(), DELIVERED),
    (Attempt(status=204), DAY * 9, DELIVERED),
    (Attempt(status=500), timedelta(), PENDING),
    (Attempt(status=503), DAY - timedelta(seconds=1), PENDING),
    (Attempt(status=503), DAY, GIVEN_UP),
    (Attempt(status=429), timedelta(), PENDING),
    (Attempt(status=408), timedelta(), PENDING),
    (Attempt(error="no answer in time"), timedelta(), PENDING),
    (Attempt(error="no answer in time"), DAY, GIVEN_UP),
    (Attempt(error="not public", hopeless=True), timedelta(), GIVEN_UP),
    (Attempt(status=301), timedelta(), GIVEN_UP),
    (Attempt(status=400), timedelta(), GIVEN_UP),
    (Attempt(status=404), timedelta(), GIVEN_UP),
    (Attempt(status=410), timedelta(), GIVEN_UP),
]


@pytest.mark.parametrize(("attempt", "age", "state"), OUTCOMES)
def test_what_becomes_of_a_delivery(attempt: Attempt, age: timedelta, state: DeliveryState) -> None:
    told = after(delivery(age=age), attempt, NOW, 0.5)
    assert (told.state, told.attempts, told.status) == (state, 1, attempt.status)
    assert (told.ended_at is None) is (state is PENDING)
    assert (told.next_attempt_at is not None) is (state is PENDING)
    assert bool(told.error) is (state is not DELIVERED)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(allow_nan=False))
def test_pauses_grow_and_stay_within_bounds(attempts: int, jitter: float, asked: float) -> None:
    pause = pause_s(attempts, asked, jitter)
    assert FIRST_PAUSE_S / 2 <= pause <= LONGEST_PAUSE_S
    assert pause >= min(asked, LONGEST_PAUSE_S)
    assert pause_s(attempts, 0, jitter) <= pause_s(attempts + 1, 0, jitter)
    assert pause_s(attempts, 0, 0.0) < pause_s(attempts, 0, 0.9)


def test_a_receiver_can_check_the_signature() -> None:
    """As MLflow's documentation tells receivers to."""
    said = signature("s3cret", "wd_1", "1767225600", b'{"a":1}')
    digest = hmac.new(b"s3cret", b'wd_1.1767225600.{"a":1}', hashlib.sha256).digest()
    assert said == "v1," + base64.b64encode(digest).decode()
    assert signature("s3cret", "wd_2", "1767225600", b'{"a":1}') != said
    assert signature("other", "wd_1", "1767225600", b'{"a":1}') != said


def event(kind: str, **facts: object) -> Event:
    return Event(number=1, kind=kind, subject="md_1", at=NOW, facts=dict(facts))


NAMES = [
    ("ModelRegistered", {}, "registered_model.created"),
    ("ModelRegistered", {"prompt": True}, "prompt.created"),
    ("ModelVersionAdded", {}, "model_version.created"),
    ("ModelVersionTagSet", {}, "model_version_tag.set"),
    ("ModelVersionTagDeleted", {"prompt": True}, "prompt_version_tag.deleted"),
    ("ModelAliasSet", {}, "model_version_alias.created"),
    ("ModelAliasDeleted", {}, "model_version_alias.deleted"),
    ("ChangeOpened", {"number": 1}, "change.opened"),
    ("ChangeEnded", {"stage": "settled"}, "change.settled"),
    ("ChangeEnded", {"stage": "rejected"}, "change.rejected"),
    ("ApprovalGiven", {"decision": "agree"}, "release.approved"),
    ("ApprovalGiven", {"decision": "decline"}, "release.declined"),
    ("ReleaseSigned", {}, "release.signed"),
    ("AlertRaised", {}, "alert.opened"),
    ("RolloutEnded", {"state": "promoted"}, "rollout.promoted"),
    ("RolloutEnded", {"state": "rolled_back"}, "rollout.rolled_back"),
    ("RunEnded", {"state": "failed"}, None),
    ("TrafficMoved", {}, None),
    ("Whatever", {"stage": "settled"}, None),
]


@pytest.mark.parametrize(("kind", "facts", "topic"), NAMES)
def test_what_an_event_is_called(kind: str, facts: dict[str, object], topic: str | None) -> None:
    found = topic_of(event(kind, **facts))
    assert found == topic
    assert topic is None or topic in TOPICS


def test_a_body_has_the_envelope_of_mlflow() -> None:
    facts = {"name": "late", "tags": {"a": "b"}, "description": None, "prompt": False}
    said = json.loads(body_of(event("ModelRegistered", **facts), "registered_model.created"))
    assert said == {
        "entity": "registered_model", "action": "created", "timestamp": "2026-01-01T00:00:00+00:00",
        "data": {"name": "late", "tags": {"a": "b"}, "description": None},
    }  # fmt: skip
    prompt = event("ModelVersionAdded", name="p", version="1", source="s", run_id=None, description=None, prompt=True,
                   tags={"mlflow.prompt.text": "Hi {{you}}", "mlflow.prompt.is_prompt": "true", "k": "v"})  # fmt: skip
    assert json.loads(body_of(prompt, "prompt_version.created"))["data"] == {
        "name": "p", "version": "1", "template": "Hi {{you}}", "tags": {"k": "v"}, "description": None,
    }  # fmt: skip
    change = json.loads(body_of(event("ChangeEnded", stage="settled", number=7), "change.settled"))
    assert change["data"] == {"id": "md_1", "stage": "settled", "number": 7}


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 200_000), max_size=6))
def test_a_body_is_bounded_and_says_what_it_leaves_out(sizes: dict[str, int]) -> None:
    facts = {f"f{name}": "x" * size for name, size in sizes.items()}
    body = body_of(event("ModelRegistered", name="late", **facts), "registered_model.created")
    assert len(body) <= MOST_BYTES
    data = json.loads(body)["data"]
    assert data["name"] == "late"
    assert {*data, *data.get("left_out", [])} - {"left_out"} == {"name", *facts}


def test_the_same_event_gives_the_same_bytes() -> None:
    one = event("ModelRegistered", name="late", tags={"b": "1", "a": "2"})
    other = event("ModelRegistered", tags={"a": "2", "b": "1"}, name="late")
    assert body_of(one, "registered_model.created") == body_of(other, "registered_model.created")


def test_events_that_can_be_asked_for() -> None:
    assert checked_topics(["change.settled", "change.opened", "change.settled"]) == ("change.settled", "change.opened")
    with pytest.raises(Invalid, match="at least one"):
        checked_topics([])
    with pytest.raises(Invalid, match=r"did you mean 'change\.settled'"):
        checked_topics(["change.setled"])
    assert all(json.loads(sample_of(topic, "now"))["data"]["test"] for topic in TOPICS)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "a" * 64, "ä", "a\n", "wh_" + "0" * 26])
def test_what_cannot_name_a_webhook(name: str) -> None:
    with pytest.raises(Invalid):
        checked_name(name)


@pytest.mark.parametrize("secret", ["\ud800", "s" * 501])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(Invalid):
        checked_secret(secret)

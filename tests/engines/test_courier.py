"""Events reach webhooks at least once and in order, whatever dies or fails in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.webhooks.courier import LEASE_S, Courier
from headway.errors import AlreadyExists, Forbidden, Invalid, LeaseLost, NotFound, Refused
from headway.kernel.access import SYSTEM, Actor, Role
from headway.lifecycle.models.records import Register
from headway.lifecycle.webhooks.records import AddWebhook, Attempt, Delivery, DeliveryState, Parcel, WebhookState
from headway.lifecycle.webhooks.rules import FIRST_PAUSE_S, LONGEST_PAUSE_S, signature
from headway.server.app import compose
from headway.server.settings import Settings
from headway.testing.memory_platform import OpenedPlatform, open_platform
from tests.engines.receivers import Receiver, receiving

AUTHOR = Actor(name="author", role=Role.AUTHOR)
MODELS = AddWebhook(
    name="chat", url="https://example.com/hook", events=("registered_model.created",), secret="s3cret"
)  # fmt: skip


@pytest.fixture
def opened() -> OpenedPlatform:
    return open_platform()


class Round:
    """A courier of which each step is waited for."""

    def __init__(self, opened: OpenedPlatform, holder: str = "here") -> None:
        self._opened, self._holder = opened, holder

    def __call__(self) -> list[str]:
        """What was sent in one step: names of models."""
        before = len(self._opened.post.sent)
        courier = Courier(
            self._opened.platform, self._opened.stores.leases, self._opened.clock, self._holder, jitter=lambda: 0.999
        )
        courier.step()
        courier._threads.shutdown(wait=True)
        return [name_in(parcel) for parcel in self._opened.post.sent[before:]]


def name_in(parcel: Parcel) -> str:
    name: str = json.loads(parcel.body)["data"]["name"]
    return name


def register(opened: OpenedPlatform, *names: str) -> None:
    for name in names:
        opened.platform.registry.create(name, by=AUTHOR)


def told(opened: OpenedPlatform, webhook: str = "chat") -> list[Delivery]:
    """Oldest first."""
    return list(reversed(opened.platform.webhooks.deliveries(webhook, by=SYSTEM).items))


def test_what_happens_after_a_webhook_was_added_is_told_once_and_in_order(opened: OpenedPlatform) -> None:
    register(opened, "before")
    opened.platform.webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a", "b", "c")
    step = Round(opened)
    assert step() == ["a", "b", "c"]
    assert step() == []
    assert [each.state for each in told(opened)] == [DeliveryState.DELIVERED] * 3
    parcel = opened.post.sent[0]
    assert parcel.headers["X-MLflow-Delivery-Id"] == told(opened)[0].id
    timestamp = parcel.headers["X-MLflow-Timestamp"]
    assert timestamp == str(int(opened.clock.now().timestamp()))
    assert parcel.headers["X-MLflow-Signature"] == signature("s3cret", told(opened)[0].id, timestamp, parcel.body)


def test_every_event_of_the_registry_is_told(opened: OpenedPlatform) -> None:
    events = (
        "registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted",
        "model_version_alias.created", "model_version_alias.deleted", "registered_model_tag.set",
        "registered_model_tag.deleted",
    )  # fmt: skip
    opened.platform.webhooks.add(MODELS.but(events=events), by=SYSTEM)
    registry = opened.platform.registry
    registry.create("late", about="of flights", tags={"team": "ops"}, by=AUTHOR)
    registry.register(Register(model="late", source="models:/m-1", tags={"k": "v"}), by=AUTHOR)
    registry.amend("late", 1, tags={"checked": "yes"}, by=AUTHOR)
    registry.amend("late", 1, tags={"checked": None}, by=AUTHOR)
    registry.alias("late", "champion", 1, by=AUTHOR)
    registry.alias("late", "champion", None, by=AUTHOR)
    registry.tag("late", {"owner": "ada"}, by=AUTHOR)
    registry.tag("late", {"owner": None}, by=AUTHOR)
    Round(opened)()
    bodies = [json.loads(parcel.body) for parcel in opened.post.sent]
    assert [f"{body['entity']}.{body['action']}" for body in bodies] == list(events)
    assert [body["data"] for body in bodies] == [
        {"name": "late", "tags": {"team": "ops"}, "description": "of flights"},
        {
            "name": "late",
            "version": "1",
            "source": "models:/m-1",
            "run_id": None,
            "tags": {"k": "v"},
            "description": None,
        },
        {"name": "late", "version": "1", "key": "checked", "value": "yes"},
        {"name": "late", "version": "1", "key": "checked"},
        {"name": "late", "alias": "champion", "version": "1"},
        {"name": "late", "alias": "champion"},
        {"name": "late", "key": "owner", "value": "ada"},
        {"name": "late", "key": "owner"},
    ]


def test_what_fails_is_sent_again_under_its_id_before_what_came_later(opened: OpenedPlatform) -> None:
    opened.platform.webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a", "b")
    opened.post.answers = [Attempt(status=503), Attempt(error="no answer in time"), Attempt(status=200)]
    step = Round(opened)
    assert step() == ["a"]
    assert step() == []
    opened.clock.advance(FIRST_PAUSE_S)
    assert step() == ["a"]
    opened.clock.advance(FIRST_PAUSE_S)
    assert step() == []
    opened.clock.advance(FIRST_PAUSE_S)
    assert step() == ["a", "b"]
    assert len({parcel.headers["X-MLflow-Delivery-Id"] for parcel in opened.post.sent[:3]}) == 1
    assert len({parcel.headers["X-MLflow-Signature"] for parcel in opened.post.sent[:3]}) == 3
    assert [each.attempts for each in told(opened)] == [3, 1]


def test_what_is_given_up_lets_the_next_one_pass(opened: OpenedPlatform) -> None:
    opened.platform.webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a", "b")
    opened.post.answers = [Attempt(status=404)]
    assert Round(opened)() == ["a", "b"]
    assert [(each.state, each.error) for each in told(opened)] == [
        (DeliveryState.GIVEN_UP, "answered with status 404"), (DeliveryState.DELIVERED, "")
    ]  # fmt: skip
    given_up = opened.platform.webhooks.deliveries("chat", state=DeliveryState.GIVEN_UP, by=SYSTEM).items
    assert [each.status for each in given_up] == [404]


def test_a_receiver_that_is_away_for_long_costs_each_event_one_more_try(opened: OpenedPlatform) -> None:
    opened.platform.webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a", "b")
    opened.post.answers = [Attempt(status=500)] * 60
    step = Round(opened)
    for _ in range(40):
        step()
        opened.clock.advance(LONGEST_PAUSE_S)
    first, second = told(opened)
    assert (first.state, second.state) == (DeliveryState.GIVEN_UP, DeliveryState.GIVEN_UP)
    assert (second.attempts, 20 < first.attempts < 40) == (1, True)


def test_a_disabled_webhook_is_not_told_and_goes_on_from_when_it_is_enabled(opened: OpenedPlatform) -> None:
    webhooks, step = opened.platform.webhooks, Round(opened)
    webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a")
    opened.post.answers = [Attempt(status=500)]
    step()
    webhooks.change("chat", state=WebhookState.DISABLED, by=SYSTEM)
    register(opened, "b")
    opened.clock.advance(LONGEST_PAUSE_S)
    assert step() == []
    webhooks.change("chat", state=WebhookState.ACTIVE, by=SYSTEM)
    register(opened, "c")
    assert step() == ["c"]
    assert [each.state for each in told(opened)] == [DeliveryState.GIVEN_UP, DeliveryState.DELIVERED]


def test_a_removed_webhook_is_told_nothing_and_its_name_is_free(opened: OpenedPlatform) -> None:
    webhooks, step = opened.platform.webhooks, Round(opened)
    first = webhooks.add(MODELS, by=SYSTEM)
    with pytest.raises(AlreadyExists):
        webhooks.add(MODELS, by=SYSTEM)
    register(opened, "a")
    webhooks.remove("chat", by=SYSTEM)
    assert step() == []
    with pytest.raises(NotFound):
        webhooks.get(first.id, by=SYSTEM)
    kept = opened.stores.webhooks.get(first.id)
    assert kept is not None
    assert kept.sealed_secret == ""
    webhooks.add(MODELS, by=SYSTEM)


def test_a_slow_receiver_does_not_hold_up_the_others(opened: OpenedPlatform) -> None:
    opened.platform.webhooks.add(MODELS, by=SYSTEM)
    opened.platform.webhooks.add(MODELS.but(name="other", url="https://example.org/"), by=SYSTEM)
    register(opened, "a")
    stuck, send = threading.Event(), opened.post.send

    def slow(parcel: Parcel) -> Attempt:
        if "example.com" in parcel.url:
            stuck.wait(120)
        return send(parcel)

    opened.post.send = slow  # type: ignore[method-assign]
    courier = Courier(opened.platform, opened.stores.leases, opened.clock, "here")
    courier.step()
    end = time.monotonic() + 60
    while not told(opened, "other") or told(opened, "other")[0].state is DeliveryState.PENDING:
        assert time.monotonic() < end
        time.sleep(0.005)
    courier.step()
    assert told(opened)[0].state is DeliveryState.PENDING
    stuck.set()
    courier.close()
    assert told(opened)[0].state is DeliveryState.DELIVERED
    assert [name_in(parcel) for parcel in opened.post.sent] == ["a", "a"]


def test_only_the_holder_of_the_lease_delivers_and_a_late_one_writes_nothing(opened: OpenedPlatform) -> None:
    webhooks, leases = opened.platform.webhooks, opened.stores.leases
    identifier = webhooks.add(MODELS, by=SYSTEM).id
    register(opened, "a")
    late = leases.take("courier", "elsewhere", opened.clock.now(), LEASE_S)
    assert late is not None
    assert Round(opened)() == []
    outgoing = webhooks.next_for(identifier, late)
    assert outgoing is not None
    opened.clock.advance(LEASE_S)
    assert Round(opened)() == ["a"]
    with pytest.raises(LeaseLost):
        webhooks.sent(outgoing, Attempt(status=500), late, jitter=0)
    register(opened, "b")
    with pytest.raises(LeaseLost):
        webhooks.next_for(identifier, late)
    assert [each.state for each in told(opened)] == [DeliveryState.DELIVERED]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["event", "fail", "step", "crash", "wait"]), max_size=25))
def test_whatever_happens_each_event_arrives_and_in_order(history: list[str]) -> None:
    """A crash is what a killed courier leaves: sent, but not written down."""
    opened = open_platform()
    identifier = opened.platform.webhooks.add(MODELS, by=SYSTEM).id
    step, made = Round(opened), 0
    for each in history:
        if each == "event":
            made += 1
            register(opened, f"m{made}")
        elif each == "fail":
            opened.post.answers = [Attempt(status=500)]
        elif each == "crash":
            lease = opened.stores.leases.take("courier", "here", opened.clock.now(), LEASE_S)
            assert lease is not None
            outgoing = opened.platform.webhooks.next_for(identifier, lease)
            if outgoing:
                opened.platform.webhooks.send(outgoing.parcel)
        elif each == "wait":
            opened.clock.advance(60)
        else:
            step()
    opened.post.answers = []
    opened.clock.advance(LONGEST_PAUSE_S)
    step()
    arrived = list(dict.fromkeys(map(name_in, opened.post.sent)))
    assert arrived == [f"m{number}" for number in range(1, made + 1)]
    ids = {(name_in(parcel), parcel.headers["X-MLflow-Delivery-Id"]) for parcel in opened.post.sent}
    assert len(ids) == made


def test_events_that_concern_nobody_are_passed_over_and_written_down_now_and_then(opened: OpenedPlatform) -> None:
    identifier = opened.platform.webhooks.add(MODELS, by=SYSTEM).id
    for _ in range(1100):
        with opened.platform.journal.act("ada", "test.act") as act:
            act.emit("RunEnded", "rn_1", state="finished")
    assert opened.platform.webhooks.waiting() == [identifier]
    assert Round(opened)() == []
    assert opened.platform.webhooks.waiting() == []
    assert opened.stores.events.heard(f"webhook/{identifier}") == 1100
    register(opened, "a")
    assert Round(opened)() == ["a"]


BAD = [
    (MODELS.but(url="http://example.com/"), Invalid),
    (MODELS.but(url="https://127.0.0.1/"), Refused),
    (MODELS.but(events=()), Invalid),
    (MODELS.but(events=("nothing.happened",)), Invalid),
    (MODELS.but(name="../x"), Invalid),
    (MODELS.but(secret="s" * 501), Invalid),
    (MODELS.but(secret="\ud800"), Invalid),
    (MODELS.but(about="a" * 5001), Invalid),
]


@pytest.mark.parametrize(("command", "kind"), BAD)
def test_what_is_no_webhook(opened: OpenedPlatform, command: AddWebhook, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        opened.platform.webhooks.add(command, by=SYSTEM)
    assert opened.stores.webhooks.all() == []


def test_who_may_not_operate_may_not_even_look(opened: OpenedPlatform) -> None:
    webhooks = opened.platform.webhooks
    webhooks.add(MODELS, by=SYSTEM)
    for call in (webhooks.get, webhooks.remove, webhooks.deliveries, webhooks.test, webhooks.change):
        with pytest.raises(Forbidden):
            call("chat", by=AUTHOR)  # type: ignore[operator]
    with pytest.raises(Forbidden):
        webhooks.add(MODELS.but(name="mine"), by=AUTHOR)
    with pytest.raises(Forbidden):
        webhooks.list(by=AUTHOR)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def test_a_restart_tells_what_was_committed_before_it(tmp_path: Path, receiver: Receiver) -> None:
    """A real database, a real receiver: the first process begins a delivery and ends before it is written down."""
    settings_ = Settings(home=tmp_path / ".headway", webhook_hosts=(receiver.listing,))
    first = compose(settings_)
    first.platform.webhooks.add(MODELS.but(url=receiver.url), by=SYSTEM)
    first.platform.registry.create("a", by=AUTHOR)
    first.platform.registry.create("b", by=AUTHOR)
    lease = first.stores.leases.take("courier", "here", first.clock.now(), LEASE_S)
    assert lease is not None
    (webhook,) = first.platform.webhooks.waiting()
    outgoing = first.platform.webhooks.next_for(webhook, lease)
    assert outgoing is not None
    assert first.platform.webhooks.send(outgoing.parcel).delivered
    first.close()
    second = compose(settings_)
    courier = Courier(second.platform, second.stores.leases, second.clock, "here")
    try:
        courier.step()
        receiver.until(3)
    finally:
        courier.close()
        second.close()
    assert [json.loads(body)["data"]["name"] for _, _, body in receiver.got] == ["a", "a", "b"]
    ids = [headers["x-mlflow-delivery-id"] for _, headers, _ in receiver.got]
    assert (ids[0] == ids[1], ids[1] == ids[2]) == (True, False)
    database = b"".join(file.read_bytes() for file in (tmp_path / ".headway").rglob("*") if file.is_file())
    assert b"s3cret" not in database

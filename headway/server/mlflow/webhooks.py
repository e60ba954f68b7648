"""Webhooks, as MLflow's clients speak of them: those events that MLflow has a name for."""

from __future__ import annotations

from collections.abc import Iterable

from headway.errors import Invalid, NotFound
from headway.lifecycle.runs.places import By
from headway.lifecycle.webhooks.records import AddWebhook, Webhook, WebhookState
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk, checked_most, ms, page_of, present, with_next

_ENTITIES = frozenset(
    {"registered_model", "model_version", "model_version_tag", "model_version_alias", "prompt", "prompt_version",
     "prompt_tag", "prompt_version_tag", "prompt_alias"}
)  # fmt: skip
"""What MLflow 3.17 names; a client cannot read another one."""
_STATES = {"ACTIVE": WebhookState.ACTIVE, "DISABLED": WebhookState.DISABLED}


class EventName(Ask):
    entity: str
    action: str


class CreateWebhook(Ask):
    name: str
    url: str
    events: list[EventName]
    description: str = ""
    secret: str = ""
    status: str = "ACTIVE"


class WebhookId(Ask):
    webhook_id: str


class ListWebhooks(Ask):
    max_results: int = 100
    page_token: str = ""


class UpdateWebhook(WebhookId):
    name: str | None = None
    description: str | None = None
    url: str | None = None
    events: list[EventName] = []
    secret: str | None = None
    status: str | None = None


class TryWebhook(WebhookId):
    event: EventName | None = None


def create(ask: CreateWebhook, desk: Desk) -> Answer:
    events, state = tuple(map(_topic, ask.events)), _state(ask.status)
    command = AddWebhook(name=ask.name, url=ask.url, events=events, secret=ask.secret, about=ask.description)
    made = desk.platform.webhooks.add(command, state=state, by=desk.by)
    return {"webhook": _shown(made)}


def get(ask: WebhookId, desk: Desk) -> Answer:
    return {"webhook": _shown(_found(ask.webhook_id, desk))}


def listed(ask: ListWebhooks, desk: Desk) -> Answer:
    checked_most(ask.max_results, 1000)
    known = [webhook for webhook in desk.platform.webhooks.list(by=desk.by) if _named(webhook.events)]
    page = page_of(known, [By(lambda webhook: webhook.id)], ask)
    return with_next({"webhooks": [_shown(webhook) for webhook in page.items]}, page.next)


def update(ask: UpdateWebhook, desk: Desk) -> Answer:
    before = _found(ask.webhook_id, desk)
    own = tuple(event for event in before.events if not _named([event]))
    changed = desk.platform.webhooks.change(
        before.id, name=ask.name, url=ask.url, events=(*map(_topic, ask.events), *own) if ask.events else None,
        about=ask.description, secret=ask.secret, state=None if ask.status is None else _state(ask.status), by=desk.by,
    )  # fmt: skip
    return {"webhook": _shown(changed)}


def delete(ask: WebhookId, desk: Desk) -> Answer:
    desk.platform.webhooks.remove(_found(ask.webhook_id, desk).id, by=desk.by)
    return {}


def test(ask: TryWebhook, desk: Desk) -> Answer:
    webhook = _found(ask.webhook_id, desk)
    attempt = desk.platform.webhooks.test(webhook.id, _topic(ask.event) if ask.event else None, by=desk.by)
    return {
        "result": present(
            success=attempt.delivered, response_status=attempt.status or None, response_body=attempt.answer or None,
            error_message=attempt.error or None,
        )
    }  # fmt: skip


def _found(identifier: str, desk: Desk) -> Webhook:
    webhook = desk.platform.webhooks.get(identifier, by=desk.by)
    if webhook.id != identifier or not _named(webhook.events):
        raise NotFound(f"no webhook {identifier[:100]!r} that MLflow has events of")
    return webhook


def _shown(webhook: Webhook) -> Answer:
    created = ms(webhook.created_at)
    return present(
        webhook_id=webhook.id, name=webhook.name, description=webhook.about or None, url=webhook.url,
        events=[
            dict(zip(("entity", "action"), event.upper().split("."), strict=True)) for event in _named(webhook.events)
        ],
        status=webhook.state.upper(), creation_timestamp=created,
        last_updated_timestamp=ms(webhook.updated_at) or created,
    )  # fmt: skip


def _topic(event: EventName) -> str:
    return f"{event.entity.lower()}.{event.action.lower()}"


def _named(events: Iterable[str]) -> list[str]:
    return [event for event in events if event.partition(".")[0] in _ENTITIES]


def _state(status: str) -> WebhookState:
    if status not in _STATES:
        raise Invalid(f"status must be ACTIVE or DISABLED, not {status[:60]!r}")
    return _STATES[status]


ENDPOINTS = (
    Endpoint("POST", "webhooks", CreateWebhook, create),
    Endpoint("GET", "webhooks", ListWebhooks, listed),
    Endpoint("GET", "webhooks/{webhook_id}", WebhookId, get),
    Endpoint("PATCH", "webhooks/{webhook_id}", UpdateWebhook, update),
    Endpoint("DELETE", "webhooks/{webhook_id}", WebhookId, delete),
    Endpoint("POST", "webhooks/{webhook_id}/test", TryWebhook, test),
)

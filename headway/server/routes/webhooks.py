"""Webhooks: other systems, told of what happens here. What is kept of a secret never leaves."""

from __future__ import annotations

from typing import Annotated

from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.webhooks.records import AddWebhook, Attempt, Delivery, DeliveryState, Webhook
from headway.server.routing import App, By, delete, get, post


class Added(Value):
    webhook: Webhook
    secret: str
    """Each request is signed with it; shown this once."""


class TryWebhook(Value):
    event: str | None = None


@get("/v1/webhooks")
def webhooks(app: App, by: By) -> Page[Webhook]:
    """All webhooks, without what is kept of their secrets."""
    return Page(items=tuple(_shown(each) for each in reversed(app.platform.webhooks.list(by=by))))


@post("/v1/webhooks")
def add(data: JSONBody[AddWebhook], app: App, by: By) -> Added:
    """Tell an address of events from now on; the secret that signs them is in this answer only."""
    command = data if data.secret else data.but(secret=app.platform.webhooks.fresh_secret())
    return Added(webhook=_shown(app.platform.webhooks.add(command, by=by)), secret=command.secret)


@get("/v1/webhooks/{ref:str}")
def webhook(ref: FromPath[str], app: App, by: By) -> Webhook:
    """One webhook, by id or name."""
    return _shown(app.platform.webhooks.get(ref, by=by))


@delete("/v1/webhooks/{ref:str}", status_code=200)
def remove(ref: FromPath[str], app: App, by: By) -> Webhook:
    """Tell it nothing any more, and forget its secret."""
    return _shown(app.platform.webhooks.remove(ref, by=by))


@post("/v1/webhooks/{ref:str}/test", status_code=200)
def test(ref: FromPath[str], data: JSONBody[TryWebhook], app: App, by: By) -> Attempt:
    """Send an example at once, and say what was answered."""
    return app.platform.webhooks.test(ref, data.event, by=by)


@get("/v1/webhooks/{ref:str}/deliveries")
def deliveries(
    ref: FromPath[str],
    app: App,
    by: By,
    delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Delivery]:
    """What became of each event that a webhook was to be told of."""
    return app.platform.webhooks.deliveries(ref, by=by, state=delivery_state, limit=limit, before=before)


def _shown(webhook: Webhook) -> Webhook:
    return webhook.but(sealed_secret="")


ROUTES = (webhooks, add, webhook, remove, test, deliveries)

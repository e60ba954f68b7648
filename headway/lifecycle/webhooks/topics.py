"""What a webhook can be told of, and what it is told: events of the outbox as `entity.action` with their data.

The envelope, and the entities of the registry, are those of MLflow's webhooks (`mlflow.webhooks.types`), so that a
receiver that was written for them need not be changed; a prompt is a registered model with a tag of MLflow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headway.errors import Invalid
from headway.kernel.events import Event
from headway.kernel.naming import nearest
from headway.kernel.records import encode
from headway.lifecycle.models.announced import PROMPT

MOST_BYTES = 256 * 1024
"""Of a body; the largest fields are left out of a larger one."""
_PROMPT_TEXT = "mlflow.prompt.text"
_REGISTRY = {
    "ModelRegistered": ("registered_model.created", "prompt.created"),
    "ModelVersionAdded": ("model_version.created", "prompt_version.created"),
    "ModelTagSet": ("registered_model_tag.set", "prompt_tag.set"),
    "ModelTagDeleted": ("registered_model_tag.deleted", "prompt_tag.deleted"),
    "ModelVersionTagSet": ("model_version_tag.set", "prompt_version_tag.set"),
    "ModelVersionTagDeleted": ("model_version_tag.deleted", "prompt_version_tag.deleted"),
    "ModelAliasSet": ("model_version_alias.created", "prompt_alias.created"),
    "ModelAliasDeleted": ("model_version_alias.deleted", "prompt_alias.deleted"),
}
"""Kind of event -> what it is called for a model, and for a prompt."""
_DELIVERY = {
    "ChangeOpened": "change.opened",
    "AlertRaised": "alert.opened",
    "ReleaseSigned": "release.signed",
}
_ENDINGS = {
    ("ChangeEnded", "settled"): "change.settled",
    ("ChangeEnded", "rejected"): "change.rejected",
    ("ApprovalGiven", "agree"): "release.approved",
    ("ApprovalGiven", "decline"): "release.declined",
    ("RolloutEnded", "promoted"): "rollout.promoted",
    ("RolloutEnded", "rolled_back"): "rollout.rolled_back",
}
"""Kind of event and how it ended -> what it is called."""
_OUTCOMES = ("stage", "state", "decision")
TOPICS = (*(name for names in _REGISTRY.values() for name in names), *_DELIVERY.values(), *_ENDINGS.values())


def checked_topics(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without repetition; raises `Invalid` for none at all and for one that is never told."""
    found = tuple(dict.fromkeys(names))
    if not found:
        raise Invalid(f"a webhook needs at least one event; there are: {', '.join(TOPICS)}")
    for name in found:
        if name not in TOPICS:
            raise Invalid(
                f"there is no event {name[:100]!r}{nearest(name[:100], TOPICS)}; there are: {', '.join(TOPICS)}"
            )
    return found


def topic_of(event: Event) -> str | None:
    """What webhooks call an event; None for one that they are not told of."""
    if event.kind in _REGISTRY:
        return _REGISTRY[event.kind][1 if event.facts.get("prompt") else 0]
    if event.kind in _DELIVERY:
        return _DELIVERY[event.kind]
    outcomes = (str(event.facts[name]) for name in _OUTCOMES if name in event.facts)
    return next((_ENDINGS[event.kind, each] for each in outcomes if (event.kind, each) in _ENDINGS), None)


def body_of(event: Event, topic: str) -> bytes:
    """The JSON that is sent for `event`; the same event always gives the same bytes."""
    data = {name: fact for name, fact in event.facts.items() if name != "prompt"}
    if event.kind == "ModelVersionAdded":
        data = _of_version(data, topic)
    elif event.kind not in _REGISTRY:
        data = {"id": event.subject, **data}
    return _bounded(topic, event.at.isoformat(), data)


def sample_of(topic: str, now: str) -> bytes:
    """A body to try a webhook with."""
    return _bounded(topic, now, {"name": "example", "test": True})


def _of_version(data: dict[str, Any], topic: str) -> dict[str, Any]:
    if topic == "model_version.created":
        return data
    tags = data.get("tags", {})
    kept = {key: value for key, value in tags.items() if key not in (PROMPT, _PROMPT_TEXT)}
    return {
        "name": data["name"], "version": data["version"], "template": tags.get(_PROMPT_TEXT, ""), "tags": kept,
        "description": data.get("description"),
    }  # fmt: skip


def _bounded(topic: str, at: str, data: Mapping[str, Any]) -> bytes:
    entity, _, action = topic.partition(".")
    kept, left_out = dict(data), list[str]()
    while True:
        told = {**kept, "left_out": left_out} if left_out else kept
        body = encode({"entity": entity, "action": action, "timestamp": at, "data": told})
        if len(body) <= MOST_BYTES:
            return body
        largest = max(kept, key=lambda name: len(encode(kept[name])))
        del kept[largest]
        left_out.append(largest)

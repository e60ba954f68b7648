"""What is announced of models: the facts are those that MLflow's webhooks tell (`mlflow.webhooks.types`)."""

from __future__ import annotations

from collections.abc import Mapping

from headway.kernel.journal import Act
from headway.lifecycle.models.records import Model, ModelVersion, Registration

PROMPT = "mlflow.prompt.is_prompt"
"""The tag of a registered model that is a prompt to MLflow's clients."""


def announce_model(act: Act, model: Model) -> None:
    facts = {"name": model.name, "tags": model.tags, "description": model.about or None}
    act.emit("ModelRegistered", model.id, **facts, prompt=_is_prompt(model))


def announce_registration(act: Act, model: Model, version: Registration) -> None:
    act.emit(
        "ModelVersionAdded", version.id, name=version.model, version=str(version.number), source=version.source,
        run_id=version.run or None, tags=version.tags, description=version.about or None, prompt=_is_prompt(model),
    )  # fmt: skip


def announce_version(act: Act, version: ModelVersion) -> None:
    act.emit(
        "ModelVersionAdded", version.id, name=version.model, version=str(version.number),
        source=f"headway:/{version.id}", run_id=version.run, tags={}, description=version.note or None,
    )  # fmt: skip


def announce_tags(
    act: Act, model: Model, what: str, subject: str, tags: Mapping[str, str | None], **facts: str
) -> None:
    """`what` is `ModelTag` or `ModelVersionTag`; a tag of None was taken away."""
    for key, value in tags.items():
        if value is None:
            act.emit(f"{what}Deleted", subject, **facts, key=key, prompt=_is_prompt(model))
        else:
            act.emit(f"{what}Set", subject, **facts, key=key, value=value, prompt=_is_prompt(model))


def announce_alias(act: Act, model: Model, alias: str, number: int | None) -> None:
    facts = {"name": model.name, "alias": alias, "prompt": _is_prompt(model)}
    if number is None:
        act.emit("ModelAliasDeleted", model.id, **facts)
    else:
        act.emit("ModelAliasSet", model.id, **facts, version=str(number))


def _is_prompt(model: Model) -> bool:
    return PROMPT in model.tags

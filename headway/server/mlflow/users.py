"""Who may use this server, as MLflow's client for administrators asks. A token is a user; its role holds for everything
alike, so that there is nothing to grant for one experiment or one model."""

from __future__ import annotations

from headway.errors import Invalid, NotFound
from headway.kernel.access import AccessToken, Actor, Permission, Role
from headway.server.mlflow.experiments import experiment_of, shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk

_NONE = "NO_PERMISSIONS"
_USABLE = frozenset({"EDIT", "MANAGE"})


class Whoever(Ask):
    pass


class Username(Ask):
    username: str


class OnResource(Username):
    resource_type: str
    resource_id: str


class OnExperiment(Username):
    experiment_id: str


class OnModel(Username):
    name: str


def get(ask: Username, desk: Desk) -> Answer:
    token = _token(ask.username, desk)
    return {"user": _shown(token) | {"experiment_permissions": [], "registered_model_permissions": []}}


def current(ask: Whoever, desk: Desk) -> Answer:
    known = next((token for token in _tokens(desk) if token.name == desk.by.name), None)
    user = _shown(known) if known else {"id": desk.by.name, "username": desk.by.name, "is_admin": _is_admin(desk.by)}
    return {"user": user, "is_basic_auth": False}


def everyone(ask: Whoever, desk: Desk) -> Answer:
    desk.by.must(Permission.GRANT)
    return {"users": [_shown(token) | {"roles": []} for token in _tokens(desk)]}


def delete(ask: Username, desk: Desk) -> Answer:
    """Revoke the token."""
    desk.by.must(Permission.GRANT)
    if ask.username == desk.by.name:
        raise Invalid("nobody takes away the token that they use; ask another owner")
    desk.platform.access.revoke(ask.username, by=desk.by)
    return {}


def permission(ask: OnResource, desk: Desk) -> Answer:
    token = _token(ask.username, desk)
    found = _permission(token.role) if _is_there(ask, desk) else _NONE
    return {"allowed": found in _USABLE, "permission": found}


def on_experiment(ask: OnExperiment, desk: Desk) -> Answer:
    token, experiment = _token(ask.username, desk), experiment_of(desk.platform, ask.experiment_id)
    said = {"experiment_id": shown_id(experiment), "user_id": token.id, "permission": _permission(token.role)}
    return {"experiment_permission": said}


def on_model(ask: OnModel, desk: Desk) -> Answer:
    token, model = _token(ask.username, desk), desk.platform.registry.model(ask.name)
    said = {"name": model.name, "user_id": token.id, "permission": _permission(token.role)}
    return {"registered_model_permission": said}


def _token(name: str, desk: Desk) -> AccessToken:
    """One's own, or for who may make tokens, anybody's."""
    if name != desk.by.name:
        desk.by.must(Permission.GRANT)
    for token in _tokens(desk):
        if token.name == name:
            return token
    raise NotFound(f"no user named {name[:100]!r}; `headway token list` shows who there is")


def _tokens(desk: Desk) -> list[AccessToken]:
    """Those that hold now."""
    now = desk.clock.now()
    return [
        token
        for token in desk.platform.access.list()
        if token.revoked_at is None and (token.expires_at is None or now < token.expires_at)
    ]


def _permission(role: Role) -> str:
    """The words of MLflow for what a role may do with any experiment and any registered model."""
    someone = Actor(name="", role=role)
    if _is_admin(someone):
        return "MANAGE"
    if someone.may(Permission.WRITE):
        return "EDIT"
    return "READ" if someone.may(Permission.READ) else _NONE


def _is_admin(someone: Actor) -> bool:
    return someone.may(Permission.GRANT)


def _is_there(ask: OnResource, desk: Desk) -> bool:
    try:
        if ask.resource_type == "experiment":
            experiment_of(desk.platform, ask.resource_id)
        elif ask.resource_type == "registered_model":
            desk.platform.registry.model(ask.resource_id)
        else:
            raise Invalid("permissions are known for the resource types experiment and registered_model")
    except NotFound:
        return False
    return True


def _shown(token: AccessToken) -> Answer:
    return {"id": token.id, "username": token.name, "is_admin": _is_admin(token.actor())}


ENDPOINTS = (
    Endpoint("GET", "users/get", Username, get),
    Endpoint("GET", "users/current", Whoever, current),
    Endpoint("GET", "users/list", Whoever, everyone),
    Endpoint("DELETE", "users/delete", Username, delete),
    Endpoint("GET", "users/permissions/get", OnResource, permission),
    Endpoint("GET", "experiments/permissions/get", OnExperiment, on_experiment),
    Endpoint("GET", "registered-models/permissions/get", OnModel, on_model),
)

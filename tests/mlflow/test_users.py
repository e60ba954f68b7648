"""Tokens as users, for MLflow's client for administrators."""

from __future__ import annotations

import httpx2
import pytest

from headway.kernel.access import Role
from tests.mlflow.test_protocol import call, refusal
from tests.server.world import World


def ask(client: httpx2.Client, path: str, **query: str) -> httpx2.Response:
    return client.get(f"/api/3.0/mlflow/{path}", params=query)


@pytest.mark.parametrize(
    ("role", "permission", "admin"),
    [
        (Role.READER, "READ", False), (Role.AUTHOR, "EDIT", False), (Role.APPROVER, "READ", False),
        (Role.OPERATOR, "EDIT", False), (Role.OWNER, "MANAGE", True), (Role.WORKER, "EDIT", False),
        (Role.GATEKEEPER, "READ", False),
    ],
)  # fmt: skip
def test_a_role_in_the_words_of_mlflow(world: World, role: Role, permission: str, admin: bool) -> None:
    with world.client(role) as someone, world.client(Role.OWNER) as owner:
        name = f"a {role}"
        for client in (someone, owner):
            user = ask(client, "users/get", username=name).json()["user"]
            assert (user["username"], user["is_admin"]) == (name, admin)
            query = {"username": name, "resource_type": "experiment", "resource_id": "0"}
            answer = ask(client, "users/permissions/get", **query).json()
            assert answer == {"allowed": permission in ("EDIT", "MANAGE"), "permission": permission}
            before = call(client, "GET", "experiments/permissions/get", experiment_id="0", username=name)
            assert before["experiment_permission"]["permission"] == permission
        assert ask(someone, "users/current").json()["user"].items() <= user.items()
        nowhere = {"username": name, "resource_type": "registered_model", "resource_id": "none"}
        assert ask(someone, "users/permissions/get", **nowhere).json() == {
            "allowed": False, "permission": "NO_PERMISSIONS"
        }  # fmt: skip


def test_who_may_ask_about_whom(world: World) -> None:
    with world.client(Role.AUTHOR) as author, world.client(Role.OWNER) as owner, world.client(None) as nobody:
        assert refusal(ask(author, "users/get", username="a owner")) == (403, "PERMISSION_DENIED")
        assert refusal(ask(author, "users/get", username="nobody")) == (403, "PERMISSION_DENIED")
        assert refusal(ask(owner, "users/get", username="nobody")) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert refusal(ask(author, "users/list")) == (403, "PERMISSION_DENIED")
        assert refusal(ask(nobody, "users/current")) == (401, "UNAUTHENTICATED")
        assert {user["username"] for user in ask(owner, "users/list").json()["users"]} >= {"a reader", "a owner"}
        query = {"username": "a owner", "resource_type": "scorer", "resource_id": "x"}
        assert refusal(ask(owner, "users/permissions/get", **query)) == (400, "INVALID_PARAMETER_VALUE")


def test_a_user_that_is_deleted_is_a_token_that_is_revoked(world: World) -> None:
    with world.client(Role.OWNER) as owner:
        secret = owner.post("/v1/tokens", json={"name": "guest", "role": "reader"}).json()["secret"]
        bearer = {"authorization": f"Bearer {secret}"}
        with world.client(Role.AUTHOR) as author:
            denied = author.request("DELETE", "/api/2.0/mlflow/users/delete", json={"username": "guest"})
            assert refusal(denied) == (403, "PERMISSION_DENIED")
        own = owner.request("DELETE", "/api/2.0/mlflow/users/delete", json={"username": "a owner"})
        assert refusal(own) == (400, "INVALID_PARAMETER_VALUE")
        with world.client(None) as guest:
            assert ask(guest, "users/current").status_code == 401
            assert guest.get("/v1/runs", headers=bearer).is_success
            call(owner, "DELETE", "users/delete", {"username": "guest"})
            assert guest.get("/v1/runs", headers=bearer).status_code == 401
        assert refusal(ask(owner, "users/get", username="guest")) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "users/create"), ("PATCH", "users/update-password"), ("PATCH", "users/update-admin"),
        ("POST", "users/permissions/grant"), ("POST", "users/permissions/revoke"),
        ("POST", "experiments/permissions/create"), ("PATCH", "registered-models/permissions/update"),
        ("POST", "roles/create"),
    ],
)  # fmt: skip
def test_what_has_no_like_here_is_not_answered(world: World, method: str, path: str) -> None:
    with world.client(Role.OWNER) as owner:
        body = {"username": "x", "password": "a long password", "experiment_id": "0", "permission": "READ"}
        answer = owner.request(method, f"/api/2.0/mlflow/{path}", json=body)
        assert refusal(answer) == (404, "ENDPOINT_NOT_FOUND")

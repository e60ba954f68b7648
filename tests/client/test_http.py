"""The line to a server: what is sent again, what errors become, what bad answers become."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from headway import errors
from headway.client.http import Connection
from headway.errors import HeadwayError, Invalid, NotFound, Unavailable, Unreachable
from headway.kernel.access import Actor, Role

Answering = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """Answers with what it is given, in turn, the last one for ever; an exception is raised."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers, self.requests, self.waits = list(answers), list[httpx2.Request](), list[float]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connection(self) -> Connection:
        return Connection("http://test", "hw_secret", transport=httpx2.MockTransport(self), wait=self.waits.append)


def refusal(status: int, code: str, message: str = "no", **details: object) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"code": code, "message": message, "details": details}})


OK = httpx2.Response(200, json={"name": "ann", "role": "owner"})
BUSY = refusal(503, "unavailable", "busy")
REFUSED = httpx2.ConnectError("refused")
BROKEN = httpx2.ReadError("broken")


def test_token_is_sent_and_answer_is_a_record() -> None:
    server = Server(OK)
    assert server.connection().get("/v1/me", Actor) == Actor(name="ann", role=Role.OWNER)
    assert server.requests[0].headers["authorization"] == "Bearer hw_secret"


def test_absent_filters_are_not_sent() -> None:
    server = Server(OK)
    server.connection().get("/v1/me", Actor, experiment=None, limit=5)
    assert server.requests[0].url.query == b"limit=5"


@pytest.mark.parametrize("trouble", [BUSY, REFUSED, BROKEN])
def test_reading_is_tried_again_with_growing_pauses(trouble: httpx2.Response | Exception) -> None:
    server = Server(trouble, trouble, OK)
    server.connection().get("/v1/me", Actor)
    assert server.waits == [0.1, 0.2]


@pytest.mark.parametrize("trouble", [BUSY, BROKEN])
def test_writing_is_not_tried_again_where_it_may_have_happened(trouble: httpx2.Response | Exception) -> None:
    server = Server(trouble, OK)
    with pytest.raises(Unavailable):
        server.connection().post("/v1/runs", Actor, {})
    assert len(server.requests) == 1


def test_writing_is_tried_again_when_no_connection_came_about() -> None:
    server = Server(REFUSED, OK)
    server.connection().post("/v1/runs", Actor, {})
    assert len(server.requests) == 2


def test_putting_is_tried_again() -> None:
    server = Server(BROKEN, OK)
    server.connection().put("/v1/blobs/x", Actor, b"data")
    assert server.requests[1].content == b"data"


def test_gives_up_and_says_what_to_do() -> None:
    server = Server(REFUSED)
    with pytest.raises(Unreachable, match=r"http://test does not answer.*headway up"):
        server.connection().get("/v1/me", Actor)
    assert len(server.requests) == 4


def test_a_503_that_lasts_is_the_servers_own_error() -> None:
    with pytest.raises(Unavailable, match="busy"):
        Server(BUSY).connection().get("/v1/me", Actor)


def leaves(branch: type[HeadwayError]) -> list[type[HeadwayError]]:
    return [branch, *(leaf for child in branch.__subclasses__() for leaf in leaves(child))]


STATUSES = {
    errors.Invalid: 400, errors.NotFound: 404, errors.Conflict: 409, errors.Refused: 422, errors.Forbidden: 403,
    errors.Unavailable: 503,
}  # fmt: skip
LEAVES = [
    (status, leaf) for branch, status in STATUSES.items() for leaf in leaves(branch)
    if leaf.__module__ == "headway.errors"
]  # fmt: skip


@pytest.mark.parametrize(("status", "leaf"), LEAVES)
def test_every_error_arrives_as_what_it_was(status: int, leaf: type[HeadwayError]) -> None:
    server = Server(refusal(status, leaf.code, "because", column="temp"))
    with pytest.raises(HeadwayError, match="because") as caught:
        server.connection().post("/v1/x", Actor)
    assert type(caught.value) is leaf
    assert caught.value.details == {"column": "temp"}


def test_an_unknown_code_is_its_branch() -> None:
    with pytest.raises(NotFound):
        Server(refusal(404, "some_new_code")).connection().get("/v1/x", Actor)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": 3}', b'{"error": {"code": 1}}', b"\xff"])
def test_errors_of_something_between_still_are_errors(body: bytes) -> None:
    with pytest.raises(Invalid, match="status 400"):
        Server(httpx2.Response(400, content=body)).connection().get("/v1/x", Actor)


def test_a_fault_of_the_server_is_no_fault_of_the_caller() -> None:
    with pytest.raises(Unavailable, match="the server failed"):
        Server(refusal(500, "internal", "something went wrong")).connection().post("/v1/x", Actor)


@pytest.mark.parametrize("body", [b"not json", b'{"name": "ann"}', b'{"name": "ann", "role": "owner", "new": 1}'])
def test_an_answer_of_another_version_is_no_traceback(body: bytes) -> None:
    with pytest.raises(Unavailable, match="different versions"):
        Server(httpx2.Response(200, content=body)).connection().get("/v1/me", Actor)


@pytest.mark.parametrize("url", ["localhost:7070", "ftp://x", "", "http://[::1"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(Invalid):
        Connection(url).get("/v1/me", Actor)

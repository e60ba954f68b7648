"""Points on their way: nothing lost, nothing twice, and who sends nonsense spoils it for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from headway.errors import Conflict, HeadwayError, Invalid, Unavailable
from headway.kernel.access import SYSTEM, Role
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.metrics import Logged
from headway.server.ingest import Ingest
from tests.server.world import World, posted

AT = "2026-03-01T00:00:00Z"


def _logged(run: str) -> Logged:
    return Logged(run, {"loss": Curve(steps=[0], at_us=[0], values=[1.0])}, SYSTEM)


class Written:
    """Keeps what it is given; a run named bad breaks the whole group, one named over only its own."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def __call__(self, group: Sequence[Logged]) -> list[HeadwayError | None]:
        if any(logged.run == "bad" for logged in group):
            raise Invalid("a number that is too large")
        self.runs += [logged.run for logged in group if logged.run != "over"]
        return [Conflict("it is over") if logged.run == "over" else None for logged in group]


def test_each_caller_gets_its_own_answer() -> None:
    written = Written()
    ingest = Ingest(written)

    async def send(names: list[str]) -> list[Any]:
        return await asyncio.gather(*(ingest.add(_logged(name)) for name in names), return_exceptions=True)

    answers = asyncio.run(send(["a", "bad", "over", "b"]))
    ingest.close()
    assert [type(answer) for answer in answers] == [type(None), Invalid, Conflict, type(None)]
    assert written.runs == ["a", "b"]


def test_work_among_points_gets_what_it_returns_or_raises() -> None:
    ingest, written = Ingest(Written()), list[str]()

    def refused() -> None:
        raise Conflict("it is over")

    async def send() -> list[Any]:
        work = [ingest.write(lambda: written.append("kept") or 7), ingest.write(refused), ingest.add(_logged("bad"))]
        return await asyncio.gather(*work, return_exceptions=True)

    answers = asyncio.run(send())
    ingest.close()
    assert answers[0] == 7
    assert [type(answer) for answer in answers[1:]] == [Conflict, Invalid]
    assert written == ["kept"]


def test_a_commit_that_fails_is_told_to_all_that_shared_it() -> None:
    @contextmanager
    def together() -> Iterator[None]:
        yield
        raise Unavailable("the disk is full")

    ingest = Ingest(Written(), together)

    async def send() -> list[Any]:
        return await asyncio.gather(
            ingest.add(_logged("a")), ingest.write(lambda: 7), ingest.write(lambda: 8), return_exceptions=True
        )

    answers = asyncio.run(send())
    ingest.close()
    assert [type(answer) for answer in answers] == [Unavailable] * 3


def test_what_waits_is_written_before_it_closes() -> None:
    written = Written()
    ingest = Ingest(written)

    async def leave() -> None:
        sent = [asyncio.ensure_future(ingest.add(_logged(str(number)))) for number in range(200)]
        await asyncio.sleep(0)
        for each in sent:
            each.cancel()

    asyncio.run(leave())
    ingest.close()
    assert sorted(written.runs, key=int) == [str(number) for number in range(200)]
    ingest.close()


def test_many_at_once_keep_every_point(world: World) -> None:
    author = world.client(Role.AUTHOR)
    run = posted(author, "/v1/runs", {"experiment": "at-once"})["id"]

    def send(number: int) -> None:
        for step in range(20):
            point = {"key": f"m{number % 2}", "value": number, "at": AT, "step": step}
            posted(author, f"/v1/runs/{run}/log", {"metrics": [point]})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(6)))
    summary = author.get(f"/v1/runs/{run}/summary").json()
    assert {key: found["points"] for key, found in summary.items()} == {"m0": 60, "m1": 60}
    assert (summary["m1"]["last"], summary["m1"]["last_step"]) == (5.0, 19)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"curves": {"loss": {"steps": [1], "at_us": [0, 1], "values": [0.5]}}}, 400, "different number"),
        ({"curves": {"": {"steps": [1], "at_us": [0], "values": [0.5]}}}, 400, "1 to 250 characters"),
        ({"curves": {"loss": {"steps": [2**70], "at_us": [0], "values": [0.5]}}}, 400, "cannot keep"),
        ({"curves": {"loss": {"steps": [1], "at_us": [0], "values": ["much"]}}}, 400, "curves"),
        ({"curve": {}}, 400, "did you mean 'curves'"),
    ],
)
def test_what_is_refused_leaves_nothing(world: World, body: Any, status: int, message: str) -> None:
    author = world.client(Role.AUTHOR)
    run = posted(author, "/v1/runs", {"experiment": "refused"})["id"]
    answer = author.post(f"/v1/runs/{run}/points", json=body)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text
    assert author.get(f"/v1/runs/{run}/summary").json() == {}
    assert author.post(f"/v1/runs/{run}/points", content=b"x" * 200_000).status_code == 413
    assert author.post("/v1/runs/rn_none/points", json={"curves": {}}).status_code == 404
    assert world.client(Role.READER).post(f"/v1/runs/{run}/points", json={"curves": {}}).status_code == 403
    assert world.client(None).post(f"/v1/runs/{run}/points", json={"curves": {}}).status_code == 401


def test_points_reach_a_run_that_is_over_only_when_they_are_late(world: World) -> None:
    author = world.client(Role.AUTHOR)
    columns = {"steps": [1, 2, 3], "at_us": [7, 8, 9], "values": [0.5, "NaN", "-Infinity"]}
    for pipeline, statuses in (("", [409, 200]), ("train", [409, 409])):
        run = posted(author, "/v1/runs", {"experiment": "late", "pipeline": pipeline})["id"]
        posted(author, f"/v1/runs/{run}/move", {"state": "finished"})
        bodies = [{"curves": {"loss": columns}, "late": late} for late in (False, True)]
        assert [author.post(f"/v1/runs/{run}/points", json=body).status_code for body in bodies] == statuses
        if 200 in statuses:
            assert author.get(f"/v1/runs/{run}/curve/loss").json() == columns
            page = author.get(f"/v1/runs/{run}/metrics/loss?limit=2").json()
            assert [(point["number"], point["value"]) for point in page["points"]] == [(1, 0.5), (2, "NaN")]
            assert page["next"] == 2


def test_a_revoked_token_ends_at_once(world: World) -> None:
    access = world.application.platform.access
    _, secret = access.grant("short-lived", Role.AUTHOR, by=SYSTEM)
    client = world.client(None)
    headers = {"authorization": f"Bearer {secret}"}
    assert [client.get("/v1/me", headers=headers).status_code for _ in range(2)] == [200, 200]
    access.revoke("short-lived", by=SYSTEM)
    assert client.get("/v1/me", headers=headers).status_code == 401

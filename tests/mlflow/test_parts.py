"""Files that come and go in parts, and the links for them."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.kernel.access import Role
from headway.server.mlflow.sending import range_of
from tests.mlflow.test_protocol import FILES, new_run, refusal
from tests.server.world import World

MPU = "/api/2.0/mlflow-artifacts/mpu"
DATA = random.Random(1).randbytes(250_000)


def begin(client: httpx2.Client, run: str) -> Any:
    body = {"path": "/home/somebody/big.bin", "num_parts": 3}
    answer = client.post(f"{MPU}/create/0/{run}/artifacts", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def send(world: World, upload: Any, pieces: list[bytes]) -> list[dict[str, Any]]:
    with world.client(None) as nobody:
        sent = []
        for credential, piece in zip(upload["credentials"], pieces, strict=True):
            answer = nobody.put(credential["url"], content=piece)
            assert answer.is_success, answer.text
            sent.append({"part_number": credential["part_number"], "etag": answer.headers["etag"]})
        return sent


def end(client: httpx2.Client, run: str, upload: Any, parts: Any, verb: str = "complete") -> httpx2.Response:
    body = {"path": "big.bin", "upload_id": upload["upload_id"], "parts": parts}
    return client.post(f"{MPU}/{verb}/0/{run}/artifacts", json=body)


def leftovers(world: World) -> list[Path]:
    return list(world.application.home.uploads.iterdir())


def test_parts_become_one_file(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    upload = begin(author, run)
    assert all(urlsplit(each["url"]).netloc == "localhost" for each in upload["credentials"])
    pieces = [DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]]
    send(world, upload, [b"first attempt", *pieces[1:]])
    parts = send(world, upload, pieces)
    assert not world.application.platform.artifacts.below(run)
    assert end(author, run, upload, parts).json() == {}
    assert author.get(f"{FILES}/0/{run}/artifacts/big.bin").content == DATA
    assert world.application.platform.artifacts.named(run, "big.bin").size == len(DATA)
    assert refusal(end(author, run, upload, parts)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert not leftovers(world)


def test_an_upload_without_all_its_parts_is_not_complete(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    upload = begin(author, run)
    with world.client(None) as nobody:
        etag = nobody.put(upload["credentials"][0]["url"], content=b"a").headers["etag"]
    first = {"part_number": 1, "etag": etag}
    wrong: list[Any] = [
        [], [first], [first, {"part_number": 2, "etag": etag}, {"part_number": 3, "etag": etag}], [first] * 3,
        None, "x",
    ]  # fmt: skip
    for parts in wrong:
        assert refusal(end(author, run, upload, parts)) == (400, "INVALID_PARAMETER_VALUE"), parts
    parts = send(world, upload, [b"a", b"b", b"c"])
    parts[1]["etag"] = etag
    assert refusal(end(author, run, upload, parts)) == (400, "INVALID_PARAMETER_VALUE")
    assert refusal(end(author, new_run(author), upload, parts)) == (400, "INVALID_PARAMETER_VALUE")
    assert not world.application.platform.artifacts.below(run)
    assert end(author, run, upload, None, "abort").json() == {}
    assert not leftovers(world)
    with world.client(None) as nobody:
        assert refusal(nobody.put(upload["credentials"][0]["url"], content=b"a")) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_link_is_good_for_its_own_part_alone(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    upload, other = begin(author, run), begin(author, run)
    url = upload["credentials"][0]["url"]
    path, query = urlsplit(url).path, urlsplit(url).query
    with world.client(None) as nobody:
        for method, target in (
            ("PUT", f"{path[:-1]}2?{query}"),
            ("PUT", f"{path.replace(upload['upload_id'], other['upload_id'])}?{query}"),
            ("GET", f"{path}?{query}"), ("PUT", f"{path}?{query.replace('role=author', 'role=owner')}"),
            ("PUT", f"{path}?{query.replace('expires=1', 'expires=2')}"), ("PUT", f"{path}?{query[:-1]}"),
            ("PUT", f"{path}?signature="), ("PUT", f"{path}?signature=%ff&expires=x"),
        ):  # fmt: skip
            assert refusal(nobody.request(method, target, content=b"a")) == (403, "PERMISSION_DENIED"), target
        assert refusal(nobody.put(path, content=b"a")) == (401, "UNAUTHENTICATED")
        assert nobody.get(f"/v1/runs?{query}").status_code == 401
        assert refusal(nobody.put(url, content=b"a" * 500_001)) == (400, "INVALID_PARAMETER_VALUE")
        assert nobody.put(url, content=b"a" * 300_000).is_success
        beside = upload["credentials"][1]["url"]
        assert refusal(nobody.put(beside, content=b"a" * 300_000)) == (400, "INVALID_PARAMETER_VALUE")
    with world.client(Role.READER) as reader:
        answer = reader.post(f"{MPU}/create/0/{run}/artifacts", json={"path": "x", "num_parts": 1})
        assert refusal(answer) == (403, "PERMISSION_DENIED")
    for each in (upload, other):
        end(author, run, each, None, "abort").raise_for_status()


@pytest.mark.parametrize("path", ["", "..", "a/..", "/", "a\\..", "x" * 2000, "\0"])
def test_no_path_leads_elsewhere(author: httpx2.Client, world: World, path: str) -> None:
    run = new_run(author)
    answer = author.post(f"{MPU}/create/0/{run}/artifacts", json={"path": path, "num_parts": 1})
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")
    answer = author.post(f"{MPU}/create/0/{run}/artifacts", json={"path": "a", "num_parts": 10_001})
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")
    assert not leftovers(world)


def test_what_is_abandoned_is_removed(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    upload = begin(author, run)
    send(world, upload, [b"a", b"b", b"c"])
    (folder,) = leftovers(world)
    os.utime(folder, (1, 1))
    following = begin(author, run)
    assert [found.name for found in leftovers(world)] == [f"multipart-{following['upload_id']}"]
    assert refusal(end(author, run, upload, [])) == (404, "RESOURCE_DOES_NOT_EXIST")
    end(author, run, following, None, "abort").raise_for_status()


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-9", 206, 0, 10), ("bytes=249990-", 206, 249_990, 250_000), ("bytes=-5", 206, 249_995, 250_000),
        ("bytes=5-999999999", 206, 5, 250_000), ("bytes=-999999999", 206, 0, 250_000), ("bytes=250000-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0), ("bytes=9-5", 200, 0, 250_000), ("bytes=0-1,5-6", 200, 0, 250_000),
        ("items=0-1", 200, 0, 250_000), ("bytes=-", 200, 0, 250_000), ("bytes=a-b", 200, 0, 250_000),
    ],
)  # fmt: skip
def test_a_part_of_a_file(author: httpx2.Client, asked: str, status: int, start: int, stop: int) -> None:
    run = new_run(author)
    path = f"{FILES}/0/{run}/artifacts/a file.bin"
    author.put(path, content=DATA).raise_for_status()
    answer = author.get(path, headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, DATA[start:stop])
    assert answer.headers["accept-ranges"] == "bytes"
    wanted = {200: None, 206: f"bytes {start}-{stop - 1}/250000", 416: "bytes */250000"}[status]
    assert answer.headers.get("content-range") == wanted
    fresh = author.get(path, headers={"range": asked, "if-range": answer.headers["etag"]})
    assert fresh.status_code == status
    stale = author.get(path, headers={"range": asked, "if-range": '"another"'})
    assert (stale.status_code, stale.content) == (200, DATA)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_every_range_is_within_the_file(size: int, first: int, last: int) -> None:
    for asked in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        part = range_of(asked, size)
        assert part is None or all(0 <= place < size for place in part)


def test_a_link_to_download_by(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    author.put(f"{FILES}/0/{run}/artifacts/a%20b.bin", content=DATA).raise_for_status()
    answer = author.get(f"/api/2.0/mlflow-artifacts/presigned/0/{run}/artifacts/a%20b.bin").json()
    assert (answer["headers"], answer["file_size"]) == ({}, len(DATA))
    with world.client(None) as nobody:
        part = nobody.get(answer["url"], headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, DATA[10:20])
        assert refusal(nobody.put(answer["url"], content=b"x")) == (403, "PERMISSION_DENIED")
    missing = author.get(f"/api/2.0/mlflow-artifacts/presigned/0/{run}/artifacts/none")
    assert refusal(missing) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_link_ends_with_the_token_that_it_was_made_with(world: World, author: httpx2.Client) -> None:
    run = new_run(author)
    author.put(f"{FILES}/0/{run}/artifacts/a.bin", content=DATA).raise_for_status()
    with world.client(Role.OWNER) as owner, world.client(None) as nobody:
        secret = owner.post("/v1/tokens", json={"name": "visiting", "role": Role.READER}).json()["secret"]
        visiting = {"authorization": f"Bearer {secret}"}
        link = f"/api/2.0/mlflow-artifacts/presigned/0/{run}/artifacts/a.bin"
        url = nobody.get(link, headers=visiting).json()["url"]
        assert nobody.get(url).content == DATA
        owner.delete("/v1/tokens/visiting").raise_for_status()
        assert refusal(nobody.get(url)) == (403, "PERMISSION_DENIED")

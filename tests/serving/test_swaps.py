"""Tables that are swapped under load: no request is lost, and none meets two tables."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from headway.kernel.records import encode
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.blob_folder import BlobFolder
from headway.serving.capture.exchange import Exchange
from headway.serving.counters import ServerCounters
from headway.serving.inference import Inference
from headway.serving.router import Router
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import Blobs, Server, request

BODY = json.dumps(request()).encode()


def swapped(table: MakeTable, generation: int) -> RoutingTable:
    """Halves whose releases and versions are this generation's own; which model is whose alternates."""
    halves = table(50, generation=generation)
    blobs = [route.blob for route in halves.routes]
    if generation % 2:
        blobs.reverse()
    routes = tuple(
        route.but(release=f"{route.release}_{generation}", version=2 * generation + place, blob=blobs[place])
        for place, route in enumerate(halves.routes)
    )
    return halves.but(routes=routes)


def seen(answer: dict[str, Any]) -> tuple[int, str, float]:
    """The generation of an answer, which of its models it says it is of, and the score."""
    half, _, generation = answer["parameters"]["release"].removeprefix("rl_").partition("_")
    assert int(answer["model_version"]) == 2 * int(generation) + "ab".index(half)
    model = "ab"["ab".index(half) ^ (int(generation) % 2)]
    return int(generation), model, answer["outputs"][1]["data"][-1]


def must_be_whole(answers: list[dict[str, Any]]) -> list[int]:
    """Each answer is of one table, and each model scores alike under all; the generations that answered."""
    told = [seen(answer) for answer in answers]
    assert len({(model, score) for _, model, score in told}) == 2
    assert {model for _, model, _ in told} == {"a", "b"}
    return [generation for generation, _, _ in told]


class Kept:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


async def under_load(router: Router, file: Path, tables: list[RoutingTable], kept: Kept) -> list[dict[str, Any]]:
    inference, answers = Inference(ServerCounters(), kept), list[dict[str, Any]]()

    async def swap() -> None:
        for table in tables:
            file.with_suffix(".new").write_bytes(encode(table))
            file.with_suffix(".new").rename(file)
            await router.refresh()
            assert not router.error

    swapping = asyncio.create_task(swap())
    while not swapping.done():
        if router.active:
            answer = inference.answer(router.active, BODY)
            assert answer.status == 200, answer.body
            answers.append(json.loads(answer.body))
        await asyncio.sleep(0)
    await swapping
    return answers


def test_a_hundred_swaps_lose_no_request_and_mix_no_tables(table: MakeTable, blobs: Blobs, tmp_path: Path) -> None:
    kept, file = Kept(), tmp_path / "routing.json"
    router = Router(file, BlobFolder(blobs.root), tmp_path / "workers")
    tables = [swapped(table, generation) for generation in range(100)]
    answers = asyncio.run(under_load(router, file, tables, kept))
    generations = must_be_whole(answers)
    assert generations == sorted(generations), "no table comes back"
    assert len(set(generations)) > 90
    assert len(kept.exchanges) == len(answers)
    for exchange, generation in zip(kept.exchanges, generations, strict=True):
        assert exchange.table.table.generation == generation
        assert exchange.release in {route.release for route in exchange.table.table.routes}


def asked(server: Server, stop: threading.Event, answers: list[dict[str, Any]], failures: list[int]) -> None:
    connection = server.connect()
    while not stop.is_set():
        connection.request("POST", "/v2/models/flights/infer", BODY)
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            answers.append(json.loads(body))
        else:
            failures.append(response.status)
    connection.close()


@pytest.mark.slow
def test_a_thousand_swaps_lose_no_request_and_mix_no_tables(start_server: StartServer, table: MakeTable) -> None:
    server, stop = start_server(swapped(table, 0)), threading.Event()
    answers: list[list[dict[str, Any]]] = [[], []]
    failures: list[int] = []
    clients = [threading.Thread(target=asked, args=(server, stop, each, failures)) for each in answers]
    for client in clients:
        client.start()
    for generation in range(1, 1001):
        server.route(swapped(table, generation))
        server.wait(lambda wanted=generation: server.status()["generation"] == wanted)  # type: ignore[misc]
    stop.set()
    for client in clients:
        client.join()
    assert failures == []
    for each in answers:
        generations = must_be_whole(each)
        assert generations == sorted(generations)
        assert len(set(generations)) > 900
    assert server.flush()["captured"] == sum(map(len, answers))

"""Traffic: who answers whom, and what happens while tables change."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest

from headway.errors import LedgerBroken, NotFound
from headway.lifecycle.rollouts.records import Pin
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.blob_folder import BlobFolder
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import SIGNATURE, Blobs, Server, request


def release_of(server: Server, **more: object) -> str:
    status, answer = server.infer(request(**more))
    assert status == 200
    release: str = answer["parameters"]["release"]
    return release


def answered(server: Server, stop: threading.Event, statuses: list[int]) -> None:
    connection = server.connect()
    body = json.dumps(request()).encode()
    while not stop.is_set():
        connection.request("POST", "/v2/models/flights/infer", body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()


def test_shares_and_stickiness(traffic: Server, table: MakeTable) -> None:
    server, rows, share = traffic.reroute(table(80)), 600, 0.2
    connection = server.connect()
    releases = []
    for key in list(range(rows)) * 2:
        connection.request("POST", "/v2/models/flights/infer", json.dumps(request(parameters={"key": f"k{key}"})))
        releases.append(json.loads(connection.getresponse().read())["parameters"]["release"])
    connection.close()
    assert releases[:rows] == releases[rows:]
    deviation = math.sqrt(rows * share * (1 - share))
    assert abs(releases[:rows].count("rl_b") - rows * share) < 4 * deviation


def test_where_the_key_comes_from(traffic: Server, table: MakeTable) -> None:
    halves = table(50)
    server = traffic.reroute(halves)
    for key in ("k1", "k2", "k3", "k4"):
        expected = halves.choose(key).release
        assert release_of(server, parameters={"key": key}, id="other") == expected
        assert release_of(server, id=key) == expected
        assert server.infer(request(id="other"), headway_key=key)[1]["parameters"]["release"] == expected
    assert release_of(server, parameters={"key": 17}) == halves.choose("17").release


def test_pinned_callers_get_their_release_whatever_the_shares(traffic: Server, table: MakeTable) -> None:
    halves = table(50)
    spared = halves.routes[1].but(percent=0)
    everybody = halves.but(routes=(halves.routes[0].but(percent=100), spared))
    pins = (Pin(key="vip-", release="rl_b", starts_with=True), Pin(key="vip-old", release="rl_a"))
    server = traffic.reroute(everybody.but(pins=pins))
    keys = ("vip-1", "vip-old", "k1", "k2", "k3")
    assert [release_of(server, parameters={"key": key}) for key in keys] == ["rl_b", "rl_a", "rl_a", "rl_a", "rl_a"]
    assert server.infer(request(), headway_key="vip-2")[1]["parameters"]["release"] == "rl_b"
    server = traffic.reroute(everybody)
    assert release_of(server, parameters={"key": "vip-1"}) == "rl_a"
    server = traffic.reroute(halves)
    assert {release_of(server, parameters={"key": f"k{number}"}) for number in range(20)} == {"rl_a", "rl_b"}


def test_swaps_under_load_lose_nothing(traffic: Server, table: MakeTable) -> None:
    server, stop, statuses = traffic.reroute(table()), threading.Event(), list[int]()
    before, swaps = server.flush()["captured"], server.log.read_text().count('"table active"')
    clients = [threading.Thread(target=answered, args=(server, stop, statuses)) for _ in range(3)]
    for client in clients:
        client.start()
    for generation in range(2, 102):
        server.route(table((100, 50, 10)[generation % 3], generation=generation))
        time.sleep(0.04)
    server.wait(lambda: server.status()["generation"] == 101)
    stop.set()
    for client in clients:
        client.join()
    assert len(statuses) > 500
    assert set(statuses) == {200}
    assert server.log.read_text().count('"table active"') - swaps > 20
    assert server.flush()["captured"] - before == len(statuses)


def broken_tables(table: MakeTable, blobs: Blobs) -> dict[str, tuple[RoutingTable | bytes, str]]:
    good = table(50, generation=9)
    route = good.routes[0]
    digest = blobs.put(b"these bytes change")
    (blobs.root / digest[3:5] / digest[5:]).write_bytes(b"these bytes changed")
    other = SIGNATURE.but(inputs=SIGNATURE.inputs[:1])

    def with_route(**changes: object) -> RoutingTable:
        return good.but(routes=(route.but(percent=100, release="rl_new", **changes),))

    return {
        "cut": (b'{"deployment": "flights"', "truncated"),
        "unknown field": (b'{"deployment": "flights", "generation": 9, "nix": 1}', "nix"),
        "shares": (good.but(routes=(route,)), "sum to 100"),
        "twice": (good.but(routes=(route, route)), "twice"),
        "pinned to nobody": (good.but(pins=(Pin(key="k", release="rl_x"),)), "rl_x"),
        "other deployment": (good.but(deployment="other"), "other"),
        "no blob": (with_route(blob="b3:" + "0" * 64), "cannot be read"),
        "no digest": (with_route(blob="../../etc/passwd"), "digest"),
        "changed blob": (with_route(blob=digest), "digest is no longer"),
        "no model": (with_route(blob=blobs.put(b"no model")), "does not load"),
        "other signature": (with_route(signature=other), "carrier"),
        "no such score": (with_route(signature=SIGNATURE.but(score="nix")), "nix"),
    }


@pytest.mark.parametrize(
    "case",
    ["cut", "unknown field", "shares", "twice", "pinned to nobody", "other deployment",
     "no blob", "no digest", "changed blob", "no model",
     "other signature", "no such score"],
)  # fmt: skip
def test_a_bad_table_is_refused(traffic: Server, table: MakeTable, blobs: Blobs, case: str) -> None:
    bad, named = broken_tables(table, blobs)[case]
    generation = traffic.reroute(table()).status()["generation"]
    traffic.route(bad)
    traffic.wait(lambda: named in traffic.status()["error"])
    assert traffic.status()["generation"] == generation
    assert release_of(traffic) == "rl_a"
    assert not traffic.reroute(table()).status()["error"]


def test_starts_without_a_table_and_takes_the_first(start_server: StartServer, table: MakeTable) -> None:
    server = start_server(b"nonsense")
    assert server.call("GET", "/v2/health/ready")[0] == 503
    assert "refused" in server.status()["error"]
    assert server.infer(request())[0] == 503
    server.route(table())
    server.wait(lambda: server.call("GET", "/v2/health/ready")[0] == 200)
    assert server.infer(request())[0] == 200


def test_blob_folder(blobs: Blobs, tmp_path: Path) -> None:
    name = blobs.put(b"model")
    assert BlobFolder(blobs.root).get(name) == b"model"
    with pytest.raises(NotFound):
        BlobFolder(tmp_path).get(name)
    path = tmp_path / name[3:5] / name[5:]
    path.parent.mkdir()
    path.write_bytes(b"other")
    with pytest.raises(LedgerBroken):
        BlobFolder(tmp_path).get(name)

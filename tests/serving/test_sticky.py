"""What keeps a caller with one release: a key of the request, a header or a feature that the deployment names."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.errors import Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.rollouts.records import Pin
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.lifecycle.rollouts.sticky import Sticky
from tests.engines.world import DEPLOYMENT, World
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import CARRIERS, Server, request

BY_HEADER, BY_CARRIER, BY_TEMP = Sticky(header="x-customer"), Sticky(feature="carrier"), Sticky(feature="temp")
TEMPS = [0.1, 7.0, 33.25, 70.0, 1e-3]
INFER = "/v2/models/flights/infer"


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Iterator[Server]:
    started = start_server(None)
    yield started
    started.stop()


def release(answer: tuple[int, Any]) -> str:
    status, said = answer
    assert status == 200, said
    found: str = said["parameters"]["release"]
    return found


def captured(server: Server, identifier: str) -> dict[str, Any]:
    rows = server.rows()
    return rows.filter(pl.col("_prediction") == identifier).row(0, named=True)


def test_a_header_of_its_own(server: Server, table: MakeTable) -> None:
    halves = table(50, sticky=BY_HEADER)
    server.reroute(halves)
    for key in ("k1", "k2", "k3", "k4"):
        expected = halves.choose(key).release
        assert release(server.infer(request(id=f"i-{key}"), x_customer=key)) == expected
        assert release(server.infer(request(id="x"), headway_key=key, x_customer="other")) == expected
        assert release(server.infer(request(id="x", parameters={"key": key}), x_customer="other")) == expected
        assert release(server.infer(request(id=key))) == expected
    assert captured(server, "i-k3")["_key"] == "k3"


def test_a_header_means_nothing_until_it_is_named(server: Server, table: MakeTable) -> None:
    """Not even where the same head, byte by byte, came before."""
    server.reroute(table(50))
    keys = [_key_of(server, "n-1", 3), _key_of(server, "n-2", 3)]
    server.reroute(table(50, sticky=Sticky(header="x-account")))
    keys.append(_key_of(server, "n-3", 1))
    server.reroute(table(50))
    keys.append(_key_of(server, "n-4", 1))
    assert keys == ["n-1", "n-2", "account-7", "n-4"]


def _key_of(server: Server, identifier: str, times: int) -> str:
    body = json.dumps(request(id=identifier)).encode()
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-account: account-7\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
            line.sendall(head + body)
            assert b" 200 " in line.recv(65536)
    found: str = captured(server, identifier)["_key"]
    return found


def _by_record(server: Server, carrier: str, temp: float, identifier: str) -> None:
    body = {"dataframe_records": [{"carrier": carrier, "temp": temp}], "params": {"prediction_ids": [identifier]}}
    assert server.call("POST", "/invocations", body, {"content-type": "application/json"})[0] == 200


def _by_name(server: Server, carrier: str, temp: float, identifier: str) -> None:
    body = {"features": {"carrier": carrier, "temp": temp}, "id": identifier}
    assert server.call("POST", "/v1/predict/flights", body)[0] == 200


def _in_json(server: Server, carrier: str, temp: float, identifier: str) -> None:
    assert server.infer(request(temp, carrier, id=identifier))[0] == 200


def _in_binary(server: Server, carrier: str, temp: float, identifier: str) -> None:
    asked = request(temp, carrier, id=identifier)
    blobs = [np.float32(temp).tobytes(), len(carrier).to_bytes(4, "little") + carrier.encode()]
    for tensor, blob in zip(asked["inputs"], blobs, strict=True):
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(blob)}
    text = json.dumps(asked).encode()
    told = {"inference-header-content-length": str(len(text))}
    assert server.call("POST", INFER, b"".join((text, *blobs)), told)[0] == 200


Ask = Callable[[Server, str, float, str], None]


@pytest.mark.parametrize("ask", [_by_name, _in_json, _in_binary, _by_record])
@pytest.mark.parametrize("sticky", [BY_CARRIER, BY_TEMP], ids=["text", "number"])
def test_a_feature_in_every_language(server: Server, table: MakeTable, ask: Ask, sticky: Sticky) -> None:
    halves = table(50, sticky=sticky)
    server.reroute(halves)
    for at, temp in enumerate(TEMPS):
        carrier, identifier = CARRIERS[at % 3], f"{ask.__name__}-{sticky.feature}-{at}"
        ask(server, carrier, temp, identifier)
        key = carrier if sticky is BY_CARRIER else str(np.float32(temp).item())
        row = captured(server, identifier)
        assert (row["_key"], row["_release"]) == (key, halves.choose(key).release)


def test_several_rows_go_by_their_first(server: Server, table: MakeTable) -> None:
    halves = table(50, sticky=BY_CARRIER)
    server.reroute(halves)
    for carriers in (["AA", "UA", "B6"], ["UA", "UA", "AA"], ["B6", "AA", "AA"]):
        answer = server.infer(request([70.0] * 3, carriers, id="-".join(carriers)))
        assert release(answer) == halves.choose(carriers[0]).release
    assert captured(server, "UA-UA-AA-0")["_key"] == "UA"


def test_a_key_goes_before_a_feature_and_a_missing_value_is_none(server: Server, table: MakeTable) -> None:
    halves = table(50, sticky=BY_TEMP)
    server.reroute(halves)
    for number in range(6):
        key = f"k{number}"
        expected = halves.choose(key).release
        assert release(server.infer(request(id="x", parameters={"key": key}))) == expected
        assert release(server.infer(request(id="x"), headway_key=key)) == expected
        assert release(server.infer(request(None, id=key))) == expected


def test_pins_hold_for_the_value_of_a_feature(server: Server, table: MakeTable) -> None:
    spared = table(50)
    routes = (spared.routes[0].but(percent=100), spared.routes[1].but(percent=0))
    server.reroute(spared.but(routes=routes, sticky=BY_CARRIER, pins=(Pin(key="UA", release="rl_b"),)))
    assert [release(server.infer(request(carrier=each))) for each in CARRIERS] == ["rl_a", "rl_a", "rl_b"]


def test_what_cannot_be_read_is_refused_by_the_release_that_is_chosen(server: Server, table: MakeTable) -> None:
    server.reroute(table(50, sticky=BY_CARRIER))
    for body, status in ((request(carrier=7), 400), (request(carrier="ZZ"), 422), ({"inputs": []}, 400)):
        said = server.infer({**body, "id": "wrong"})
        assert said[0] == status, said
    assert captured(server, "wrong")["_release"] in ("rl_a", "rl_b")


class TestDeclared:
    def test_the_table_says_it_and_a_feature_must_be_one(self) -> None:
        world = World()
        deployments = world.platform.deployments

        def declare(sticky: Sticky) -> RoutingTable:
            deployments.declare(DEPLOYMENT, "production", "late", by=SYSTEM, sticky=sticky)
            return deployments.routing(DEPLOYMENT)

        assert declare(Sticky(feature="nowhere")).generation == 0, "nothing serves, so that nothing is known"
        refused = world.settle(world.open())
        assert "sticky by 'nowhere', which rl_" in refused.reason
        declare(Sticky())
        world.settle(world.open())
        before = declare(Sticky())
        name = before.routes[0].signature.inputs[0].columns[0]
        with pytest.raises(Invalid, match=f"does not take; did you mean {name!r}"):
            declare(Sticky(feature=f"{name}s"))
        after = declare(Sticky(feature=name))
        assert (after.sticky.feature, after.generation) == (name, before.generation + 1)
        assert declare(Sticky(feature=name)) == after
        assert after.routes == before.routes

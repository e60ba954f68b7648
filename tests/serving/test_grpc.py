"""The Open Inference Protocol over gRPC on a real server: with bare messages, and with tritonclient."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.grpc_messages import MESSAGES
from tests.serving.conftest import StartServer
from tests.serving.environments import Environment
from tests.serving.processes import Server, request


@pytest.fixture(scope="module")
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def both(start_server: StartServer, address: str) -> Server:
    return start_server(None, "--grpc-port", address.rpartition(":")[2])


@pytest.fixture(scope="module")
def channel(both: Server, address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as opened:
        yield opened


def call(channel: grpc.Channel, method: str, sent: Any, answer: str = "", **options: Any) -> Any:
    sent = sent if isinstance(sent, bytes) else sent.SerializeToString()
    found = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(sent, timeout=20, **options)
    return MESSAGES[answer or f"{method}Response"].FromString(found)


def question(temp: float = 70.0, carrier: str = "UA", **fields: Any) -> Any:
    asked = MESSAGES["ModelInferRequest"](model_name="flights", **fields)
    asked.inputs.add(name="temp", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(temp)
    asked.inputs.add(name="carrier", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(carrier.encode())
    return asked


def test_typed_contents_are_answered_in_kind(both: Server, channel: grpc.Channel) -> None:
    said = call(channel, "ModelInfer", question(id="a"))
    wanted = both.infer(request(70.0))[1]["outputs"]
    assert said.id == "a"
    assert (said.model_name, said.model_version) == ("flights", "1")
    assert said.parameters["release"].string_param == "rl_a"
    assert [tensor.name for tensor in said.outputs] == ["label", "probabilities"]
    assert list(said.outputs[0].contents.int64_contents) == wanted[0]["data"]
    assert list(said.outputs[1].contents.fp32_contents) == pytest.approx(wanted[1]["data"])
    assert list(said.outputs[1].shape) == [1, 2]
    assert not said.raw_output_contents


def test_a_missing_number_is_nan_or_none(both: Server, channel: grpc.Channel) -> None:
    call(channel, "ModelInfer", question(float("nan"), id="nan"))
    rows = both.rows()
    assert rows.filter(rows["_request"] == "nan")["temp"].to_list() == [None]


def test_what_is_captured(both: Server, channel: grpc.Channel) -> None:
    asked = question(id="kept")
    asked.parameters["event_at"].string_param = "2024-05-01T00:00:00Z"
    call(channel, "ModelInfer", asked, metadata=(("headway-key", "customer-7"),))
    rows = both.rows()
    [row] = rows.filter(rows["_request"] == "kept").to_dicts()
    assert (row["_key"], row["_release"], row["_status"], row["temp"]) == ("customer-7", "rl_a", 200, 70.0)
    assert row["_event_at"].isoformat() == "2024-05-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        (lambda: MESSAGES["ModelInferRequest"](model_name="nix"), "NOT_FOUND", "nix"),
        (lambda: question(model_version="9"), "NOT_FOUND", "version"),
        (lambda: MESSAGES["ModelInferRequest"](model_name="flights"), "INVALID_ARGUMENT", "missing"),
        (lambda: question(1000.0), "INVALID_ARGUMENT", "temp"),
        (lambda: question(carrier="ZZ"), "INVALID_ARGUMENT", "carrier"),
        (lambda: question(raw_input_contents=[b"1234"]), "INVALID_ARGUMENT", "raw_input_contents"),
        (lambda: question(raw_input_contents=[b"1234", b"1234"]), "INVALID_ARGUMENT", "both"),
        (lambda: b"\xff\xff\xff", "INVALID_ARGUMENT", "ModelInferRequest"),
    ],
)
def test_refusals(channel: grpc.Channel, wrong: Any, code: str, says: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(channel, "ModelInfer", wrong())
    assert refusal.value.code().name == code  # type: ignore[attr-defined]
    assert says in refusal.value.details()  # type: ignore[attr-defined]


def test_pages(channel: grpc.Channel) -> None:
    assert call(channel, "ServerLive", b"").live
    assert call(channel, "ServerReady", b"").ready
    assert call(channel, "ServerMetadata", b"").name == "headway"
    named = MESSAGES["ModelReadyRequest"](name="flights", version="1")
    assert call(channel, "ModelReady", named).ready
    about = call(channel, "ModelMetadata", named)
    assert [(each.name, each.datatype, list(each.shape)) for each in about.inputs] == [
        ("temp", "FP32", [-1, 1]), ("carrier", "BYTES", [-1, 1]),
    ]  # fmt: skip
    with pytest.raises(grpc.RpcError, match="nix"):
        call(channel, "ModelMetadata", MESSAGES["ModelMetadataRequest"](name="nix"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["ModelInfer", "ModelReady", "ModelMetadata", "ServerLive"]))
def test_random_bytes_never_break_it(both: Server, channel: grpc.Channel, sent: bytes, method: str) -> None:
    code = "OK"
    try:
        call(channel, method, sent)
    except grpc.RpcError as error:
        code = error.code().name  # type: ignore[attr-defined]
    assert code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


def test_a_port_that_is_taken_ends_the_start(start_server: StartServer, both: Server, address: str) -> None:
    with pytest.raises(AssertionError, match="grpc"):
        start_server(None, "--grpc-port", address.rpartition(":")[2])


@pytest.mark.slow
def test_tritonclient(both: Server, address: str) -> None:
    said = Environment("tritonclient[grpc]==2.73.0").run("triton_grpc.py", address)
    data = both.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"][1]["data"]
    for name, scores in said["scores"].items():
        assert [score for row in scores for score in row] == pytest.approx(data, abs=1e-6), name
    assert (said["live"], said["ready"], said["model ready"], said["id"], said["label"]) == (
        True,
        True,
        True,
        "g-1",
        [0, 1],
    )
    assert said["server"]["name"] == "headway"
    assert said["metadata"]["versions"] == ["1"]
    assert said["refused"] == {
        "model": "StatusCode.NOT_FOUND", "version": "StatusCode.NOT_FOUND",
        "missing input": "StatusCode.INVALID_ARGUMENT", "output": "StatusCode.INVALID_ARGUMENT",
    }  # fmt: skip

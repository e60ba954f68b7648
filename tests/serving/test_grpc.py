"""The Open Inference Protocol over gRPC on a real server: with bare messages, and with tritonclient."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.lifecycle.rollouts.sticky import Sticky
from headway.serving.grpc.messages import MESSAGES
from tests.serving.conftest import MakeTable, StartServer
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


def wanting(**parameters: int | str) -> Any:
    asked = question()
    output = asked.outputs.add(name="probabilities")
    for name, value in parameters.items():
        setattr(output.parameters[name], "int64_param" if isinstance(value, int) else "string_param", value)
    return asked


def shared() -> Any:
    asked = question(raw_input_contents=[b"1234"])
    asked.inputs[0].ClearField("contents")
    asked.inputs[0].parameters["shared_memory_region"].string_param = "r"
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


def test_a_header_of_the_deployments_own_is_the_key(
    both: Server, channel: grpc.Channel, table: MakeTable
) -> None:  # fmt: skip
    halves = table(50, sticky=Sticky(header="x-customer"))
    both.reroute(halves)
    for key in ("k1", "k2", "k3", "k4"):
        said = call(channel, "ModelInfer", question(id="x"), metadata=(("x-customer", key),))
        assert said.parameters["release"].string_param == halves.choose(key).release
    both.reroute(table())


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
        (lambda: wanting(classification=2), "INVALID_ARGUMENT", "not classified"),
        (lambda: wanting(shared_memory_region="r"), "INVALID_ARGUMENT", "shared memory"),
        (lambda: shared(), "INVALID_ARGUMENT", "input 'temp' lies in shared memory"),
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
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED") as refusal:
        call(channel, "TraceSetting", b"", "ServerLiveResponse")
    assert "ModelStatistics" in refusal.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelReady", "ModelConfig", "ModelStatistics"])
@pytest.mark.parametrize(
    ("name", "version"),
    [("stats", ""), ("flights/ready", ""), ("flights/config", ""), ("flights", "1/ready"), ("flights", "../1")],
)
def test_a_name_with_a_slash_leads_to_no_other_page(
    channel: grpc.Channel, method: str, name: str, version: str
) -> None:
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        call(channel, method, MESSAGES["ModelReadyRequest"](name=name, version=version))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["ModelInfer", "ModelReady", "ModelMetadata", "ServerLive"]))
def test_random_bytes_never_break_it(both: Server, channel: grpc.Channel, sent: bytes, method: str) -> None:
    code = "OK"
    try:
        call(channel, method, sent)
    except grpc.RpcError as error:
        code = error.code().name  # type: ignore[attr-defined]
    assert code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


SENSIBLE = ("OK", "INVALID_ARGUMENT", "NOT_FOUND")
NAMES = st.sampled_from(["temp", "carrier", "label", "", "x" * 300, "\u20ac"])
SHAPES = st.lists(st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 2**31, 2**62]), max_size=4)
KINDS = st.sampled_from(["FP32", "BYTES", "FP16", "BF16", "FP64", "INT64", "UINT8", "BOOL", "", "fp32", "TYPE_FP32"])
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=3),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
        "uint_contents": st.lists(st.integers(0, 2**32 - 1), max_size=3),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=3),
        "fp32_contents": st.lists(st.floats(width=32), max_size=3),
        "fp64_contents": st.lists(st.floats(), max_size=3),
        "bytes_contents": st.lists(st.binary(max_size=9), max_size=3),
    },
)
RAW = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"\0\0\x8cB", b"\2\0\0\0UA", b"\xff\xff\xff\xffUA", b"\2\0\0\0\xff\xfe"]),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["key", "event_at", "prediction_ids", "timeout", "binary_data_output", "sequence_id", "other"]),
    st.one_of(
        st.booleans().map(lambda value: {"bool_param": value}),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: {"int64_param": value}),
        st.text(max_size=12).map(lambda value: {"string_param": value}),
        st.just({}),
    ),
    max_size=3,
)


def code_of(channel: grpc.Channel, sent: Any) -> str:
    try:
        call(channel, "ModelInfer", sent)
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(NAMES, KINDS, SHAPES, CONTENTS), max_size=3), st.lists(RAW, max_size=3), PARAMETERS,
    st.lists(NAMES, max_size=2), st.sampled_from(["", "1", "9", "\u20ac"]),
)  # fmt: skip
def test_well_formed_nonsense_is_refused(
    both: Server, channel: grpc.Channel, inputs: Any, raw: list[bytes], parameters: Any, outputs: Any, version: str
) -> None:
    asked = MESSAGES["ModelInferRequest"](model_name="flights", model_version=version, raw_input_contents=raw)
    for name, datatype, shape, contents in inputs:
        tensor = asked.inputs.add(name=name, datatype=datatype, shape=shape)
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
    for name in outputs:
        asked.outputs.add(name=name)
    for name, choice in parameters.items():
        asked.parameters[name].SetInParent()
        for field, value in choice.items():
            setattr(asked.parameters[name], field, value)
    assert code_of(channel, asked) in SENSIBLE


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_damaged_messages_are_refused_or_answered(
    both: Server, channel: grpc.Channel, damage: list[tuple[int, int]], raw: bool
) -> None:
    asked = question(id="d")
    if raw:
        asked.raw_input_contents.extend([b"\0\0\x8cB", b"\2\0\0\0UA"])
        for tensor in asked.inputs:
            tensor.ClearField("contents")
    sent = bytearray(asked.SerializeToString())
    for place, byte in damage:
        sent[place % len(sent)] = byte
    assert code_of(channel, bytes(sent)) in SENSIBLE


def test_it_goes_on_after_all_that(both: Server, channel: grpc.Channel) -> None:
    """Last of the nonsense: nothing of it was a fault of the server's."""
    assert code_of(channel, question()) == "OK"
    assert "inference failed" not in both.log.read_text()


def test_a_port_that_is_taken_ends_the_start(start_server: StartServer, both: Server, address: str) -> None:
    with pytest.raises(AssertionError, match=f"{address}: address already in use"):
        start_server(None, "--grpc-port", address.rpartition(":")[2])


@pytest.mark.slow
def test_tritonclient(both: Server, address: str) -> None:
    said = Environment("tritonclient[grpc]==2.73.0").run("triton_grpc.py", address)
    assert {"name": "flights", "platform": "onnxruntime_onnx", "backend": "onnxruntime"}.items() <= said[
        "config"
    ].items()
    types = [(tensor["name"], tensor["data_type"], tensor["dims"]) for tensor in said["config"]["input"]]
    assert types == [("temp", "TYPE_FP32", ["-1", "1"]), ("carrier", "TYPE_STRING", ["-1", "1"])]
    assert [tensor["name"] for tensor in said["config"]["output"]] == ["label", "probabilities"]
    assert said["index"] == {"models": [{"name": "flights", "version": "1", "state": "READY"}]}
    [counted], [in_all] = said["statistics"], said["all statistics"]
    assert (counted["name"], counted["version"]) == (in_all["name"], in_all["version"]) == ("flights", "1")
    success = counted["inference_stats"]["success"]
    assert int(success["count"]) == int(counted["execution_count"]) > 0 < int(success["ns"])
    assert int(counted["inference_count"]) > int(counted["execution_count"])
    assert all("headway ship" in said["not here"][verb] for verb in ("load", "unload"))
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


@pytest.mark.slow
def test_the_kserve_client(both: Server, address: str) -> None:
    said = Environment("kserve==0.21.0").run("kserve_grpc.py", address)
    data = both.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"][1]["data"]
    for name, scores in said["scores"].items():
        assert [each for row in scores for each in row] == pytest.approx(data, abs=1e-6), name
    assert (said["live"], said["ready"], said["model ready"]) == (True, True, True)
    assert (said["id"], said["label"], said["release"]) == ("k-1", [0, 1], "rl_a")
    assert said["refused"] == {
        "model": "NOT_FOUND", "version": "NOT_FOUND", "missing input": "INVALID_ARGUMENT",
        "contract": "INVALID_ARGUMENT",
    }  # fmt: skip

"""The binary tensor extension, conversions and encodings: what goes through is exact, what does not is named."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import BadTensor
from headway.lifecycle.models.records import Datatype
from headway.serving.capture.segments import segment
from headway.serving.counters import ServerCounters
from headway.serving.dialects.protocol import Tensor, decode
from headway.serving.dialects.wire import elements, packed
from headway.serving.http.encodings import chosen
from headway.serving.inference import Inference
from headway.serving.messages import BINARY, Head
from tests.serving.processes import SIGNATURE, Server, request
from tests.serving.test_tensors import TABLE, Sink, wide


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def tensor(name: str, datatype: str, rows: int, size: int) -> dict[str, Any]:
    return {"name": name, "shape": [rows, 1], "datatype": datatype, "parameters": {"binary_data_size": size}}


TEMPS, CARRIERS = np.array([20, 70], "<f4").tobytes(), texts("AA", "UA")
HEADER = {"inputs": [tensor("temp", "FP32", 2, len(TEMPS)), tensor("carrier", "BYTES", 2, len(CARRIERS))]}


def mixed(header: Any, *blobs: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(header).encode()
    return b"".join((text, *blobs)), {"Inference-Header-Content-Length": str(len(text))}


def post(server: Server, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = server.connect()
    try:
        connection.request("POST", "/v2/models/flights/infer", body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_binary_in_is_as_json_in(server: Server) -> None:
    wanted = server.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"]
    status, _, body = post(server, *mixed(HEADER, TEMPS, CARRIERS))
    assert (status, json.loads(body)["outputs"]) == (200, wanted)
    both = json.loads(json.dumps(HEADER))
    both["inputs"][1] = request([0.0] * 2, ["AA", "UA"])["inputs"][1]
    status, _, body = post(server, *mixed(both, TEMPS))
    assert (status, json.loads(body)["outputs"]) == (200, wanted)


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream", "text/html"])
def test_the_content_type_decides_nothing(server: Server, content_type: str) -> None:
    body, headers = mixed(HEADER, TEMPS, CARRIERS)
    assert post(server, body, headers | ({"Content-Type": content_type} if content_type else {}))[0] == 200
    assert post(server, json.dumps(request()).encode(), {"Content-Type": content_type})[0] == 200


def test_binary_out(server: Server) -> None:
    wanted = server.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"]
    asked = request([20.0, 70.0], ["AA", "UA"], parameters={"binary_data_output": True})
    status, headers, body = post(server, json.dumps(asked).encode(), {})
    size = int(headers["inference-header-content-length"])
    outputs = json.loads(body[:size])["outputs"]
    assert (status, headers["content-type"]) == (200, BINARY.decode())
    assert [each["parameters"]["binary_data_size"] for each in outputs] == [16, 16]
    assert all("data" not in each for each in outputs)
    assert np.frombuffer(body[size : size + 16], "<i8").tolist() == wanted[0]["data"]
    assert np.frombuffer(body[size + 16 :], "<f4").tolist() == pytest.approx(wanted[1]["data"])


def test_an_output_says_for_itself(server: Server) -> None:
    outputs = [{"name": "probabilities"}, {"name": "label", "parameters": {"binary_data": False}}]
    asked = request(outputs=outputs, parameters={"binary_data_output": True})
    _, headers, body = post(server, json.dumps(asked).encode(), {})
    size = int(headers["inference-header-content-length"])
    first, second = json.loads(body[:size])["outputs"]
    assert (first["parameters"], len(body) - size) == ({"binary_data_size": 8}, 8)
    assert second["data"] == [1]


def test_versions(server: Server) -> None:
    assert server.call("POST", "/v2/models/flights/versions/1/infer", request())[0] == 200
    assert server.call("GET", "/v2/models/flights/versions/1/ready") == (200, {"name": "flights", "ready": True})
    for method, path in (("POST", "versions/2/infer"), ("GET", "versions/2"), ("GET", "versions//ready")):
        status, answer = server.call(method, f"/v2/models/flights/{path}", request() if method == "POST" else None)
        assert (status, list(answer)) == (404, ["error"])
    assert server.call("GET", "/v2/models/flights/versions/1/infer")[0] == 405


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_encodings(server: Server, encoding: str, pack: Any) -> None:
    body, headers = mixed(HEADER, TEMPS, CARRIERS)
    assert post(server, pack(body), headers | {"Content-Encoding": encoding})[0] == 200
    many = json.dumps(request([70.0] * 500, ["UA"] * 500)).encode()
    status, found, packed_answer = post(server, many, {"Accept-Encoding": encoding})
    assert (status, found["content-encoding"]) == (200, encoding)
    answer = gzip.decompress(packed_answer) if encoding == "gzip" else zlib.decompress(packed_answer)
    assert len(json.loads(answer)["outputs"][0]["data"]) == 500
    for broken in (pack(body)[:-3], b"x" + pack(body), pack(body) + b"x"):
        assert post(server, broken, headers | {"Content-Encoding": encoding})[0] == 400
    assert post(server, body, headers | {"Content-Encoding": "br"})[0] == 415


def test_unpacking_is_bounded(small: Server) -> None:
    status, _, body = post(small, gzip.compress(b" " * 1001), {"Content-Encoding": "gzip"})
    assert (status, b"unpacked" in body) == (413, True)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate", "gzip"), ("deflate", "deflate"), ("", ""), ("identity", ""), ("*", "gzip"),
        ("gzip;q=0", ""), ("gzip;q=0.2, deflate;q=0.5", "deflate"), ("gzip;q=x", ""), ("*;q=0, deflate", "deflate"),
    ],
)  # fmt: skip
def test_accepted_encodings(accepted: str, encoding: str) -> None:
    assert chosen(accepted.encode()) == encoding


def test_memory_is_not_shared(server: Server) -> None:
    """Triton's clients would read what lies there already, and take it for the answer."""
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    status, said = server.infer(request(outputs=[{"name": "label", "parameters": region}]))
    assert (status, "not written to shared memory" in said["error"]) == (400, True)
    asked = request()
    asked["inputs"][0]["parameters"] = region
    del asked["inputs"][0]["data"]
    status, said = server.infer(asked)
    assert (status, "'temp' lies in shared memory" in said["error"]) == (400, True)


WRONG: dict[str, tuple[Any, tuple[bytes, ...], str]] = {
    "cut": (HEADER, (TEMPS, CARRIERS[:-1]), "left in the body"),
    "too much": (HEADER, (TEMPS, CARRIERS, b"x"), "follow the last"),
    "size too small": ({"inputs": [tensor("temp", "FP32", 2, 7), HEADER["inputs"][1]]}, (TEMPS, CARRIERS), "takes 8"),
    "negative size": ({"inputs": [tensor("temp", "FP32", 2, -1)]}, (), "-1"),
    "both": ({"inputs": [tensor("temp", "FP32", 1, 4) | {"data": [1.0]}]}, (TEMPS[:4],), "both"),
    "unknown datatype": ({"inputs": [tensor("temp", "FP128", 1, 4)]}, (TEMPS[:4],), "FP128"),
    "many dimensions": ({"inputs": [tensor("temp", "FP32", 1, 4) | {"shape": [1] * 9}]}, (TEMPS[:4],), "dimensions"),
    "no text": ({"inputs": [tensor("carrier", "BYTES", 1, 5)]}, (b"\1\0\0\0\xff",), "UTF-8"),
    "text too long": ({"inputs": [tensor("carrier", "BYTES", 1, 5)]}, (b"\2\0\0\0a",), "cut"),
    "texts too many": ({"inputs": [tensor("carrier", "BYTES", 1, 6 + len(CARRIERS))]}, (texts("AA"), CARRIERS), "1 el"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_binary_is_named(case: str) -> None:
    header, blobs, named = WRONG[case]
    body, headers = mixed(header, *blobs)
    with pytest.raises(BadTensor, match=named):
        decode(body, headers["Inference-Header-Content-Length"].encode())


@pytest.mark.parametrize("size", [b"0", b"-1", b"+5", b"1.0", b"x", b"9" * 5000, b"100000", "²".encode()])
def test_wrong_sizes_of_the_json_are_named(size: bytes) -> None:
    with pytest.raises(BadTensor, match="Content-Length"):
        decode(json.dumps(request()).encode(), size)


def test_missing_and_infinite_numbers() -> None:
    body, headers = mixed({"inputs": [tensor("x", "FP64", 2, 16)]}, np.array([np.nan, 1], "<f8").tobytes())
    assert decode(body, headers["Inference-Header-Content-Length"].encode()).inputs[0].data == [None, 1.0]
    with pytest.raises(BadTensor, match="out of the range"):
        wide(1).read([Tensor("x", [1, 1], "FP64", [float("inf")])])


@pytest.mark.parametrize("offset", range(4))
def test_a_row_in_binary_feeds_the_model_as_one_in_json(offset: int) -> None:
    blob = memoryview(b" " * offset + np.array([0.5, -2], "<f4").tobytes())[offset:]
    for datatype, model in (("FP32", Datatype.FP32), ("FP32", Datatype.FP64)):
        binary = Tensor("x", [1, 2], datatype, elements(datatype, [1, 2], blob))
        batches = [wide(2, model).read([each]) for each in (binary, Tensor("x", [1, 2], datatype, [0.5, -2.0]))]
        first, second = (batch.feed["x"] for batch in batches)
        assert (first.tolist(), first.dtype, first.shape) == (second.tolist(), second.dtype, second.shape)
        assert first.flags.aligned
        assert batches[0].cells == batches[1].cells


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_binary_brings_no_infinite_number(number: float) -> None:
    blob = memoryview(np.array([number, 1], "<f4").tobytes())
    with pytest.raises(BadTensor, match="out of the range"):
        wide(2, Datatype.FP32).read([Tensor("x", [1, 2], "FP32", elements("FP32", [1, 2], blob))])


@pytest.mark.parametrize(
    ("datatype", "model", "good", "bad"),
    [
        ("UINT8", Datatype.FP32, [0, 255], [256]),
        ("INT8", Datatype.INT64, [-128, 127], [-129]),
        ("UINT64", Datatype.INT64, [2**63 - 1], [2**63]),
        ("INT64", Datatype.INT32, [2**31 - 1], [2**31]),
        ("INT32", Datatype.FP32, [2**24, 2**25], [2**24 + 1]),
        ("INT64", Datatype.FP64, [-(2**53), 2**60], [2**53 + 1]),
        ("INT16", Datatype.FP64, [1], [1.5]),
        ("FP32", Datatype.FP64, [0.5], ["x"]),
    ],
)
def test_conversions_lose_nothing(datatype: str, model: Datatype, good: list[Any], bad: list[Any]) -> None:
    inputs = wide(1, model)
    assert inputs.read([Tensor("x", [len(good)], datatype, good)]).feed["x"].ravel().tolist() == good
    with pytest.raises(BadTensor, match="'x'"):
        inputs.read([Tensor("x", [len(bad)], datatype, bad)])


@pytest.mark.parametrize(
    ("datatype", "model"), [("UINT8", Datatype.BOOL), ("INT8", Datatype.BYTES), ("FP64", Datatype.FP32)]
)
def test_what_is_not_converted(datatype: str, model: Datatype) -> None:
    with pytest.raises(BadTensor, match=datatype):
        wide(1, model).read([Tensor("x", [1], datatype, [1])])


def test_halves() -> None:
    assert elements("FP16", [2], memoryview(np.array([0.5, -2], "<f2").tobytes())) == [0.5, -2.0]
    assert elements("BF16", [2], memoryview(struct.pack("<HH", 0x3F80, 0xC000))) == [1.0, -2.0]
    assert elements("BOOL", [2], memoryview(b"\0\1")) == [False, True]


@given(st.lists(st.text(max_size=8), max_size=5))
def test_texts_come_back(values: list[str]) -> None:
    assert elements("BYTES", [len(values)], memoryview(packed(np.array(values, object), Datatype.BYTES))) == values


SIZES = st.integers(-1, 40)
SOME_TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["temp", "carrier"]),
        "datatype": st.sampled_from(["FP32", "FP16", "BF16", "FP64", "BYTES", "BOOL", "UINT8", "INT64", "X"]),
        "shape": st.lists(st.integers(-1, 5), max_size=3),
        "parameters": st.fixed_dictionaries({"binary_data_size": SIZES}),
    }
)
HEADERS = st.fixed_dictionaries(
    {"inputs": st.lists(SOME_TENSOR, min_size=2, max_size=2), "parameters": st.just({"binary_data_output": True})}
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(HEADERS, st.just(HEADER)), st.binary(max_size=80), st.none() | st.binary(max_size=5))
def test_random_bytes_are_refused_or_answered(header: Any, rest: bytes, size: bytes | None) -> None:
    body, headers = mixed(header, rest)
    sink = Sink()
    head = Head(json_size=headers["Inference-Header-Content-Length"].encode() if size is None else size)
    answer = Inference(ServerCounters(), sink).answer(TABLE, body, head)
    assert answer.status in (200, 400, 422)
    assert answer.status != 200 or answer.body
    assert segment(sink.exchanges, SIGNATURE.inputs).tally.rows == sink.exchanges[0].rows

"""Values out of the contract: refused, or answered, marked, counted, and held against what is tolerated."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from headway.engines.calendar import CronCalendar
from headway.engines.observer import Observer
from headway.engines.scheduler import Scheduler
from headway.engines.tables.windows import skewed_day
from headway.errors import ContractBroken
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.records import Cause, Trigger
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, WhenSkewed
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.monitors.skew import SkewedDay
from headway.serving.dialects.features import by_name
from headway.serving.tensors import Inputs
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.delivered import delivered
from tests.serving.processes import CONTRACT, Server, request

WARNING = CONTRACT.but(when_skewed=WhenSkewed.WARN)
TEMP, CARRIER = CONTRACT.columns
CHANGING = CONTRACT.but(columns=(TEMP.but(when_skewed=WhenSkewed.CHANGE), CARRIER))
DAY = "2026-03-01"


def inputs(when_skewed: WhenSkewed) -> Inputs:
    """A model of two numbers and a text."""
    signature = Signature(
        inputs=(
            TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2)),
            TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1, 1)),
        ),
        outputs=(),
        score="",
    )
    rules = (
        ColumnRule(name="x_0", kind=Kind.FLOAT, low=0, high=1),
        ColumnRule(name="x_1", kind=Kind.FLOAT, low=0, high=1, when_skewed=WhenSkewed.REFUSE),
        ColumnRule(name="t", kind=Kind.STR, levels=("a", "b")),
    )
    return Inputs(signature, Contract(columns=rules, when_skewed=when_skewed))


@pytest.mark.parametrize("when_skewed", [WhenSkewed.WARN, WhenSkewed.CHANGE])
def test_what_is_let_pass_is_named_by_row(when_skewed: WhenSkewed) -> None:
    model, strict = inputs(when_skewed), inputs(WhenSkewed.REFUSE)
    rows = {"x_0": [0.5, 7, None, -1], "x_1": [0, 1, 0, 1], "t": ["a", "c", "b", "a"]}
    assert model.check(by_name(model, rows)) == {"x_0": [1, 2, 3], "t": [1]}
    with pytest.raises(ContractBroken):
        strict.check(by_name(strict, rows))
    for at, expected in enumerate([{}, {"x_0": [0], "t": [0]}, {"x_0": [0]}, {"x_0": [0]}]):
        assert model.check(by_name(model, {name: values[at : at + 1] for name, values in rows.items()})) == expected
    with pytest.raises(ContractBroken, match="x_1") as broken:
        model.check(by_name(model, rows | {"x_1": [0, 1, 0, 9]}))
    assert "x_0" not in str(broken.value), "only what is refused is the reason"


def start(start_server: StartServer, table: MakeTable, contract: Contract) -> Server:
    first = table()
    return start_server(first.but(routes=tuple(route.but(contract=contract) for route in first.routes)))


@pytest.fixture(scope="module")
def warning(start_server: StartServer, table: MakeTable) -> Server:
    return start(start_server, table, WARNING)


def predict(server: Server, **features: Any) -> tuple[int, Any]:
    return server.call("POST", "/v1/predict/flights", {"features": features})


def test_skew_of_the_schema_is_always_refused(warning: Server) -> None:
    assert predict(warning, temp=70)[0] == 422
    assert predict(warning, temp="hot", carrier="UA")[0] == 422
    assert predict(warning, temp=70, carrier=None)[0] == 422
    assert predict(warning, temp=70, carrier="UA", stray=1)[0] == 422
    assert predict(warning, temp=70, carrier="UA")[0] == 200


def test_skewed_rows_are_answered_marked_and_counted(start_server: StartServer, table: MakeTable) -> None:
    server = start(start_server, table, CHANGING)
    plain = start(start_server, table, CONTRACT.but(columns=(TEMP.but(low=None, high=None), CARRIER)))
    for temp, name in ((70.0, "good"), (999.0, "hot"), (-99.0, "cold")):
        asked = request(temp, "UA", id=name)
        asked["parameters"] = {"event_at": f"{DAY}T12:00:00Z"}
        assert server.infer(asked) == plain.infer(asked), "the answer is that of the model"
    assert server.infer(request(999.0, "XX", id="refused"))[0] == 422
    kept = server.rows()
    marks = dict(zip(kept["_prediction"], kept["_skewed"].to_list(), strict=True))
    assert marks == {"good": None, "hot": ["temp"], "cold": ["temp"], "refused": None}
    assert kept.filter(pl.col("_prediction") == "hot")["temp"].item() == 999.0
    assert server.status()["releases"]["rl_a"]["skewed"] == {"temp": 2}
    text = server.call("GET", "/metrics")[1].decode()
    assert 'headway_skewed_values_total{release="rl_a",feature="temp"} 2' in text
    segments = [path.read_bytes() for path in server.spool.glob("*.parquet")]
    assert skewed_day(segments, DAY, "rl_a", ("temp",)) == SkewedDay(rows=3, skewed=2, columns={"temp": 2})


def test_rows_of_one_request_are_marked_by_themselves(warning: Server) -> None:
    rows = {
        "dataframe_records": [{"temp": 70, "carrier": "UA"}, {"temp": 999, "carrier": "ZZ"}],
        "params": {"prediction_ids": ["m", "n"]},
    }
    assert warning.call("POST", "/invocations", rows, {"content-type": "application/json"})[0] == 200
    kept = warning.rows().filter(pl.col("_prediction").is_in(["m", "n"])).sort("_prediction")
    assert kept["_skewed"].to_list() == [None, ["temp", "carrier"]]


def test_the_description_demands_no_values_that_are_not_refused(warning: Server) -> None:
    document = warning.call("GET", "/v1/openapi.json")[1]
    schema = document["paths"]["/v1/predict/flights"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["features"] == {
        "type": "object", "required": ["temp", "carrier"], "additionalProperties": False,
        "properties": {"temp": {"type": ["number", "null"]}, "carrier": {"type": "string"}},
    }  # fmt: skip


def test_requests_that_are_read_together_are_told_apart(warning: Server) -> None:
    """Sent in one piece, so that one turn of the event loop reads them all."""
    bodies = [json.dumps(request(temp, "UA", id=f"together-{temp}")).encode() for temp in (1, 999, 2, 3)]
    connection = http.client.HTTPConnection("127.0.0.1", warning.port, timeout=20)
    connection.connect()
    head = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    connection.sock.sendall(b"".join(head % len(body) + body for body in bodies))
    received = b""
    while received.count(b"HTTP/1.1 200") < len(bodies) and b"HTTP/1.1 4" not in received:
        received += connection.sock.recv(65536)
    connection.close()
    assert received.count(b"HTTP/1.1 200") == len(bodies)
    kept = warning.rows().filter(pl.col("_prediction").str.starts_with("together-"))
    marks = dict(zip(kept["_prediction"], kept["_skewed"].to_list(), strict=True))
    assert {name for name, mark in marks.items() if mark} == {"together-999"}
    assert len(marks) == len(bodies)


def test_too_many_open_the_next_change(tmp_path: Path) -> None:
    """From the contract of a dataset through a real server's segments to the change, by what `headway up` runs."""
    contract = Contract(
        columns=(
            ColumnRule(name="x", kind=Kind.FLOAT, low=0, high=9),
            ColumnRule(name="late", kind=Kind.INT, use=Use.LABEL),
        ),
        when_skewed=WhenSkewed.CHANGE, tolerated=0.05,
    )  # fmt: skip
    rows = pl.DataFrame({"x": [at / 8 for at in range(64)], "late": [at // 32 for at in range(64)]})
    with delivered(tmp_path) as world:
        client, platform = world.client, world.platform
        client.datasets.add("learn", rows, contract=contract)
        client.datasets.add("later", rows.with_columns(pl.col("x") + 0.5), contract=contract)
        with world.run() as run:
            model = LogisticRegression().fit(rows.select("x"), rows["late"].to_numpy())
            version = run.log_model("late", model, training=["learn"], evaluation="later")
        assert version.contract is not None
        assert version.contract.tolerated == contract.tolerated
        world.declare("late", "late")
        world.ship(version, "late")
        platform.monitors.declare("requests", "late", Watches.SKEW, {}, by=SYSTEM)
        trigger = Trigger(
            id="tr_requests", created_at=datetime.now(UTC), name="values-changed", on=Cause.ALERT, pipeline="train",
            deployment="late", source="requests",
        )  # fmt: skip
        platform.triggers.declare(trigger, by=SYSTEM)
        server = world.serve("late")
        for at in range(100):
            body = {"features": {"x": 99.0 if at % 4 == 0 else 5.0}, "event_at": f"{DAY}T12:00:00Z"}
            assert server.call("POST", "/v1/predict/late", body)[0] == 200
        later = {"features": {"x": 5.0}, "event_at": "2026-03-02T12:00:00Z"}
        assert server.call("POST", "/v1/predict/late", later)[0] == 200
        world.bring_back(server, "late")
        for _ in range(3):
            Observer(platform, world.application.tables.profile_day, world.application.tables.skewed_day).step()
            Scheduler(platform, world.application.clock, CronCalendar()).step()
        [window] = client.monitors.windows("requests").items
        assert (window.rows, window.numbers["skewed"], window.outcome) == (100, 25, "fail")
        [alert] = platform.monitors.unresolved("requests")
        opened = [change for change in platform.changes.list().items if change.cause is Cause.ALERT]
        assert [(change.caused_by, change.why) for change in opened] == [(alert.id, alert.message)]

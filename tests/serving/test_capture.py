"""What was asked and answered is kept: all of it, or a count of what is not."""

from __future__ import annotations

import asyncio
import http.client
import io
import resource
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import polars as pl
import pytest

from headway.kernel.records import digest
from headway.lifecycle.rollouts.routing import ShadowRoute
from headway.serving.capture.budget import Budget
from headway.serving.capture.exchange import Exchange
from headway.serving.capture.pace import Pace
from headway.serving.capture.queue import FLUSH_ROWS, Capture
from headway.serving.capture.shipping import Shipper
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import Blobs, ControlPlane, Server, request, train
from tests.serving.test_tensors import TABLE


def exchange(request_id: str, size: int = 100) -> Exchange:
    return Exchange(TABLE, time.time_ns(), size, request=request_id, status=400, error="bad")


def test_every_row_is_kept(server: Server) -> None:
    before, non_finite = server.flush()["captured"], server.status()["capture"]["non_finite"]
    event_at = datetime(2013, 6, 1, 12, tzinfo=UTC)
    server.infer(request([60.0, None], ["AA", "UA"], id="two", parameters={"event_at": "2013-06-01T14:00:00+02:00"}))
    server.infer(request(parameters={"prediction_ids": ["mine"], "key": "k"}, id="one"))
    server.infer(request([999.0, 70.0], ["AA", "UA"], id="broken"))
    server.infer(b"{")
    rows = server.rows()
    assert rows.height == server.status()["capture"]["captured"] == before + 6
    by_id = {row["_prediction"]: row for row in rows.iter_rows(named=True)}
    first, second = by_id["two-0"], by_id["two-1"]
    assert (first["temp"], first["carrier"], first["_release"], first["_status"]) == (60.0, "AA", "rl_a", 200)
    assert (first["_event_at"], first["_rows"], first["_request"]) == (event_at, 2, "two")
    assert first["_received_at"].year > 2013
    assert first["_latency_us"] > 0
    assert 0 < first["_score"] < 1
    assert (second["temp"], second["_score"]) == (None, None)
    assert (by_id["mine"]["_request"], by_id["mine"]["_key"]) == ("one", "k")
    assert by_id["mine"]["_event_at"] == by_id["mine"]["_received_at"]
    broken = by_id["broken-0"]
    assert (broken["_status"], broken["temp"], broken["_score"]) == (422, 999.0, None)
    assert "temp" in broken["_error"]
    malformed = rows.filter(pl.col("_received_at") == pl.col("_received_at").max()).row(0, named=True)
    assert malformed["_status"] == 400
    assert (malformed["_release"], malformed["temp"], malformed["_score"]) == (None, None, None)
    assert rows.schema["temp"] == pl.Float32
    assert rows.schema["carrier"] == pl.String
    assert rows.schema["_event_at"] == pl.Datetime("us", "UTC")
    assert server.status()["capture"]["non_finite"] == non_finite + 1


def test_score_is_the_last_column_of_the_answer(server: Server) -> None:
    _, answer = server.infer(request([60.0, 80.0], ["AA", "UA"], id="scored"))
    rows = server.rows().filter(pl.col("_request") == "scored").sort("_prediction")
    assert rows["_score"].to_list() == answer["outputs"][1]["data"][1::2]


def test_a_full_queue_drops_and_counts(small: Server) -> None:
    before = small.flush()
    for _ in range(8):
        assert small.infer(request([60.0] * 4, ["AA"] * 4))[0] == 200
    capture = small.flush()
    assert capture["dropped"] > before["dropped"]
    assert capture["dropped"] + capture["captured"] == before["dropped"] + before["captured"] + 32
    assert small.rows().height == capture["captured"]


def test_bounds_by_rows_and_bytes(tmp_path: Path) -> None:
    capture = Capture(tmp_path, Shipper(tmp_path, str, None, str), most_rows=3, budget=Budget(10_000))
    capture.add(exchange("large", 20_000))
    for number in range(5):
        capture.add(exchange(f"{number}"))
    assert (capture.status().queued, capture.status().dropped) == (3, 3)
    asyncio.run(capture.flush())
    assert (capture.status().captured, capture.status().queued) == (3, 0)


def test_what_cannot_be_written_waits(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    capture = Capture(spool, Shipper(spool, str, None, str))
    capture.add(exchange("kept"))
    asyncio.run(capture.flush())
    assert capture.status().queued == 1
    assert str(spool) in capture.status().error
    spool.mkdir()
    asyncio.run(capture.flush())
    assert (capture.status().captured, capture.status().queued, capture.status().error) == (1, 0, "")


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files ends a write half way, as a full disk does."""
    capture = Capture(tmp_path, Shipper(tmp_path, str, None, str))
    capture.add(exchange("kept"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        asyncio.run(capture.flush())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert capture.status().queued == 1
    assert list(tmp_path.iterdir()) == []
    asyncio.run(capture.flush())
    assert (capture.status().captured, capture.status().error) == (1, "")


class Waiting(Pace):
    """Lets nobody write before its time, and counts how often it was asked when that is."""

    asked = 0

    def interval_s(self) -> float:
        self.asked += 1
        return 3600


def test_what_cannot_be_written_is_not_tried_again_at_once(tmp_path: Path) -> None:
    """Not even where so much waits that it would be written before its time."""
    pace = Waiting()
    spool = tmp_path / "spool"
    capture = Capture(spool, Shipper(spool, str, None, str), pace=pace)

    async def story() -> None:
        for number in range(FLUSH_ROWS):
            capture.add(exchange(f"{number}"))
        running = asyncio.create_task(capture.run())
        while not capture.status().error:
            await asyncio.sleep(0.01)
        for number in range(20):
            capture.add(exchange(f"later-{number}"))
            await asyncio.sleep(0.01)
        assert pace.asked == 2
        spool.mkdir()
        capture.close()
        await running

    asyncio.run(story())
    assert (capture.status().captured, capture.status().error) == (FLUSH_ROWS + 20, "")


def test_mirror_scores_are_the_direct_ones(traffic: Server, table: MakeTable) -> None:
    server = traffic.reroute(table(50, mirror=True))
    before = server.flush()["mirrored"]
    temps, carriers = [30.0, 50.0, 70.0, 90.0], ["AA", "B6", "UA", "AA"]
    direct = {}
    for key in range(20):
        _, answer = server.infer(request(temps, carriers, parameters={"key": f"{key}"}, id="mirrored"))
        direct[answer["parameters"]["release"]] = answer["outputs"][1]["data"][1::2]
    server.infer(request(999, id="mirrored"))
    assert set(direct) == {"rl_a", "rl_b"}
    rows = server.rows().filter(pl.col("_request") == "mirrored")
    good = rows.filter(pl.col("_status") == 200)
    assert good.height == 80
    for release, other in (("rl_a", "rl_b"), ("rl_b", "rl_a")):
        mine = good.filter(pl.col("_release") == release)
        assert set(mine["_mirror_release"]) == {other}
        expected = dict(zip(temps, direct[other], strict=True))
        assert mine["_mirror_score"].to_list() == pytest.approx([expected[temp] for temp in mine["temp"]], abs=1e-6)
    failed = rows.filter(pl.col("_status") == 422).row(0, named=True)
    assert (failed["_mirror_release"], failed["_mirror_score"]) == (None, None)
    assert server.status()["capture"]["mirrored"] == before + 80


def test_a_failing_mirror_hurts_nobody(traffic: Server, table: MakeTable, blobs: Blobs) -> None:
    both = table(0, mirror=True)
    other = both.routes[0].signature.but(
        inputs=(both.routes[0].signature.inputs[0], both.routes[0].signature.inputs[1].but(name="airline"))
    )
    stranger = both.routes[0].but(blob=blobs.put(train(3, "airline")), signature=other, contract=None)
    server = traffic.reroute(both.but(routes=(stranger, both.routes[1])))
    before = server.status()["capture"]["mirror_failures"]
    answers = [server.infer(request(id="unmirrored"))[0] for _ in range(10)]
    assert answers == [200] * 10
    rows = server.rows().filter(pl.col("_request") == "unmirrored")
    assert rows["_mirror_score"].null_count() == rows.height == 10
    assert rows["_mirror_release"].to_list() == ["rl_a"] * 10
    assert rows["_score"].null_count() == 0
    assert server.status()["capture"]["mirror_failures"] == before + 10


def test_a_shadow_scores_its_share_of_the_requests_and_answers_none(traffic: Server, table: MakeTable) -> None:
    everybody, halves = table(), table(50)
    shadow = ShadowRoute(route=halves.routes[1].but(percent=0), percent=50)
    server = traffic.reroute(everybody.but(shadow=shadow))
    requests = [f"shadowed-{number}" for number in range(60)]
    answers = [server.infer(request(id=each))[1]["parameters"]["release"] for each in requests]
    assert answers == ["rl_a"] * 60
    assert server.call("POST", "/v2/models/flights/versions/2/infer", request())[0] == 404
    server.flush()
    rows = server.rows().filter(pl.col("_request").is_in(requests))
    scored = rows.filter(pl.col("_mirror_release") == "rl_b")
    assert 15 < scored.height < 45
    assert set(scored["_request"]) == {each for each in requests if crc32(each.encode()) % 100 < 50}
    assert (scored["_mirror_score"] - scored["_score"]).abs().min() > 1e-6
    assert rows.filter(pl.col("_mirror_release").is_null())["_mirror_score"].null_count() == rows.height - scored.height


def test_saturated_scores_are_counted_by_release(traffic: Server, table: MakeTable) -> None:
    uncontracted = table().but(routes=(table().routes[0].but(contract=None, release="rl_free"),))
    server = traffic.reroute(uncontracted)
    for temp in (1e6, 60.0, -1e6):
        assert server.infer(request(temp))[0] == 200
    assert server.flush()["saturated"]["rl_free"] == 2
    metrics = server.call("GET", "/metrics")[1].decode()
    assert 'headway_saturated_scores_total{release="rl_free"} 2' in metrics


def test_sent_with_the_token_and_deleted(start_server: StartServer, control: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hw_secret\n")
    server = start_server(None, "--control", control.url, "--token-file", str(tmp_path / "token"))
    for _ in range(3):
        server.infer(request())
    capture = server.flush()
    assert (capture["captured"], capture["unsent"], capture["error"]) == (3, 0, "")
    assert list(server.spool.iterdir()) == []
    assert control.tokens == {"Bearer hw_secret"}
    for path, body in control.segments.items():
        assert path == f"/v1/deployments/flights/segments/{digest(body)}"
    assert sum(pl.read_parquet(io.BytesIO(body)).height for body in control.segments.values()) == 3
    control.status = 409
    server.infer(request())
    assert server.flush()["unsent"] == 0


def test_leftovers_are_sent_after_a_restart(start_server: StartServer, control: ControlPlane) -> None:
    control.status = 503
    server = start_server(None, "--control", control.url)
    server.infer(request(id="kept"))
    capture = server.flush()
    assert capture["unsent"] == 1
    assert "503" in capture["error"]
    server.kill()
    assert control.segments == {}
    control.status = 200
    (server.spool / "half.tmp").write_bytes(b"PAR1")
    again = start_server(None, "--control", control.url, folder=server.folder)
    again.wait(lambda: again.status()["capture"]["unsent"] == 0)
    (body,) = control.segments.values()
    assert pl.read_parquet(io.BytesIO(body))["_prediction"].to_list() == ["kept"]
    assert list(again.spool.iterdir()) == []


def test_sigterm_drains_and_flushes(start_server: StartServer, control: ControlPlane) -> None:
    server = start_server(None, "--control", control.url)
    for _ in range(5):
        server.infer(request())
    assert server.stop() == 0
    assert sum(pl.read_parquet(io.BytesIO(body)).height for body in control.segments.values()) == 5


def test_kill_leaves_whole_segments(start_server: StartServer) -> None:
    server = start_server()
    stop = threading.Event()

    def load() -> None:
        try:
            while not stop.is_set():
                server.infer(request([60.0] * 50, ["AA"] * 50))
        except (OSError, http.client.HTTPException):
            stop.set()

    client = threading.Thread(target=load)
    client.start()
    server.wait(lambda: server.status()["capture"]["segments"] >= 2)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(20)
    client.join()
    segments = list(server.spool.glob("*.parquet"))
    assert len(segments) >= 2
    for path in segments:
        assert path.stem == digest(path.read_bytes()).removeprefix("b3:")
        assert pl.read_parquet(path).height > 0


def test_back_off(tmp_path: Path) -> None:
    elapsed_s = [0.0]
    shipper = Shipper(tmp_path, lambda: "http://127.0.0.1:9", None, lambda: "flights", lambda: elapsed_s[0])
    (tmp_path / "00.parquet").write_bytes(b"x")
    waits = []
    for tick in range(600):
        elapsed_s[0] = tick / 10
        shipper.error = ""
        shipper.send()
        if shipper.error:
            waits.append(tick / 10)
    assert waits[:5] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5])
    shipper.error = ""
    shipper.send(at_once=True)
    assert "does not answer" in shipper.error
    assert shipper.unsent == 1

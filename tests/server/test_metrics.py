"""What Prometheus is told."""

from __future__ import annotations

import re

from headway.kernel.access import Role
from headway.server.metrics import Counters, exposition
from tests.server.world import World

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


def samples(text: str) -> dict[tuple[str, str], float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1], match[2] or ""] = float(match[3])
    return found


def test_requests_are_counted_by_route_and_not_by_path(world: World) -> None:
    reader = world.client(Role.READER)
    name = 'method="GET",route="/v1/models/versions/{ref}",status="404"'
    before = samples(reader.get("/metrics").text).get(("headway_requests_total", name), 0)
    for number in range(3):
        reader.get(f"/v1/models/versions/none{number}")
    world.client(None).get("/v1/models/versions/none")
    found = samples(reader.get("/metrics").text)
    assert found["headway_requests_total", name] == before + 3
    assert found["headway_requests_total", 'method="GET",route="none",status="401"'] >= 1
    assert "none0" not in str(found)


def test_latencies_are_a_histogram(world: World) -> None:
    text = world.client(Role.READER).get("/metrics").text
    text = world.client(Role.READER).get("/metrics").text
    assert text.count("# TYPE headway_request_seconds histogram") == 1
    found = samples(text)
    labels = 'method="GET",route="/metrics"'
    buckets = [
        value for (name, of), value in found.items() if name == "headway_request_seconds_bucket" and labels in of
    ]
    count = found["headway_request_seconds_count", labels]
    assert max(buckets) == count == found["headway_request_seconds_bucket", f'{labels},le="+Inf"']
    assert found["headway_request_seconds_sum", labels] > 0


def test_gauges_are_of_the_platform(delivered: tuple[World, dict[str, str]]) -> None:
    world, _ = delivered
    answer = world.client(Role.READER).get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(answer.text)
    platform = world.application.platform
    assert found["headway_ledger_entries", ""] == platform.ledger.latest(limit=1)[0].number
    assert found["headway_unresolved_alerts", 'state="open"'] == len(platform.monitors.unresolved())
    going = platform.runs.list(state="running", limit=1000).items
    assert found["headway_going_runs", 'state="running"'] == len(going)
    stages = [change.stage for change in platform.changes.open_ones()]
    assert sum(found["headway_open_changes", f'stage="{stage}"'] for stage in set(stages)) == len(stages)
    assert found["headway_prediction_rows_total", 'deployment="arrivals"'] >= 3
    assert found["headway_journal_acts_total", 'verb="release.sign"'] >= 1
    assert found["process_resident_memory_bytes", ""] > 10_000_000


def test_labels_are_escaped(world: World) -> None:
    counters = Counters()
    counters.add("odd_total", name='a"b\\c\nd')
    text = exposition(world.application.platform, counters)
    assert 'odd_total{name="a\\"b\\\\c\\nd"} 1\n' in text

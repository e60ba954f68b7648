"""What a model server counts, and its Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from headway.kernel.records import Value

BOUNDS_US = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)


_NO_MODELS: Mapping[str, int] = {}


class ReleaseCounts(Value):
    """What `ReleaseCounters` has counted, to be kept or added up."""

    statuses: dict[int, int]
    cells: tuple[int, ...]
    latency_us: float
    failed_us: float
    rows: int
    refused: dict[str, int] = {}
    filled: dict[str, int] = {}
    skewed: dict[str, int] = {}
    unsampled: int = 0
    fallbacks: dict[str, int] = {}


class ReleaseCounters:
    """Requests of one release: by status, and by latency in the cells that end at `BOUNDS_US`."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.cells = [0] * (len(BOUNDS_US) + 1)
        self.latency_us = self.failed_us = 0.0
        self.rows = 0
        """Rows of the requests that were answered."""
        self.refused: Counter[str] = Counter()
        """Requests that were not run, by the code of the reason; they are in no other figure."""
        self.filled: Counter[str] = Counter()
        """Values that a default stands for, by feature."""
        self.skewed: Counter[str] = Counter()
        """Values that break a rule and were let pass, by feature."""
        self.fallbacks: Counter[str] = Counter()
        """Requests that something else answered, since the model failed, by what answered; 200 among the statuses."""
        self.unsampled = 0
        """Rows that are not captured because only a share is."""

    def add(self, status: int, latency_us: float, rows: int = 1) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.rows += rows
        else:
            self.failed_us += latency_us
        self.cells[bisect_left(BOUNDS_US, latency_us)] += 1
        self.latency_us += latency_us

    def add_answered(self, requests: int, latency_us: float) -> None:
        """So many requests of one row, all answered after the same time."""
        self.statuses[200] += requests
        self.rows += requests
        self.cells[bisect_left(BOUNDS_US, latency_us)] += requests
        self.latency_us += latency_us * requests

    def counts(self) -> ReleaseCounts:
        return ReleaseCounts(
            statuses=dict(self.statuses),
            cells=tuple(self.cells),
            latency_us=self.latency_us,
            failed_us=self.failed_us,
            rows=self.rows,
            refused=dict(self.refused),
            filled=dict(self.filled),
            skewed=dict(self.skewed),
            unsampled=self.unsampled,
            fallbacks=dict(self.fallbacks),
        )

    def resume(self, counts: ReleaseCounts) -> None:
        """Count on from `counts`, too."""
        self.statuses.update(counts.statuses)
        self.refused.update(counts.refused)
        self.filled.update(counts.filled)
        self.skewed.update(counts.skewed)
        self.fallbacks.update(counts.fallbacks)
        self.cells = [own + other for own, other in zip(self.cells, counts.cells, strict=True)]
        self.latency_us += counts.latency_us
        self.failed_us += counts.failed_us
        self.rows += counts.rows
        self.unsampled += counts.unsampled


class ReleaseStatus(Value):
    requests: int
    statuses: dict[int, int]
    latency_us_mean: float
    refused: dict[str, int] = {}
    """Requests that were not run for want of time or room, by the code of the reason."""
    filled: dict[str, int] = {}
    """Values that a default stands for, by feature."""
    skewed: dict[str, int] = {}
    """Values that break a rule of the contract and were let pass, by feature."""
    unsampled: int = 0
    """Rows that are not captured because only a share is."""
    fallbacks: dict[str, int] = {}
    """Requests that something else answered, since the model failed, by what answered."""


class CaptureStatus(Value):
    """Rows by what became of them. `queued` wait in memory, `unsent` counts the segments in the spool."""

    queued: int = 0
    captured: int = 0
    dropped: int = 0
    non_finite: int = 0
    saturated: dict[str, int] = {}
    """By release, the scores that were exactly 0 or 1."""
    mirrored: int = 0
    mirror_failures: int = 0
    segments: int = 0
    unsent: int = 0
    error: str = ""


class WorkerStatus(Value):
    """`error` says why the last table was refused; empty when the active one is the last."""

    pid: int
    generation: int
    error: str
    resident_bytes: int
    ends: int = 0
    """How many workers had its place before, all of which ended unasked."""


class ServerStatus(Value):
    """Of all workers together. `generation` is the one that every worker has reached, `pid` the one that answered."""

    deployment: str
    generation: int
    error: str
    pid: int
    releases: dict[str, ReleaseStatus]
    capture: CaptureStatus
    workers: tuple[WorkerStatus, ...] = ()
    models: dict[str, int] = {}
    """By release, what the resident memory of the process that answered grew by while its model was loaded, in bytes;
    releases of one blob share it."""


class ServerCounters:
    """By release; requests that failed before one was chosen count under the empty name."""

    def __init__(self) -> None:
        self.releases: defaultdict[str, ReleaseCounters] = defaultdict(ReleaseCounters)

    def status(self) -> dict[str, ReleaseStatus]:
        return {release: _status(counters) for release, counters in self.releases.items()}

    def counts(self) -> dict[str, ReleaseCounts]:
        return {release: counters.counts() for release, counters in self.releases.items()}

    def resume(self, counts: dict[str, ReleaseCounts]) -> None:
        """Count on from `counts`, too."""
        for release, each in counts.items():
            self.releases[release].resume(each)

    def prometheus(
        self,
        capture: CaptureStatus,
        workers: Sequence[WorkerStatus] = (),
        models: Mapping[str, int] = _NO_MODELS,
    ) -> str:
        """The text exposition format 0.0.4; times in seconds, as its conventions ask."""
        counted = [
            *self._requests(),
            *self._refused(),
            *self._fallbacks(),
            *self._by_feature("filled", lambda counters: counters.filled),
            *self._by_feature("skewed", lambda counters: counters.skewed),
            *self._unsampled(),
            *self._latency(),
        ]
        return "\n".join([*counted, *_capture(capture), *_workers(workers), *_models(models)]) + "\n"

    def _requests(self) -> Iterator[str]:
        yield "# TYPE headway_requests_total counter"
        for release, counters in self.releases.items():
            for status, count in sorted(counters.statuses.items()):
                yield f'headway_requests_total{{release="{_escaped(release)}",status="{status}"}} {count}'

    def _refused(self) -> Iterator[str]:
        yield "# TYPE headway_refused_requests_total counter"
        for release, counters in self.releases.items():
            for reason, count in sorted(counters.refused.items()):
                yield f'headway_refused_requests_total{{release="{_escaped(release)}",reason="{reason}"}} {count}'

    def _fallbacks(self) -> Iterator[str]:
        yield "# TYPE headway_fallback_answers_total counter"
        for release, counters in self.releases.items():
            for by, count in sorted(counters.fallbacks.items()):
                yield f'headway_fallback_answers_total{{release="{_escaped(release)}",by="{_escaped(by)}"}} {count}'

    def _by_feature(self, name: str, counted: Callable[[ReleaseCounters], Counter[str]]) -> Iterator[str]:
        yield f"# TYPE headway_{name}_values_total counter"
        for release, counters in self.releases.items():
            for feature, count in sorted(counted(counters).items()):
                labels = f'release="{_escaped(release)}",feature="{_escaped(feature)}"'
                yield f"headway_{name}_values_total{{{labels}}} {count}"

    def _unsampled(self) -> Iterator[str]:
        yield "# TYPE headway_capture_unsampled_rows_total counter"
        for release, counters in self.releases.items():
            yield f'headway_capture_unsampled_rows_total{{release="{_escaped(release)}"}} {counters.unsampled}'

    def _latency(self) -> Iterator[str]:
        name = "headway_request_duration_seconds"
        yield f"# TYPE {name} histogram"
        for release, counters in self.releases.items():
            label, below = f'release="{_escaped(release)}"', 0
            for bound, count in zip((*BOUNDS_US, None), counters.cells, strict=True):
                below += count
                edge = "+Inf" if bound is None else f"{bound / 1e6:g}"
                yield f'{name}_bucket{{{label},le="{edge}"}} {below}'
            yield f"{name}_sum{{{label}}} {counters.latency_us / 1e6:.6f}"
            yield f"{name}_count{{{label}}} {below}"


def _status(counters: ReleaseCounters) -> ReleaseStatus:
    requests = sum(counters.statuses.values())
    mean = counters.latency_us / requests if requests else 0.0
    return ReleaseStatus(
        requests=requests,
        statuses=dict(counters.statuses),
        latency_us_mean=mean,
        refused=dict(counters.refused),
        filled=dict(counters.filled),
        skewed=dict(counters.skewed),
        unsampled=counters.unsampled,
        fallbacks=dict(counters.fallbacks),
    )


def _capture(capture: CaptureStatus) -> Iterator[str]:
    for name, kind, value in (
        ("capture_queued_rows", "gauge", capture.queued),
        ("capture_unsent_segments", "gauge", capture.unsent),
        ("captured_rows_total", "counter", capture.captured),
        ("capture_dropped_rows_total", "counter", capture.dropped),
        ("non_finite_scores_total", "counter", capture.non_finite),
        ("mirrored_rows_total", "counter", capture.mirrored),
        ("mirror_failures_total", "counter", capture.mirror_failures),
    ):
        yield f"# TYPE headway_{name} {kind}"
        yield f"headway_{name} {value}"
    yield "# TYPE headway_saturated_scores_total counter"
    for release, count in capture.saturated.items():
        yield f'headway_saturated_scores_total{{release="{_escaped(release)}"}} {count}'


def _workers(workers: Sequence[WorkerStatus]) -> Iterator[str]:
    yield "# TYPE headway_workers gauge"
    yield f"headway_workers {len(workers)}"
    yield "# TYPE process_resident_memory_bytes gauge"
    yield f"process_resident_memory_bytes {sum(each.resident_bytes for each in workers)}"


def _models(models: Mapping[str, int]) -> Iterator[str]:
    yield "# TYPE headway_model_memory_bytes gauge"
    for release, size in models.items():
        yield f'headway_model_memory_bytes{{release="{_escaped(release)}"}} {size}'


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

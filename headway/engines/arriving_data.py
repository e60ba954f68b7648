"""Holds each new version of the data that a model came from against its contract, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile

from headway.errors import NotFound
from headway.kernel.access import SYSTEM
from headway.kernel.paging import every
from headway.lifecycle.datasets.contract import Violation, WhenSkewed
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.records import Monitor
from headway.lifecycle.monitors.settings import DataSettings, settings_of
from headway.lifecycle.platform import Platform

_TOLD = 3


class NewVersions:
    """Versions that came after those that the serving model came from, and after those that were looked at before,
    whatever served then: each is news once."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._learnt_by: dict[str, Mapping[str, int]] = {}

    def judge(self, monitor: Monitor, release: str) -> None:
        """Record what each new version breaks of rules that its contract lets pass and asks a change for."""
        for version in sorted(self._new(monitor, release), key=lambda version: version.id):
            asking = version.contract.columns_to(WhenSkewed.CHANGE) if version.contract else frozenset[str]()
            broken = [str(violation) for violation in self._own_skew(version) if violation.column in asking]
            more = f"; and {len(broken) - _TOLD} more" if len(broken) > _TOLD else ""
            said = "; ".join(broken[:_TOLD]) + more if broken else "no rule of values that asks for a change is broken"
            self._platform.monitors.record(
                monitor,
                release,
                version.label,
                rows=version.rows,
                outcome=Outcome.FAIL if broken else Outcome.PASS,
                statistic=len(broken),
                limit=1,
                reason=f"{version.label}: {said}",
                numbers={"version": version.id, "broken": broken},
                came_from=[version.id],
                by=SYSTEM,
            )

    def _new(self, monitor: Monitor, release: str) -> Iterator[DatasetVersion]:
        settings, learnt = settings_of(monitor.name, monitor.watches, monitor.settings), self._learnt_from(release)
        assert isinstance(settings, DataSettings)
        windows = self._platform.monitors.windows(monitor.name, limit=1).items
        last = windows[0].numbers["version"] if windows else ""
        for name in settings.datasets or learnt:
            newest_first = every(lambda before, name=name: self._platform.datasets.versions(name, before=before))  # type: ignore[misc]
            yield from takewhile(
                lambda version, name=name: (
                    version.id > last  # type: ignore[misc]
                    and (version.number > learnt[name] if name in learnt else version.created_at > monitor.created_at)
                ),
                newest_first,
            )

    def _learnt_from(self, release: str) -> Mapping[str, int]:
        """By dataset, the newest version of it that the model of `release` came from."""
        if release not in self._learnt_by:
            model_version = self._platform.releases.get(release).model_version
            found: dict[str, int] = {}
            for identifier in self._platform.origins.of(model_version).datasets:
                version = self._platform.datasets.version(identifier)
                found[version.dataset] = max(version.number, found.get(version.dataset, 0))
            self._learnt_by[release] = found
        return self._learnt_by[release]

    def _own_skew(self, version: DatasetVersion) -> tuple[Violation, ...]:
        """Of a table that was appended to, what the new rows break: the others were looked at before."""
        if version.together >= len(version.parts):
            return version.skew
        try:
            before = self._platform.datasets.version(f"{version.dataset}@{version.number - 1}")
        except NotFound:
            return version.skew
        appended = before.blob == version.parts[0].blob or before.parts == version.parts[:-1]
        return version.skew[len(before.skew) :] if appended else version.skew

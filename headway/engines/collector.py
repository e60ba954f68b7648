"""Carries out the retention policy once a day, and collects what no record has."""

from __future__ import annotations

import logging
from collections.abc import Callable

from headway.kernel.access import SYSTEM
from headway.kernel.clock import Clock
from headway.kernel.leases import LeaseStore
from headway.lifecycle.platform import Platform
from headway.lifecycle.retention.records import Sweep
from headway.lifecycle.retention.sweeping import A_DAY_S

_LOG = logging.getLogger("headway.collector")
_LEASE = "collection"


class Collector:
    """The lease is the calendar: whoever has it sweeps, and nobody else for a day, whatever starts or ends meanwhile.
    What fails gives it back, and is tried again."""

    def __init__(
        self, platform: Platform, leases: LeaseStore, clock: Clock, holder: str, told: Callable[[Sweep], None]
    ) -> None:
        self._platform, self._leases, self._clock, self._holder, self._told = platform, leases, clock, holder, told

    def step(self) -> None:
        """Sweep, if a policy is declared and nobody has swept for a day."""
        policy, now = self._platform.sweeps.policy(), self._clock.now()
        if policy.keeps_everything:
            return
        lease = self._leases.take(_LEASE, f"{self._holder}/{now.isoformat()}", now, A_DAY_S)
        if lease is None:
            return
        try:
            days = 1.0 if policy.unreachable_days is None else policy.unreachable_days
            sweep = self._platform.sweeps.sweep(by=SYSTEM, older_than_s=days * A_DAY_S).sweep
        except BaseException:
            self._leases.give_back(lease)
            raise
        self._told(sweep)
        _LOG.info("swept: purged %s, freed %d bytes, %d missing", sweep.purged, sweep.freed_bytes, sweep.missing)

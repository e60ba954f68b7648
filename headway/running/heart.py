"""What goes on beside a run that works: it holds the run's lease, and hears when somebody cancels it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from headway.client.client import Client
from headway.errors import HeadwayError, LeaseLost, NotFound, Unavailable
from headway.kernel.leases import Lease
from headway.lifecycle.runs.records import RunState

_LOG = logging.getLogger("headway.run")
_BEAT_S = 1.0
_LEASE_RUNS_OUT_S = 15.0


class Heart:
    """Between `start` and `stop` nobody else can go on with the run. `cancelled` is called, from a thread of its own,
    when the run was cancelled or another process has taken it over."""

    def __init__(self, client: Client, run: str, cancelled: Callable[[], None]) -> None:
        self._client, self._run, self._cancelled = client, run, cancelled
        self._holder = f"{socket.gethostname()}-{os.getpid()}"
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, patience_s: float = 0.0) -> Lease:
        """Raises `LeaseLost` while another process works at the run, which is waited for: a lease of one that was
        killed runs out."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                lease = self._client.runs.claim(self._run, self._holder)
                break
            except LeaseLost:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_BEAT_S / 4)
        self._thread = threading.Thread(target=self._beat, name="headway-heart", daemon=True)
        self._thread.start()
        return lease

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT_S):
            try:
                self._client.runs.claim(self._run, self._holder)
                if self._client.runs.get(self._run).state is not RunState.CANCELLED:
                    continue
            except (LeaseLost, NotFound) as error:
                _LOG.error("%s", error)
            except Unavailable as error:
                _LOG.warning("the lease of run %s may run out: %s", self._run, error)
                continue
            except HeadwayError as error:
                _LOG.error("the lease of run %s cannot be prolonged: %s", self._run, error)
                continue
            self._cancelled()
            return


def await_release(client: Client, run: str) -> None:
    """Wait until no other process works at the run: the lease of one that was killed runs out. Raises `LeaseLost` when
    it does not."""
    probe = Heart(client, run, lambda: None)
    probe.start(_LEASE_RUNS_OUT_S)
    probe.stop()

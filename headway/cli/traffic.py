"""Who gets how much of a deployment's traffic, in words."""

from __future__ import annotations

from collections.abc import Sequence

from headway.cli.wording import short
from headway.client.client import Client
from headway.errors import NotFound
from headway.lifecycle.rollouts.records import Share


class Labels:
    """Looks up the `model@number` behind release ids, each once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def label(self, release: str) -> str:
        if release not in self._known:
            try:
                self._known[release] = self._client.releases.get(release).label
            except NotFound:
                self._known[release] = short(release)
        return self._known[release]

    def of(self, traffic: Sequence[Share]) -> str:
        if not traffic:
            return "nothing yet"
        if len(traffic) == 1:
            return self.label(traffic[0].release)
        return ", ".join(f"{self.label(share.release)} {share.percent} %" for share in traffic)

"""How long something has been as it is, for who looks at it now and then and keeps no timer."""

from __future__ import annotations


class Since:
    """Of one thing."""

    __slots__ = ("_at", "_state")

    def __init__(self) -> None:
        self._state: object = None
        self._at = 0.0

    def lasts_s(self, state: object, now: float) -> float:
        """How long it has been in this state, as far as looks can tell; None is no state, and lasts no time."""
        if state is None or state != self._state:
            self._state, self._at = state, now
        return now - self._at

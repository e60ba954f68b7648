"""Links that are good for one request of one path for a short time, whoever sends it: what a client hands to a library
that knows no token of ours."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from headway.errors import Forbidden
from headway.kernel.access import Actor, Role
from headway.kernel.clock import Clock

LASTS = timedelta(hours=1)
_SIGNED = "/api/2.0/mlflow-artifacts/"
"""Only paths below can be signed for."""


class Links:
    """Signed by HMAC-SHA256 with a key that this process alone has: with it they end."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._key = clock, secrets.token_bytes(32)

    def signed(self, method: str, path: str, by: Actor) -> str:
        """`path`, percent-encoded, with a query that lets whoever has it do `method` there as `by`."""
        fields = {"expires": str(int((self._clock.now() + LASTS).timestamp())), "name": by.name, "role": by.role}
        query = urlencode({**fields, "signature": self._signature(method, path, **fields)})
        return f"{quote(path)}?{query}"

    def actor(self, scope: Any) -> Actor | None:
        """For whom a request's link was signed; None for one that bears no signature. Raises `Forbidden` for a link
        that has expired, or that was not made here for this."""
        if b"signature=" not in scope["query_string"] or not scope["path"].startswith(_SIGNED):
            return None
        given = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        fields = {name: given.get(name, "") for name in ("expires", "name", "role")}
        signature = self._signature(scope["method"], scope["path"], **fields)
        if not hmac.compare_digest(signature.encode(), given.get("signature", "").encode()):
            raise Forbidden("this link was not made by this server for this request; ask for a new one")
        if self._clock.now().timestamp() >= int(fields["expires"]):
            raise Forbidden("this link has expired; ask for a new one")
        return Actor(name=fields["name"], role=Role(fields["role"]))

    def _signature(self, method: str, path: str, **fields: str) -> str:
        message = "\n".join([method, *(quote(part, safe="/") for part in (path, *fields.values()))])
        return hmac.new(self._key, message.encode(), "sha256").hexdigest()

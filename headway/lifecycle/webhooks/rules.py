"""How a delivery goes on after an attempt, and how a request is signed. Pure, tested by table."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from datetime import datetime, timedelta

from headway.errors import Invalid
from headway.kernel.ids import kind_of
from headway.lifecycle.webhooks.records import Attempt, Delivery, DeliveryState

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 3600.0
GIVEN_UP_AFTER = timedelta(hours=24)
"""From the event on; one that has waited for longer, behind others or while the server was down, is tried once."""
_TRIED_AGAIN = frozenset({408, 425, 429})
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
LONGEST_SECRET, LONGEST_ABOUT, LONGEST_ERROR = 500, 5000, 300


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or kind_of(name):
        raise Invalid(
            f"{name[:100]!r} cannot name a webhook: take 1 to 63 letters, digits, dots, dashes or underscores, "
            "with a letter or digit at each end"
        )
    return name


def checked_secret(secret: str) -> str:
    if len(secret) > LONGEST_SECRET:
        raise Invalid(f"a secret has at most {LONGEST_SECRET} characters, not {len(secret)}")
    try:
        secret.encode()
    except UnicodeEncodeError as error:
        raise Invalid("a secret is Unicode text, without surrogates") from error
    return secret


def checked_about(about: str) -> str:
    if len(about) > LONGEST_ABOUT:
        raise Invalid(f"a description has at most {LONGEST_ABOUT} characters, not {len(about)}")
    return about


def signature(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base 64 of HMAC-SHA256 over id, timestamp and body, as in https://www.standardwebhooks.com."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def after(delivery: Delivery, attempt: Attempt, now: datetime, jitter: float) -> Delivery:
    """The delivery after one more attempt. `jitter` is from [0, 1): receivers that failed together come back apart.

    A 5xx, 408, 425 or 429, and no answer at all, are tried again with growing pauses until a day has passed; whatever
    else is no 2xx is given up at once, for the same request would be answered the same.
    """
    tried = delivery.but(attempts=delivery.attempts + 1, status=attempt.status, error=attempt.error[:LONGEST_ERROR])
    if attempt.delivered:
        return tried.but(state=DeliveryState.DELIVERED, ended_at=now, next_attempt_at=None)
    tried = tried.but(error=tried.error or f"answered with status {attempt.status}")
    if not _may_try_again(attempt) or now - delivery.happened_at >= GIVEN_UP_AFTER:
        return tried.but(state=DeliveryState.GIVEN_UP, ended_at=now, next_attempt_at=None)
    return tried.but(next_attempt_at=now + timedelta(seconds=pause_s(tried.attempts, attempt.retry_after_s, jitter)))


def pause_s(attempts: int, retry_after_s: float, jitter: float) -> float:
    """How long to wait after so many attempts: doubling up to an hour, half of it by chance, and never less than the
    receiver asks for within that hour."""
    doubled = min(FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 30), LONGEST_PAUSE_S)
    return max(doubled * (0.5 + 0.5 * jitter), min(max(retry_after_s, 0.0), LONGEST_PAUSE_S))


def _may_try_again(attempt: Attempt) -> bool:
    if attempt.hopeless:
        return False
    return attempt.status == 0 or attempt.status >= 500 or attempt.status in _TRIED_AGAIN

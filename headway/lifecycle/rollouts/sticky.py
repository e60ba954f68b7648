"""What keeps a caller with one release, in requests that name no key themselves."""

from __future__ import annotations

import re

from headway.errors import BadSettings
from headway.kernel.records import Value

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")
# Source: RFC 9110, section 5.6.2, in lower case.
_TAKEN = {
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "headway-caller",
    "headway-deadline-ms", "headway-deployment", "headway-key", "host", "inference-header-content-length",
    "traceparent", "transfer-encoding",
}  # fmt: skip
_SECRET = {"authorization", "cookie", "proxy-authorization"}


class Sticky(Value):
    """Where the key of a request is found that brings none: in a `header`, or as the value of a `feature` in its first
    row. Without both, the request goes to any release."""

    header: str = ""
    """In lower case."""
    feature: str = ""


ANYWHERE = Sticky()


def checked_sticky(sticky: Sticky, at: str) -> Sticky:
    """With the header in lower case; raises `BadSettings`, which begins with `at`."""
    header = sticky.header.lower()
    if header and sticky.feature:
        raise BadSettings(f"{at} takes a header or a feature, not both")
    if header and not _HEADER.fullmatch(header):
        raise BadSettings(f"{at} header {sticky.header[:100]!r} is no name of a header")
    if header in _TAKEN:
        raise BadSettings(f"{at} header {header!r} means something else; name one of your own, such as x-customer")
    if header in _SECRET:
        raise BadSettings(f"{at} header {header!r} holds secrets, and keys are captured; name another")
    return sticky.but(header=header)

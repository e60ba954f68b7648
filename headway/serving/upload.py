"""One PUT over HTTP. By itself, since a model server without a control plane does not need it, and its memory.

Not httpx2: for one PUT a second it would add 16 MiB to each server and 0.1 s to its start.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping

_TIMEOUT_S = 10
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def put(url: str, data: bytes, headers: Mapping[str, str]) -> int:
    """The status that is answered; raises `OSError` where nothing is."""
    request = urllib.request.Request(url, data=data, headers=dict(headers), method="PUT")
    try:
        with _opener.open(request, timeout=_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code
    except http.client.HTTPException as failure:
        raise OSError(str(failure)) from failure

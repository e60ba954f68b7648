"""Which requests of a deployment are captured, where there are more than one wants to keep."""

from __future__ import annotations

import blake3

from headway.errors import BadSettings
from headway.kernel.records import Value

_POINTS = 2**32


class Sampling(Value):
    """`share` of the requests, 0 to 1, make up the sample; with `keep_errors` those that failed are kept beside it."""

    share: float = 1.0
    keep_errors: bool = True

    def takes(self, request: str) -> bool:
        """Whether the request of this id is in the sample: always the same answer.

        The hash is not the one that routes: else a small sample would hold requests of one release only.
        """
        if self.share >= 1:
            return True
        hashed = blake3.blake3(request.encode(), derive_key_context="headway capture").digest(4)
        return int.from_bytes(hashed, "little") < self.share * _POINTS


EVERYTHING = Sampling()


def checked_sampling(sampling: Sampling, at: str) -> Sampling:
    """Raises `BadSettings`, which begins with `at`."""
    if not 0 < sampling.share <= 1:
        raise BadSettings(f"{at} share must be above 0 and at most 1, not {sampling.share:g}")
    return sampling

"""The GPUs of this machine that steps may use."""

from __future__ import annotations

import os
from pathlib import Path

GPUS = "CUDA_VISIBLE_DEVICES"


def gpus_here() -> list[str]:
    """Names of the GPUs that may be used: those of CUDA_VISIBLE_DEVICES, else those that the driver knows."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [each for each in named.split(",") if each and each != "-1"]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(cards.iterdir())))] if cards.is_dir() else []

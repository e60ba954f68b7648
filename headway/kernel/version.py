"""The version of Headway that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("headway")
except PackageNotFoundError:  # run from its source, not installed
    VERSION = "0+source"

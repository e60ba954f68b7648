"""How a run that somebody ends is left behind: in good order, and with a word on how to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from headway.cli.wording import short
from headway.errors import RunCancelled


@contextmanager
def resumable(runs: Sequence[str]) -> Iterator[None]:
    """Take a request to end as an interrupt, and say how to go on with the last of `runs`."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, RunCancelled):
        if runs:
            click.echo(f"Next: headway run resume {short(runs[-1])}", err=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)

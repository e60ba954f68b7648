"""Answers in the place of a model that failed: another release, then a constant; the answer always says so."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import HeadwayError, Invalid, Unavailable
from headway.lifecycle.rollouts.fallbacks import CONSTANT, must_be_answer
from headway.serving.capture.exchange import Exchange
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.runtimes.workers import patient
from headway.serving.tensors import ELEMENTS, Batch, Feed

Outputs = list[NDArray[Any]]
HEADER = b"headway-fallback"

log = logging.getLogger(__name__)


async def outputs_apart(loaded: LoadedRoute, batch: Batch, table: LoadedTable) -> Outputs:
    """What the model gives, without keeping others waiting; raises `Unavailable` when it takes too long and something
    else is to answer then."""
    if (waiting := patient(loaded.runtime)) is None:
        return loaded.runtime.run(batch.feed)
    answer = waiting.ask(batch.feed)
    told = table.table.fallback
    if told is None or not told.after_ms:
        return await answer
    try:
        return await asyncio.wait_for(answer, told.after_ms / 1000)
    except TimeoutError:
        raise Unavailable(f"release {loaded.route.release} took more than {told.after_ms} ms") from None


def instead(exchange: Exchange, loaded: LoadedRoute, batch: Batch, error: Exception) -> tuple[LoadedRoute, Outputs]:
    """What answers for `loaded`, which failed with `error`, and its outputs in the order of `loaded`'s signature.

    Raises `error` where nothing can.
    """
    standing = _standing(exchange, loaded, error)
    if standing is None:
        return _constant(exchange, loaded, batch, error)
    try:
        outputs = standing.runtime.run(_feed(standing, loaded, batch))
        return _noted(exchange, standing, error, standing.route.release), standing.picked(outputs)
    except Exception as failure:
        return _constant(exchange, loaded, batch, error, failure)


async def instead_apart(
    exchange: Exchange, loaded: LoadedRoute, batch: Batch, error: Exception
) -> tuple[LoadedRoute, Outputs]:
    """`instead`, without keeping others waiting."""
    standing = _standing(exchange, loaded, error)
    if standing is None or (waiting := patient(standing.runtime)) is None:
        return instead(exchange, loaded, batch, error)
    try:
        outputs = await waiting.ask(_feed(standing, loaded, batch))
        return _noted(exchange, standing, error, standing.route.release), standing.picked(outputs)
    except Exception as failure:
        return _constant(exchange, loaded, batch, error, failure)


def _standing(exchange: Exchange, loaded: LoadedRoute, error: Exception) -> LoadedRoute | None:
    """The release that answers for `loaded`, if there is one; raises `error` where there is no chain at all."""
    if exchange.table.table.fallback is None:
        raise error
    return exchange.table.standing_in(loaded)


def _feed(standing: LoadedRoute, loaded: LoadedRoute, batch: Batch) -> Feed:
    return standing.inputs.feed(loaded.inputs.by_column(batch))


def _constant(
    exchange: Exchange, loaded: LoadedRoute, batch: Batch, error: Exception, failure: Exception | None = None
) -> tuple[LoadedRoute, Outputs]:
    """The end of the chain; `failure` is that of the release before it. Without a constant the first error is told."""
    told = exchange.table.table.fallback
    assert told
    if failure is not None:
        log.warning("fallback failed", extra={"facts": {"release": told.named, "error": str(failure)[:500]}})
    if not told.constant:
        raise error
    try:
        must_be_answer(told.constant, loaded.route.signature)
    except Invalid:  # it was told for another signature
        raise error from None
    outputs = []
    for spec in loaded.route.signature.outputs:
        value = told.constant[spec.name]
        row = np.array(value, dtype=ELEMENTS[spec.datatype].dtype).reshape(spec.shape[1:])
        outputs.append(np.broadcast_to(row, (batch.rows, *row.shape)).copy())
    return _noted(exchange, loaded, error, CONSTANT), outputs


def _noted(exchange: Exchange, answering: LoadedRoute, error: Exception, by: str) -> LoadedRoute:
    told = str(error) if isinstance(error, HeadwayError) else f"{type(error).__name__}: {error}"
    exchange.fallback, exchange.error = by, told[:2000]
    return answering

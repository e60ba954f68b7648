"""Carries out one call of a step, in whatever process it has come to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headway.engines.execution.parcels import found_at, unwrapped
from headway.engines.execution.wire import INLINE_BYTES, Call, Done, Failed, Packed
from headway.engines.pipelines.failures import told
from headway.engines.pipelines.outputs import pack
from headway.errors import BadPipeline
from headway.kernel.records import digest
from headway.lifecycle.runs.pipeline import Step, executing


def perform(
    call: Call, folder: Path, get: Callable[[str], bytes], put: Callable[[bytes], str],
    after: Callable[[], None] = lambda: None, file: Callable[[str], Path | None] = lambda blob: None,
) -> Done | Failed:  # fmt: skip
    """Run the step. Blobs that are not in the call are had by `get`, large ones mapped from the `file` they lie in
    where there is one; large outputs are kept by `put`, small ones are part of the answer. `after` is called when the
    step is over, as part of it."""

    def held(blob: str) -> bytes:
        return call.blobs[blob] if blob in call.blobs else get(blob)

    try:
        found = found_at(call.step)
        step = found if isinstance(found, Step) else Step(found)
        values = {name: unwrapped(node, held, file) for name, node in call.arguments.items()}
        arguments = inspect.BoundArguments(step.signature, values)
        if wrong := _denied(step.check_arguments, arguments):
            return wrong
        with executing(None):
            value = step.function(*arguments.args, **arguments.kwargs)
        after()
        if wrong := _denied(step.check_value, value):
            return wrong
    except (Exception, SystemExit) as error:
        text, short = told(error, folder)
        return Failed(short=short, text=text)
    del values, arguments
    return _packed(value, put, call)


def _denied(check: Callable[[Any], None], what: Any) -> Failed | None:
    try:
        check(what)
    except BadPipeline as error:
        return Failed(short=str(error), text=str(error), annotated=True)
    return None


def _packed(value: Any, put: Callable[[bytes], str], call: Call) -> Done | Failed:
    small: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        if len(data) > INLINE_BYTES:
            return put(data)
        blob = digest(data)
        small[blob] = data
        return blob

    try:
        outputs = pack(value, keep, call.format, pickle=call.pickle)
    except BadPipeline as error:
        return Failed(short=str(error), text=str(error), value=True)
    return Done(tuple(Packed(each.format, each.blob, small.get(each.blob)) for each in outputs))

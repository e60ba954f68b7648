"""A reader of tables: `python -m headway.engines.tables.reading MEMORY_BYTES`, started by a control plane
or a model server.

A table can be made so that reading it ends the process that does. That is this one, which holds nothing, may do little
and is soon started again. Questions come on standard input and answers go to standard output; it ends when its input
does, even amid a question, and after an error that nobody foresaw.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

from headway.engines.feature_views.latest import latest_of
from headway.engines.tables.frames import PolarsInspector, PolarsSegmentReader
from headway.engines.tables.questions import (
    MIB,
    READY,
    Answer,
    ContentOf,
    DayProfileOf,
    ExtendedOf,
    Failed,
    JoinedOf,
    LatestOf,
    Question,
    ReferenceOf,
    RequestOf,
    SharedOf,
    SkewedDayOf,
    SummaryOf,
    found,
    read_question,
    receive,
    send,
)
from headway.engines.tables.requests import request_body
from headway.engines.tables.sharing import shared
from headway.engines.tables.windows import day_profiles, skewed_day
from headway.errors import HeadwayError


def looked_up(question: Question) -> Any:
    """What the tables of `question` say."""
    match question:
        case SummaryOf(data=data):
            return PolarsInspector().summarise(data)
        case ReferenceOf(data=data, contract=contract):
            return PolarsInspector().reference(data, contract)
        case ExtendedOf(reference=reference, data=data, contract=contract):
            return PolarsInspector().extended(reference, data, contract)
        case JoinedOf(parts=parts):
            return PolarsInspector().joined(parts)
        case SharedOf(parts=parts, data=data):
            return shared(parts, data)
        case ContentOf(deployment=deployment, segment=segment, data=data):
            return PolarsSegmentReader().read(deployment, segment, data)
        case DayProfileOf(segments=segments, day=day, layout=layout):
            return day_profiles(segments, day, layout)
        case SkewedDayOf(segments=segments, day=day, release=release, columns=columns):
            return skewed_day(segments, day, release, columns)
        case LatestOf(data=data, view=view, as_of=as_of):
            return latest_of(data, view, as_of)
        case RequestOf(data=data, most_bytes=most_bytes):
            return request_body(data, most_bytes)


def limit(memory_bytes: int) -> None:
    """Hold this process to so much address space, to small files, and to no core dump."""
    bounds = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_FSIZE: MIB, resource.RLIMIT_CORE: 0}
    for kind, bound in bounds.items():
        with contextlib.suppress(ValueError, OSError):  # macOS has no RLIMIT_AS that can be set
            resource.setrlimit(kind, (bound, bound))


def serve(answer: Callable[[Question], Any]) -> None:
    """Answer until standard input ends; never returns."""
    questions: SimpleQueue[Question] = SimpleQueue()
    try:
        with os.fdopen(os.dup(1), "wb") as output:
            os.dup2(2, 1)  # what a library prints must not be taken for an answer
            threading.Thread(target=_receive, args=(sys.stdin.buffer, questions), daemon=True).start()
            send(output, READY)
            while True:
                send(output, _answered(questions.get(), answer))
    except BaseException:  # a panic of polars is no `Exception`
        traceback.print_exc()
    finally:
        os._exit(1)


def _answered(question: Question, answer: Callable[[Question], Any]) -> Answer:
    try:
        return found(answer(question))
    except HeadwayError as error:
        return Failed(code=error.code, message=str(error))


def _receive(stream: BinaryIO, questions: SimpleQueue[Question]) -> None:
    while _passed_on(stream, questions):
        pass
    os._exit(0)


def _passed_on(stream: BinaryIO, questions: SimpleQueue[Question]) -> bool:
    """Keeps no hold of the table, which may be large, while the next question is waited for."""
    body = receive(stream)
    if body is None:
        return False
    questions.put(read_question(body))
    return True


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    serve(looked_up)

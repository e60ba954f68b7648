"""A story told in chapters to a server, in the client's own environment: `script.py URL [CHAPTER...]`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

CHAPTERS: list[Callable[[MlflowClient], None]] = []


def chapter(function: Callable[[MlflowClient], None]) -> Callable[[MlflowClient], None]:
    CHAPTERS.append(function)
    return function


def refused(code: str, call: Callable[[], object]) -> None:
    try:
        call()
    except MlflowException as error:
        found = error.error_code
    else:
        found = "nothing"
    assert found == code, (found, code)


def play() -> None:
    mlflow.set_tracking_uri(sys.argv[1])
    wanted = sys.argv[2:]
    for each in CHAPTERS:
        if not wanted or each.__name__ in wanted:
            each(MlflowClient())
            print("done", each.__name__, flush=True)

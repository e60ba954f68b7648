"""PyTorch networks as ONNX: one float tensor [rows, features] in, scores [rows] or [rows, width] out."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.packing import INPUT
from headway.errors import ExtraMissing, Invalid

_OPSET = 18
_EXAMPLE_ROWS = 3
"""Neither 0 nor 1, which torch.export takes for sizes that never change."""


def is_network(model: Any) -> bool:
    """Whether it is a `torch.nn.Module` or a `torch.export.ExportedProgram`; loads no torch to say so."""
    return any(made.__module__.partition(".")[0] == "torch" for made in type(model).__mro__)


def network_to_onnx(model: Any, width: int) -> bytes:
    """`model` by `torch.onnx.export`, with the input `INPUT` [rows, width] and the output `score`.

    Raises `Invalid` when torch cannot say it in ONNX, `ExtraMissing` without onnxscript.
    """
    torch = sys.modules["torch"]
    rows = torch.export.Dim("rows")
    try:
        with _evaluating(model) as module:
            program = torch.onnx.export(
                module, (torch.zeros(_EXAMPLE_ROWS, width),), dynamic_shapes=({0: rows},), dynamo=True,
                input_names=[INPUT], output_names=["score"], opset_version=_OPSET, verbose=False,
            )  # fmt: skip
            return bytes(program.model_proto.SerializeToString(deterministic=True))
    except ImportError as error:
        raise ExtraMissing(f"PyTorch takes one more package ({error.name}): pip install 'headway[torch]'") from None
    except Exception as error:  # the exporter raises all sorts
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise Invalid(
            f"PyTorch does not bring {type(model).__name__} into ONNX for one tensor of {width} floats a row "
            f"({told[0][:300]}); it takes one tensor [rows, features] and gives one tensor of scores"
        ) from error


def network_file(model: Any, width: int) -> bytes:
    """`model` as `torch.export` saves it, for any number of rows; raises `Invalid` when torch cannot trace it."""
    torch = sys.modules["torch"]
    try:
        with _evaluating(model) as module:
            rows = ({0: torch.export.Dim("rows")},)
            program = torch.export.export(module, (torch.zeros(_EXAMPLE_ROWS, width),), dynamic_shapes=rows)
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            return buffer.getvalue()
    except Exception as error:  # torch raises all sorts
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise Invalid(f"torch.export cannot trace {type(model).__name__}: {told[0][:300]}") from error


def network_answers(model: Any, names: Sequence[str], frame: pl.DataFrame) -> NDArray[np.float64]:
    """What the network itself answers, shape [rows, width], to the columns `names` side by side in single precision."""
    torch = sys.modules["torch"]
    columns = frame.select(list(names)).cast(pl.Float32).fill_null(float("nan")).to_numpy()
    with _evaluating(model) as module, torch.no_grad():
        answers = module(torch.from_numpy(np.ascontiguousarray(columns)))
    found: NDArray[np.float64] = answers.numpy().astype(np.float64).reshape(len(columns), -1)
    return found


@contextmanager
def _evaluating(model: Any) -> Iterator[Any]:
    """The module as it answers, not as it learns: no dropout; afterwards it is as it was."""
    module = model.module() if hasattr(model, "graph_signature") else model
    learning = [part for part in module.modules() if part.training]
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    for part in learning:
        part.training = False
    try:
        with warnings.catch_warnings():
            # torch uses what it deprecates itself; `parity` proves what it makes.
            warnings.simplefilter("ignore")
            yield module
    finally:
        log.setLevel(level)
        for part in learning:
            part.training = True

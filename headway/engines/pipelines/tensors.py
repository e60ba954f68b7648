"""Tensors and state dicts of PyTorch as bytes and back, by safetensors, which holds numbers and no code."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from headway.engines.pipelines.libraries import needed

_NOTE = "headway"
"""The only entry of a file's metadata: more than one would be written in any order."""
_ALONE = "tensor"


def dumps(value: Any) -> bytes:
    """The same bytes for equal values, wherever they lie. `value` is a tensor, or an ordered dict of tensors; tensors
    that share memory are written one by one.

    Raises `ValueError` for a tensor that is sparse, or part of a computation's graph.
    """
    alone = not isinstance(value, OrderedDict)
    tensors = {_ALONE: value} if alone else value
    whole = {name: _settled(tensor) for name, tensor in tensors.items()}
    note = None if alone else {"names": list(tensors), "versions": getattr(value, "_metadata", None)}
    written: bytes = _safetensors("torch").save(whole, {_NOTE: json.dumps(note, separators=(",", ":"))})
    return written


def _settled(tensor: Any) -> Any:
    """A copy of its own, row by row: safetensors takes neither strides nor shared memory."""
    torch = _torch()
    if tensor.requires_grad:
        raise ValueError("it belongs to the graph of a computation; return tensor.detach()")
    if tensor.layout is not torch.strided:
        raise ValueError("it is sparse; return tensor.to_dense(), or a matrix of scipy")
    return tensor.cpu().clone(memory_format=torch.contiguous_format)


def loads(data: bytes) -> Any:
    """In the memory of the processor."""
    length = int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return _made(_safetensors("torch").load(data), notes)


def mapped(path: Path) -> Any:
    """As they lie in the file; what is written to them stays in memory, page by page, and the file is as it was."""
    with _safetensors().safe_open(path, framework="pt") as file:
        return _made({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118


def _made(tensors: dict[str, Any], notes: dict[str, str]) -> Any:
    note = json.loads(notes[_NOTE])
    if note is None:
        return tensors[_ALONE]
    found = OrderedDict((name, tensors[name]) for name in note["names"])
    if note["versions"] is not None:  # of its modules, by which PyTorch reads state dicts of before
        found._metadata = OrderedDict(note["versions"])  # type: ignore[attr-defined]
    return found


def _torch() -> Any:
    return needed("torch", "reading a tensor takes PyTorch", "torch")


def _safetensors(part: str = "") -> Any:
    _torch()
    return needed(f"safetensors.{part}" if part else "safetensors", "storing tensors takes safetensors", "torch")

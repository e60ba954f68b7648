"""The way of a trained model to the form in which it is served."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from headway.client.client import Client
from headway.client.frames import polars_of
from headway.client.home import find_home
from headway.client.run import Exported
from headway.errors import ExtraMissing, Invalid
from headway.lifecycle.datasets.contract import Use
from headway.lifecycle.models.graphs import Graph, checked_size, composed
from headway.lifecycle.models.records import ClassName, Form, Signature

if TYPE_CHECKING:
    import polars

_PARITY_ROWS = 5000


class OnnxExporter:
    """Converts estimators, and compares the served form with them; needs the extra `[ml]`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._examples: dict[str, polars.DataFrame] = {}

    def export(self, model: Any, evaluation: str, example: Any, score: str | None) -> Exported:
        """ONNX bytes are taken as they are, and nothing can be said of their parity."""
        engine = _engine("export")
        if isinstance(model, bytes):
            return Exported(onnx=model, signature=engine.signature_of(model, score))
        rows = self._held_out(model, evaluation) if example is None else polars_of(example)
        made = engine.export(model, rows, rows.head(_PARITY_ROWS), score)
        return Exported(
            onnx=made.data, signature=made.signature, parity=made.parity, form=made.form, variants=made.variants,
            note=made.note,
        )  # fmt: skip

    def export_file(
        self, path: Path, evaluation: str, score: str | None, signature: Signature | None,
        classes: tuple[ClassName, ...],
    ) -> Exported:  # fmt: skip
        """ONNX files too are taken as they are: nobody can say what they were made from."""
        engine = _engine("given")
        made = engine.model_at(
            path, columns=lambda: self._features(evaluation), classes=classes, signature=signature, score=score
        )
        return Exported(
            onnx=made.data, signature=made.signature, form=made.form, feeding=made.feeding, files=made.files,
            as_given=made.form is not Form.ONNX,
        )  # fmt: skip

    def export_graph(self, graph: Graph, evaluation: str) -> tuple[Exported, tuple[str, ...]]:
        """Parts that may hold code are run in a worker of this machine: trust them first, and prepare their locks."""
        from headway.engines.runtimes import environments  # noqa: PLC0415

        engine = _engine("assembly")
        whole, signature = composed(graph, self._client.models.version)
        checked_size(whole, self._client.blobs.get)
        parts = tuple(dict.fromkeys(node.part.version for node in whole.nodes if node.part))
        for part in parts:
            self._client.models.trust_of(self._client.models.version(part))
        names = [name for spec in signature.inputs for name in spec.columns]
        rows = columns_of(self._client, evaluation, names).head(_PARITY_ROWS)
        made = engine.assembled(
            whole,
            signature,
            rows,
            self._client.blobs.get,
            environments=(self._client.folder or find_home()) / environments.FOLDER,
        )
        as_given = made.form is Form.GRAPH
        exported = Exported(
            onnx=made.data, signature=made.signature, parity=None if as_given else made.parity, form=made.form,
            variants=made.variants, note=made.note, as_given=as_given,
        )  # fmt: skip
        return exported, parts

    def _features(self, evaluation: str) -> tuple[str, ...]:
        contract = self._client.datasets.version(evaluation).contract
        return contract.used_as(Use.FEATURE) if contract else ()

    def _held_out(self, model: Any, evaluation: str) -> polars.DataFrame:
        """The features among the held-out rows: those the model names, else those of the contract."""
        if evaluation not in self._examples:
            self._examples[evaluation] = self._client.datasets.read(evaluation)
        frame = self._examples[evaluation]
        names = getattr(model, "feature_names_in_", None)
        if names is None:
            names = self._features(evaluation)
        missing = [name for name in names if name not in frame.columns]
        if missing or not len(names):
            what = f"lacks {missing[0]!r}" if missing else "does not say which columns are features"
            raise Invalid(f"{evaluation} {what}; hand over example=, a frame of the model's features")
        return frame.select(list(names))


def columns_of(client: Client, evaluation: str, names: Sequence[str]) -> polars.DataFrame:
    """Columns of the held-out rows; raises `Invalid` for one that is not there."""
    frame = client.datasets.read(evaluation)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise Invalid(
            f"the model takes {missing[0]!r}, which {evaluation} has not; if it takes an array without names, name its "
            "columns in their order with columns=..., or --columns"
        )
    selected: polars.DataFrame = frame.select(list(names))
    return selected


def _engine(name: str) -> ModuleType:
    """A module that needs the extra `[ml]`; raises `ExtraMissing` without it."""
    try:
        return import_module(f"headway.engines.models.{name}")
    except ImportError as error:
        raise ExtraMissing(f"models need one more package ({error.name}): pip install 'headway[ml]'") from None

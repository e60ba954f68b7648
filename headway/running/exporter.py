"""The way of a trained model to the form in which it is served."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from headway.client.client import Client
from headway.client.run import Exported
from headway.errors import ExtraMissing, Invalid
from headway.lifecycle.datasets.contract import Use

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
        engine = _export_engine()
        if isinstance(model, bytes):
            return Exported(onnx=model, signature=engine.signature_of(model, score))
        rows = self._held_out(model, evaluation) if example is None else example
        made = engine.export(model, rows, rows.head(_PARITY_ROWS), score)
        return Exported(
            onnx=made.data, signature=made.signature, parity=made.parity, form=made.form, variants=made.variants,
            note=made.note,
        )  # fmt: skip

    def _held_out(self, model: Any, evaluation: str) -> polars.DataFrame:
        """The features among the held-out rows: those the model names, else those of the contract."""
        if evaluation not in self._examples:
            self._examples[evaluation] = self._client.datasets.read(evaluation)
        frame = self._examples[evaluation]
        names = getattr(model, "feature_names_in_", None)
        if names is None:
            contract = self._client.datasets.version(evaluation).contract
            names = contract.used_as(Use.FEATURE) if contract else ()
        missing = [name for name in names if name not in frame.columns]
        if missing or not len(names):
            what = f"lacks {missing[0]!r}" if missing else "does not say which columns are features"
            raise Invalid(f"{evaluation} {what}; hand over example=, a frame of the model's features")
        return frame.select(list(names))


def _export_engine() -> ModuleType:
    try:
        from headway.engines.models import export  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissing(f"models need one more package ({error.name}): pip install 'headway[ml]'") from None
    return export

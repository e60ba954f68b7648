"""The forms of one model: proven on real rows, measured, the fastest kept; and what is left when none is proven."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from headway.engines.models.export import export, parity, to_onnx
from headway.engines.models.graphs import packed
from headway.engines.models.scoring import OnnxModel, feeds
from headway.engines.models.variants import Candidate, fastest
from headway.errors import Invalid
from headway.lifecycle.models.records import Datatype, Form, Signature, TensorSpec
from headway.serving.runtimes.inline import OnnxRuntime

ROWS = 400


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def fine() -> pl.DataFrame:
    """At twenty million, single precision cannot tell the quarter from the half."""
    random = np.random.default_rng(2)
    near = 2e7 + random.integers(0, 40, ROWS) / 4
    return pl.DataFrame({"at": near, "weight": random.normal(size=ROWS)}).with_columns(
        weight=pl.when(pl.int_range(pl.len()) % 7 > 0).then("weight")
    )


@pytest.fixture(scope="module")
def plain() -> pl.DataFrame:
    random = np.random.default_rng(3)
    return pl.DataFrame({f"f{at}": random.normal(size=ROWS).astype(np.float32) for at in range(20)}).with_columns(
        member=pl.Series(random.random(ROWS) > 0.5), visits=pl.Series(random.integers(0, 9, ROWS))
    )


def _truth(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    truth: np.ndarray[Any, Any] = (frame["at"].to_numpy() * 4 % 8 > 3).astype(int)
    return truth


@pytest.mark.parametrize("made", [HistGradientBoostingClassifier, HistGradientBoostingRegressor])
def test_a_split_that_single_precision_blurs_is_served_in_double(made: Any, fine: pl.DataFrame) -> None:
    model = made(max_iter=20).fit(fine, _truth(fine))
    single = parity(model, to_onnx(model, fine), fine)
    assert (single.proven, single.rounded_apart > 0) == (False, True)
    assert single.worst is not None
    assert single.worst.features == fine.row(single.worst_row, named=True)
    assert single.worst.trained != pytest.approx(single.worst.served, abs=1e-3)
    exported = export(model, fine, fine)
    assert (exported.form, exported.parity.proven) == (Form.ONNX, True)
    assert [spec.datatype for spec in exported.signature.inputs] == [Datatype.FP64] * 2
    assert exported.note.startswith("double, since single: differs by")
    assert "rows lie next to a split" in exported.note
    assert [(each.name, each.kept) for each in exported.variants] == [("single", False), ("double", True)]


def test_one_tensor_answers_as_one_for_each_column(plain: pl.DataFrame) -> None:
    model = HistGradientBoostingClassifier(max_iter=20).fit(plain, plain["f0"].to_numpy() > 0)
    exported = export(model, plain, plain)
    names = [each.name for each in exported.variants]
    assert (names, sum(each.kept for each in exported.variants)) == (["single", "optimised", "one tensor"], 1)
    assert all(each.single_us and each.batch_us and not each.reason for each in exported.variants)
    columns = dict.fromkeys(plain.columns, Datatype.FP32) | {"member": Datatype.BOOL, "visits": Datatype.INT64}
    assert {spec.name: spec.datatype for spec in exported.signature.inputs} == columns
    served = OnnxRuntime(exported.data, exported.signature)
    scores = served.run(feeds(exported.signature, plain))[-1][:, -1]
    assert scores == pytest.approx(model.predict_proba(plain)[:, 1], abs=1e-5)


def test_a_packed_model_is_served_only_by_its_own_columns() -> None:
    frame = pl.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 5.0]})
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[N,2] columns) => (float[N,1] score) '
        "{ score = ReduceSum <keepdims=1> (columns, axes) }".replace("{", "<int64[1] axes = {1}> {", 1)
    )
    columns = {"a": Datatype.FP32, "b": Datatype.FP32}
    data = packed(graph.SerializeToString(), columns)
    signature = OnnxModel(data).signature
    assert OnnxModel(data).score(frame).tolist() == [1.0, 1.0, 7.0]
    assert OnnxRuntime(data, signature).run(feeds(signature, frame))[0].tolist() == [[1.0], [1.0], [7.0]]
    other = Signature(inputs=signature.inputs[::-1], outputs=signature.outputs, score="score")
    assert OnnxRuntime(data, other).run(feeds(other, frame))[0].tolist() == [[1.0], [1.0], [7.0]]
    wrong = signature.but(inputs=(TensorSpec(name="a", datatype=Datatype.FP32, shape=(-1, 1)),))
    with pytest.raises(Invalid, match="side by side"):
        OnnxRuntime(data, wrong)


def test_the_plainer_form_stays_unless_clearly_beaten(plain: pl.DataFrame) -> None:
    numbers = plain.select("f0", "f1")
    model = Ridge().fit(numbers, numbers["f0"].to_numpy())
    data = to_onnx(model, numbers)
    proof = parity(model, data, numbers)
    first, second = Candidate("first", data, proof), Candidate("second", data, proof)
    ticks = count(step=1000)
    kept, variants = fastest([first, second], numbers, lambda: next(ticks))
    assert (kept.name, [each.single_us for each in variants]) == ("first", [1.0, 1.0])
    clock, calls = [0], count()

    def quicker_second() -> int:
        clock[0] += 2000 if next(calls) % 4 == 1 else 1000
        return clock[0]

    assert fastest([first, second], numbers, quicker_second)[0].name == "second"
    broken = Candidate("second", data, proof.but(max_difference=1.0))
    calls, told = count(), fastest([first, broken], numbers, quicker_second)
    assert (told[0].name, told[1][1].single_us) == ("first", None)
    assert told[1][1].reason.startswith("differs by 1")


def test_labels_are_compared_but_not_where_either_is_right(plain: pl.DataFrame) -> None:
    numbers = plain.select("f0")
    model = LogisticRegression().fit(numbers, numbers["f0"].to_numpy() > 0)
    data = to_onnx(model, numbers)
    assert parity(model, data, numbers).labels_apart == 0

    class Contrary(LogisticRegression):  # type: ignore[misc] # has the scores of the other, and other labels
        def predict(self, features: Any) -> Any:
            return ~super().predict(features)

    contrary = Contrary().fit(numbers, numbers["f0"].to_numpy() > 0)
    proof = parity(contrary, data, numbers)
    assert (proof.max_difference < 1e-5, proof.labels_apart > ROWS / 2, proof.proven) == (True, True, False)


@pytest.mark.slow
def test_what_does_not_convert_is_served_by_skops(plain: pl.DataFrame) -> None:
    numbers = plain.select("f0", "f1")
    model = make_pipeline(StandardScaler(), LabelPropagation()).fit(numbers, numbers["f0"].to_numpy() > 0)
    exported = export(model, numbers, numbers)
    assert (exported.form, exported.parity.proven) == (Form.SKOPS, True), exported.note
    assert exported.note.startswith("served by skops: LabelPropagation cannot be converted")
    assert [(each.name, each.kept) for each in exported.variants] == [("skops", True)]
    assert [spec.name for spec in exported.signature.inputs] == ["f0", "f1"]


def test_what_neither_converts_nor_is_on_the_list_is_refused(plain: pl.DataFrame) -> None:
    class Own(IsotonicRegression):  # type: ignore[misc]
        pass

    numbers = plain.select("f0")
    with pytest.raises(Invalid, match=r"Own cannot be converted.*nor can it be served as it is"):
        export(make_pipeline(StandardScaler(), Own()).fit(numbers, numbers["f0"]), numbers, numbers)

"""Values survive the way to bytes and back, with the same bytes each time, and without pickle."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from headway.engines.pipelines import formats
from headway.engines.pipelines.formats import Format, encode_value, register_format
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline, HeadwayError
from headway.kernel.records import digest
from headway.lifecycle.runs.records import Output
from headway.lifecycle.runs.results import Result


class Blobs(dict[str, bytes]):
    def put(self, data: bytes) -> str:
        self[digest(data)] = data
        return digest(data)


def there_and_back(value: Any) -> Any:
    blobs = Blobs()
    return Stored(pack(value, blobs.put), blobs.__getitem__).load()


def kinds(value: Any) -> list[str]:
    return [output.format for output in pack(value, Blobs().put)]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    kept = dict(formats._formats)
    yield
    formats._formats.clear()
    formats._formats.update(kept)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none() | st.floats(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(_PLAIN)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert repr(there_and_back(value)) == repr(value), "types, order and NaN included"


@settings(max_examples=60)
@given(_PLAIN)
def test_parts_of_a_handle_are_the_parts_of_the_value(value: Any) -> None:
    blobs = Blobs()
    handle = Result("made", Stored(pack(value, blobs.put), blobs.__getitem__))
    assert repr(handle.value) == repr(value)
    if type(value) in (list, tuple):
        assert repr([part.value for part in handle]) == repr(list(value))
        assert len(handle) == len(value)
    elif type(value) is dict:
        assert repr(list(handle)) == repr(list(value))
        assert repr([handle[key].value for key in value if key == key]) == repr([v for k, v in value.items() if k == k])


def test_a_copy_is_new_each_time() -> None:
    blobs = Blobs()
    content = Stored(pack([1, [2]], blobs.put), blobs.__getitem__)
    part = content.part(1)
    for each in (content, part):
        each.load().append(3)
    assert (content.load(), part.load()) == ([1, [2]], [2])


FRAME = pl.DataFrame(
    {
        "int": pl.Series([1, None, -3], dtype=pl.Int8), "float": [0.5, math.nan, None], "text": ["a", "ü", None],
        "flag": [True, None, False], "when": pl.Series([1, 2, None]).cast(pl.Datetime("ms", "UTC")),
        "day": pl.Series([1, 2, None]).cast(pl.Date), "span": pl.Series([1, 2, None]).cast(pl.Duration("us")),
        "level": pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])), "list": [[1, 2], [], None],
        "kind": pl.Series(["x", "y", None], dtype=pl.Categorical), "nothing": pl.Series([None] * 3, dtype=pl.Null),
        "pair": [{"a": 1}, {"a": None}, None], "bytes": [b"1", b"", None],
    }
)  # fmt: skip
ARRAYS = [
    np.arange(6).reshape(2, 3), np.array(3.5), np.zeros((0, 2), dtype=np.float32), np.array([True, False]),
    np.array(["a", "bc"]), np.array([1, 2], dtype="datetime64[D]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
]  # fmt: skip


def test_frames_come_back_with_their_types() -> None:
    back = there_and_back(FRAME)
    assert back.schema == FRAME.schema
    assert back.equals(FRAME)
    assert there_and_back(FRAME.clear()).schema == FRAME.schema
    assert there_and_back(pl.DataFrame()).shape == (0, 0)


def test_a_frame_gives_the_same_bytes_however_it_lies_in_memory() -> None:
    frame = pl.DataFrame({"a": np.arange(300_000), "s": [str(number % 77) for number in range(300_000)]})
    parts = pl.concat([frame[:1000], frame[1000:]], rechunk=False)
    slice_ = pl.concat([frame, frame])[300_000:]
    assert encode_value(frame) == encode_value(parts) == encode_value(slice_) == encode_value(frame.clone())
    assert encode_value(frame) != encode_value(frame.with_columns(a=pl.col("a") + 1))


@pytest.mark.parametrize("array", ARRAYS, ids=[str(array.dtype) for array in ARRAYS])
def test_arrays_come_back(array: Any) -> None:
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array)
    assert encode_value(array) == encode_value(np.array(array, order="C"))


_ARRAY = st.sampled_from(["<f4", "<f8", "<i8", "u1", "?", "<M8[us]", "<U3", "<c8"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
)
_ARRAYS = st.dictionaries(
    st.text(max_size=5), _ARRAY | st.dictionaries(st.text(max_size=3), _ARRAY, max_size=2), max_size=5
)


@settings(max_examples=60)
@given(_ARRAYS)
def test_dicts_of_arrays_come_back_array_by_array(value: dict[str, Any]) -> None:
    blobs = Blobs()
    outputs = pack(value, blobs.put)
    found = Stored(outputs, blobs.__getitem__).load()
    assert repr(found) == repr(value)
    assert _described(found) == _described(value)
    assert pack(found, blobs.put) == outputs == pack(_copied(value), blobs.put)
    assert {output.format for output in outputs} <= {"tree", "npy", "json"}


def _described(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _described(each)) for name, each in value.items()]
    return value.dtype, value.shape, value.tobytes()


def _copied(value: Any) -> Any:
    """The same arrays, laid out column by column."""
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return np.array(value, order="F")


def test_one_array_of_many_that_changes_is_one_new_blob() -> None:
    blobs = Blobs()
    value = {name: np.arange(9) * at for at, name in enumerate("abc")}
    pack(value, blobs.put)
    before = set(blobs)
    pack(value | {"b": np.zeros(3)}, blobs.put)
    assert len(set(blobs) - before) == 1


def test_numpy_numbers_are_numbers() -> None:
    assert kinds(np.float32(0.5)) == ["json"]
    assert there_and_back({"auc": np.float64(0.75), "n": np.int64(3), "ok": np.bool_(True)}) == {
        "auc": 0.75, "n": 3, "ok": True,
    }  # fmt: skip


ROWS = np.random.default_rng(0).normal(size=(300, 3))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)


def estimators() -> dict[str, Any]:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("numbers", numbers, [0, 1]), ("levels", OneHotEncoder(handle_unknown="ignore"), [2])])
    return {
        "logistic": LogisticRegression(),
        "boosting": HistGradientBoostingClassifier(max_iter=5, random_state=0),
        "forest": RandomForestClassifier(3, random_state=0),
        "columns": make_pipeline(columns, LogisticRegression()),
        "function": make_pipeline(FunctionTransformer(np.abs), SelectKBest(f_classif, k=2), LogisticRegression()),
    }


@pytest.mark.parametrize("name", estimators())
def test_estimators_come_back_and_give_the_same_bytes(name: str) -> None:
    one, two = (estimators()[name].fit(ROWS, LABELS) for _ in range(2))
    assert np.array_equal(there_and_back(one).predict_proba(ROWS), one.predict_proba(ROWS))
    assert encode_value(one) == encode_value(two)
    assert encode_value(one) == encode_value(there_and_back(one))
    assert kinds(one) == ["skops"]


class Mine(LogisticRegression):  # type: ignore[misc]
    """An estimator of the project."""


def mine(values: Any) -> Any:
    return values


@pytest.mark.parametrize("model", [Mine(), make_pipeline(FunctionTransformer(mine))])
def test_estimators_with_foreign_parts_are_refused_when_they_are_stored(model: Any) -> None:
    with pytest.raises(BadPipeline, match=r"holds .*test_formats\.(Mine|mine); only parts of scikit-learn"):
        encode_value(model)


def test_a_file_that_names_foreign_functions_is_not_read() -> None:
    _, data = encode_value(make_pipeline(FunctionTransformer(np.abs)))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        text = before.read("schema.json").decode()
        for found, put in [('"absolute"', '"system"'), ('"numpy"', '"os"')]:
            assert found in text
            text = text.replace(found, put)
        for name in before.namelist():
            after.writestr(name, text if name == "schema.json" else before.read(name))
    with pytest.raises((HeadwayError, TypeError, ValueError, KeyError)):
        formats.decode_value("skops", out.getvalue())


def test_a_mixed_value_is_several_outputs() -> None:
    model = LogisticRegression().fit(ROWS, LABELS)
    value = {"model": model, "metrics": {"auc": 0.7}, "sets": (FRAME, [FRAME.head(1), 3]), 5: np.arange(3)}
    assert kinds(value) == ["tree", "skops", "parquet", "parquet", "npy"]
    blobs = Blobs()
    handle = Result("made", Stored(pack(value, blobs.put), blobs.__getitem__))
    assert handle["metrics"].value == {"auc": 0.7}
    assert handle["metrics"]["auc"].value == 0.7
    assert handle["sets"][-1][0].value.equals(FRAME.head(1))
    assert handle["sets"][1][1].value == 3
    assert list(handle) == ["model", "metrics", "sets", 5]
    assert handle[5].value.tolist() == [0, 1, 2]
    with pytest.raises(KeyError):
        handle["other"]
    with pytest.raises(IndexError):
        handle["sets"][7]


class Pair(NamedTuple):
    a: int


@dataclasses.dataclass
class Settings:
    depth: int
    rate: float = 0.5


class Told(msgspec.Struct):
    name: str
    values: list[float] = []


def local_class() -> type:
    @dataclasses.dataclass
    class Inner:
        depth: int

    return Inner


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, r"a set cannot be stored; return sorted"),
        (iter([]), r"a list_iterator cannot be stored; return a frame of polars.*@step\(pickle=True\) allows pickle"),
        (Pair(1), r"a test_formats Pair|a tests Pair"),
        (local_class()(1), r"Inner cannot be stored.*define the class at the top level.*record_format"),
        (FRAME["int"], r"a polars Series cannot be stored; return series.to_frame\(\)"),
        (pl.DataFrame({"o": [object()]}), r"column 'o' holds Python objects"),
        (np.array([object()]), r"a numpy ndarray cannot be stored as npy: .*allow_pickle"),
        (np.ma.masked_array([1], [True]), r"a numpy MaskedArray cannot be stored"),
        ({"a": [1, {2}]}, r"at \['a'\]\[1\]: a set"),
        ({(1, 2): 3}, r"a dict cannot be stored"),
        ([10**5000], r"cannot be stored as JSON"),
        (lambda: 1, r"a function cannot be stored"),
    ],
)
def test_what_cannot_be_stored_says_what_to_return(value: Any, said: str) -> None:
    blobs = Blobs()
    with pytest.raises(BadPipeline, match=said):
        pack((FRAME, value) if isinstance(value, set) else value, blobs.put)
    assert not blobs


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = [{3}]
    loop[0] = loop
    with pytest.raises(BadPipeline, match="contains itself"):
        pack(loop, Blobs().put)


def test_records_are_stored_once_they_are_registered() -> None:
    assert there_and_back([Settings(3), Told("a", [1.0])]) == [Settings(3), Told("a", [1.0])]
    with pytest.raises(BadPipeline, match="Settings is not the same after JSON; does it hold NaN"):
        encode_value(Settings(1, math.nan))


def test_a_format_of_the_project_comes_before_others() -> None:
    mine = Format("mine", lambda value: type(value) is bytes, lambda value: b"!" + value, lambda data: data[1:])
    register_format(mine)
    assert encode_value(b"a") == ("mine", b"!a")
    assert there_and_back((b"a", 1)) == (b"a", 1)
    for name in ("json", "tree"):
        with pytest.raises(BadPipeline, match="built in"):
            register_format(dataclasses.replace(mine, name=name))


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(BadPipeline, match=r"format 'zarr' is not known here; import the module"):
        Stored([Output(blob="b", format="zarr")], lambda _: b"").load()


@settings(max_examples=30)
@given(st.sampled_from(["json", "npy", "parquet", "skops"]), st.binary(max_size=50))
def test_a_pickle_is_never_loaded(name: str, tail: bytes) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit('a pickle ran')",)

    with pytest.raises(Exception) as error:  # noqa: PT011
        formats.decode_value(name, pickle.dumps(Bomb()) + tail)
    assert not isinstance(error.value, SystemExit)


def test_a_tree_is_plain_json() -> None:
    blobs = Blobs()
    outputs = pack((b"a", 1), blobs.put)
    assert json.loads(blobs[outputs[0].blob]) == ["tree", "tuple", None, [["output", 1], ["plain", 1]]]


def test_frames_that_are_still_queries_come_back_as_queries() -> None:
    query = FRAME.lazy().select("int").filter(pl.col("int").is_not_null())
    back = there_and_back(query)
    assert isinstance(back, pl.LazyFrame)
    assert back.collect().equals(query.collect())
    assert kinds(query) == ["polars-lazy"]
    with pytest.raises(BadPipeline, match=r"a polars LazyFrame cannot be stored as polars-lazy: .*nowhere"):
        kinds(FRAME.lazy().select("nowhere"))
    relation = duckdb.sql("SELECT range AS n, range / 3 AS x, 'a' || range AS t FROM range(5) ORDER BY n DESC")
    again = there_and_back(relation)
    assert type(again) is type(relation)
    assert again.filter("n >= 3").pl().rows() == [(4, 4 / 3, "a4"), (3, 1.0, "a3")]
    assert kinds(relation) == ["duckdb"]
    assert pack(relation, Blobs().put) == pack(there_and_back(relation), Blobs().put)


def test_a_relation_is_mapped_from_its_file(tmp_path: Path) -> None:
    relation = duckdb.sql("SELECT range AS n FROM range(1000)")
    data = formats.encode_value(relation)[1]
    (tmp_path / "blob").write_bytes(data)
    opened = formats.opener_of("duckdb")
    assert opened is not None
    assert opened(tmp_path / "blob").aggregate("sum(n)").fetchall() == [(499_500,)]

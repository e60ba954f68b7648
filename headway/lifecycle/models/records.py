"""Models and their versions: what was trained, what it takes and gives, and from where it came."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from headway.errors import Invalid
from headway.kernel.blobs import BlobDigest
from headway.kernel.records import Record, Value
from headway.lifecycle.datasets.contract import Contract


class Datatype(StrEnum):
    """Element types, by their names in the Open Inference Protocol."""

    BOOL = "BOOL"
    INT32 = "INT32"
    INT64 = "INT64"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class TensorSpec(Value):
    """A named tensor; -1 in `shape` is a free dimension, the first one counts the rows."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    features: tuple[str, ...] = ()
    """The names of its columns, where somebody has named them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The features in it by name: its own, or `<name>_0`, `<name>_1` ... when it is wider than one."""
        if self.features:
            return self.features
        if len(self.shape) < 2 or self.shape[1] == 1:
            return (self.name,)
        return tuple(f"{self.name}_{place}" for place in range(self.shape[1]))


ClassName = str | int


class Signature(Value):
    """What a model takes and gives. `score` names the output whose last column is the number that quality is
    judged by: the probability of the positive class, or the estimate of a regression. With `classes`, three or more,
    it is the output with a probability for each of them, in their order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    score: str
    classes: tuple[ClassName, ...] = ()

    @property
    def label_place(self) -> int | None:
        """Among the outputs, the first beside the score with one value per row."""
        for place, spec in enumerate(self.outputs):
            if spec.name != self.score and spec.shape[1:] in ((), (1,)):
                return place
        return None

    def naming(self, columns: tuple[str, ...]) -> Signature:
        """With names for the columns of its only input; raises `Invalid` where that does not fit."""
        if not columns:
            return self
        width = self.inputs[0].shape[1] if len(self.inputs[0].shape) > 1 else 1
        if len(self.inputs) > 1 or width != len(columns) or len(set(columns)) < len(columns):
            taken = {spec.name: list(spec.shape) for spec in self.inputs}
            raise Invalid(f"the model takes {taken}; to name its columns it must take one array, with a name for each")
        return self.but(inputs=(self.inputs[0].but(features=columns),))


class Task(StrEnum):
    BINARY = "binary"
    MULTICLASS = "multiclass"
    """One of three classes or more, each with its probability."""
    REGRESSION = "regression"


class WorstRow(Value):
    """The row in which both forms differ most: its features, when they are few enough, and both scores."""

    features: dict[str, float | int | bool | str | None]
    trained: float | None
    served: float | None


class Parity(Value):
    """The proof that the served form answers as the trained one did, on `rows` real rows."""

    rows: int
    max_difference: float
    worst_row: int
    tolerance: float
    labels_apart: int = 0
    """Rows that get another label, but for those whose score is within the tolerance of one half."""
    rounded_apart: int = 0
    """Rows that get another score from the trained model itself when their features are rounded to single precision:
    they lie next to a split."""
    worst: WorstRow | None = None

    @property
    def proven(self) -> bool:
        return self.rows > 0 and self.max_difference <= self.tolerance and not self.labels_apart


class Variant(Value):
    """A served form of a model that was tried; medians of one call on one thread, None where it was not measured."""

    name: str
    size: int = 0
    max_difference: float | None = None
    single_us: float | None = None
    batch_us: float | None = None
    """Of 100 rows."""
    kept: bool = False
    reason: str = ""


class Form(StrEnum):
    """What the blob of a model version is, and so what runs it."""

    ONNX = "onnx"
    """An ONNX file, run by ONNX Runtime in the model server."""
    SKOPS = "skops"
    """A skops file of types on a list, run in an isolated worker."""
    MLFLOW = "mlflow"
    """A `ModelFolder` of MLflow, which may hold any code: run in an isolated worker, once it is trusted."""
    LIGHTGBM = "lightgbm"
    """A text file of LightGBM, run in an isolated worker."""
    XGBOOST = "xgboost"
    """A UBJSON or JSON file of XGBoost, run in an isolated worker."""
    TORCH = "torch"
    """A program of torch.export, whose loading runs what the file says: in an isolated worker, once it is trusted."""
    PYTHON = "python"
    """A `ModelFolder` with a function in `model.py`: run in an isolated worker, once it is trusted."""

    GRAPH = "graph"
    """A `ModelGraph` of other versions, run part by part, each as its own form is."""

    @property
    def may_hold_code(self) -> bool:
        """Whether it is run only once an operator has trusted it; of a graph it is each part that says so."""
        return self in (Form.MLFLOW, Form.TORCH, Form.PYTHON)

    @property
    def is_folder(self) -> bool:
        return self in (Form.MLFLOW, Form.PYTHON)


class Feeding(StrEnum):
    """In which shape a model that is not ONNX takes its inputs."""

    FRAME = "frame"
    """One frame, with the inputs as its columns."""
    ARRAY = "array"
    """One array, with the inputs side by side in their order."""
    ARRAYS = "arrays"
    """A dictionary of arrays, by the inputs' names."""


class ModelFile(Value):
    """One file of a model that is a folder; `name` is its path inside."""

    name: str
    blob: BlobDigest
    size: int


class ModelFolder(Value):
    """The files of a model in the order of their names: its encoding is a blob, whose digest is proof of all."""

    files: tuple[ModelFile, ...]


class PythonRuntime(Value):
    """How an isolated worker runs a model. The operator says it, never a model."""

    python: str = ""
    """Path of an interpreter, such as that of a virtual environment; empty for the platform's own."""
    memory_mb: int = 4096
    time_limit_s: float = 10.0
    """How long one request may take before the worker is ended."""
    start_limit_s: float = 120.0
    """How long loading the model may take."""
    network: bool = False
    """Whether the model may open TCP connections (held by Linux 6.7 and later)."""


class Trust(Record, prefix="tu"):
    """An operator's word that what is in `blob`, and in nothing else, may be run in a worker."""

    blob: str
    label: str
    """The model version it was given for, for people."""
    why: str
    trusted_by: str
    withdrawn_at: datetime | None = None
    withdrawn_by: str = ""
    withdrawn_why: str = ""


class Baseline(Value):
    """A simpler model, kept with the version it was beaten by, in the same served form and signature."""

    name: str
    blob: BlobDigest


class Model(Record, prefix="md"):
    name: str
    about: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    """Names for numbers of versions."""
    last_number: int = 0
    """The highest number of a version that was purged: it is not given again."""
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


class Registration(Record, prefix="rg"):
    """A version of a model as it was logged, in whatever form: it can be listed and fetched, and it shares its numbers
    with the model versions that gates judge."""

    model: str
    number: int
    source: str
    """Where its files are, as the client wrote it."""
    run: str = ""
    logged_model: str = ""
    run_link: str = ""
    about: str = ""
    stage: str = "None"
    """What the client calls its stage; it lets nothing into an environment."""
    tags: dict[str, str] = {}
    registered_by: str = ""
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


class Register(Value):
    """Command: register what is at `source` as the next version of `model`."""

    model: str
    source: str
    run: str = ""
    logged_model: str = ""
    run_link: str = ""
    about: str = ""
    tags: dict[str, str] = {}


class ModelVersion(Record, prefix="mv"):
    """One immutable trained model. `blob` is what `form` says."""

    model: str
    number: int
    blob: BlobDigest
    size: int
    signature: Signature
    task: Task
    run: str
    training: tuple[str, ...]
    """Dataset versions that it learnt from."""
    evaluation: str
    """The held-out dataset version that gates judge it on; never one that it learnt from."""
    parity: Parity | None = None
    variants: tuple[Variant, ...] = ()
    """The forms that were tried for it, of which one is the blob."""
    baselines: tuple[Baseline, ...] = ()
    contract: Contract | None = None
    """The features' contract, enforced at the endpoint."""
    metrics: dict[str, float] = {}
    note: str = ""
    deleted_at: datetime | None = None
    form: Form = Form.ONNX
    feeding: Feeding = Feeding.FRAME
    registration: str = ""
    """The registration that it was made from."""
    registered_by: str = ""
    """Who registered that."""
    files: tuple[ModelFile, ...] = ()
    """What the folder lists, if it is one: held as long as the version is."""
    as_logged: bool = False
    """What is served is byte by byte what was registered: nothing was converted."""
    parts: tuple[str, ...] = ()
    """The model versions that it is composed of."""
    lock: BlobDigest | None = None
    """The packages of its worker, pinned."""
    feature_views: tuple[str, ...] = ()
    """The ids of the feature views in which the model server looks up what a request leaves out."""

    @property
    def label(self) -> str:
        return f"{self.model}@{self.number}"


class AddVersion(Value):
    """Command: register the next version of `model`."""

    model: str
    blob: str
    signature: Signature
    task: Task
    training: tuple[str, ...]
    evaluation: str
    run: str = ""
    """May be left out with a registration, which has its own."""
    parity: Parity | None = None
    variants: tuple[Variant, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    metrics: dict[str, float] = {}
    note: str = ""
    form: Form = Form.ONNX
    feeding: Feeding = Feeding.FRAME
    registration: str = ""
    """The registration that it is made from, as `name@number`: it keeps that number."""
    parts: tuple[str, ...] = ()
    """The model versions that it is composed of, by id."""
    lock: str = ""
    """Digest of the packages that its worker has, as `checked_lock` writes them."""
    feature_views: tuple[str, ...] = ()
    """The feature views that its features were joined from: `name`, `name@number` or ids."""
    as_given: bool = False
    """The blob is what its author handed over, byte by byte: there is nothing that it could differ from."""


class Registered(Value):
    """A registration and the files that it is of."""

    registration: Registration
    files: tuple[ModelFile, ...]

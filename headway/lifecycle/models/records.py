"""Models and their versions: what was trained, what it takes and gives, and from where it came."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

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

    @property
    def columns(self) -> tuple[str, ...]:
        """The features in it: its own name, or `<name>_0`, `<name>_1` ... when it is wider than one."""
        if len(self.shape) < 2 or self.shape[1] == 1:
            return (self.name,)
        return tuple(f"{self.name}_{place}" for place in range(self.shape[1]))


class Signature(Value):
    """What a model takes and gives. `score` names the output whose last column is the number that quality is
    judged by: the probability of the positive class, or the estimate of a regression."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    score: str


class Task(StrEnum):
    BINARY = "binary"
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
    size: int
    max_difference: float
    single_us: float | None = None
    batch_us: float | None = None
    """Of 100 rows."""
    kept: bool = False
    reason: str = ""


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
    """One immutable trained model. `blob` is the ONNX file."""

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

    @property
    def label(self) -> str:
        return f"{self.model}@{self.number}"


class AddVersion(Value):
    """Command: register the next version of `model`."""

    model: str
    blob: str
    signature: Signature
    task: Task
    run: str
    training: tuple[str, ...]
    evaluation: str
    parity: Parity | None = None
    variants: tuple[Variant, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    metrics: dict[str, float] = {}
    note: str = ""

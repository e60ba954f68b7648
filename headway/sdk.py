"""What `import headway as hw` offers beyond plain records: connecting, runs, pipelines, the way of a model to ONNX.

It stands beside the command line at the top: the one place where the client, the engines and a server in this process
come together.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from headway.client import connect as connecting
from headway.client.active import active_run
from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.home import PROJECT_FILE, find_project
from headway.client.run import Run
from headway.errors import ExtraMissing, Invalid
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.models.graphs import Graph
from headway.lifecycle.models.records import AddVersion, ModelVersion, Task
from headway.lifecycle.runs.capture import NOTHING, CaptureSpec
from headway.lifecycle.runs.explanations import Preview
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Artifact, Code, StepRun
from headway.running.exporter import OnnxExporter, columns_of

if TYPE_CHECKING:
    import httpx2
    import polars

    from headway.running.tuning import Study

_client: Client | None = None


def open_client(url: str | None = None, home: str | Path | None = None, token: str | None = None) -> Client:
    """A client of the named server, of the one that runs on the home, or of one in this process."""
    return connecting.connect(url, home, token, local=_local)


def connect(url: str | None = None, home: str | Path | None = None, token: str | None = None) -> Client:
    """A client, which from now on is also the one that runs and pipelines of this process go to.

    Without `url` (or `HEADWAY_URL`) it is the server that runs on the home, or else the same platform in this
    process, without a socket: the same code works with a server and without.
    """
    global _client
    if _client is None:
        atexit.register(_disconnect)
    _client = open_client(url, home, token)
    return _client


def start_run(
    experiment: str,
    *,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    capture: bool | None = None,
) -> Run:
    """Begin a run. As `with hw.start_run("orders") as run:` it is the active run of the block, and ends with it.

    `capture` says whether it records machine, code, packages and command by itself: all, nothing, or by default what
    `[capture]` of `headway.toml` says. A run inside another one leaves machine, edits and packages to that.
    """
    client = _connected()
    outer = active_run()
    spec = capture_spec(Path.cwd()) if capture is None else CaptureSpec() if capture else NOTHING
    if outer is not None:
        spec = spec.but(system=False, code=False, packages=False)
    return client.start_run(
        experiment, OnnxExporter(client), name=name, params=params, tags=tags, code=_code(Path.cwd()),
        parent=outer.id if outer else "", capture=Capture(spec, Path.cwd()),
    )  # fmt: skip


def capture_spec(folder: Path) -> CaptureSpec:
    """What runs of the project that `folder` is in record by themselves; raises `BadSettings` for a wrong table."""
    from headway.lifecycle.changes.project import read_capture  # noqa: PLC0415

    project = find_project(folder.resolve())
    return read_capture((project / PROJECT_FILE).read_text()) if project else CaptureSpec()


def run(pipeline: Pipeline, /, **params: Any) -> Any:
    """Run a pipeline in this process, as a run of its own with a cache, and return what it gives, as plain values.

    `params` are the arguments of the pipeline's function. Raises `Invalid` for wrong ones, `StepFailed` for a step
    that raised.
    """
    return run_on(_connected(), pipeline, params)[1]


def explain(pipeline: Pipeline, /, **params: Any) -> Preview:
    """What `run` would do with these params, step by step, and why: nothing is run but the pipeline's own code.

    Where a step would run, what it gives is not known; `open_end` says where the pipeline's code cannot go on without.
    """
    return preview_on(_connected(), pipeline, params)


def execute(
    pipeline: Pipeline, params: Mapping[str, Any] | None = None, *, executor: str = "workers", workers: int = 0,
    address: str = "",
) -> Any:  # fmt: skip
    """As `run`, with `params` as a dict, and its steps elsewhere: in `workers` processes of this machine, as many as
    there are cores, or with `executor="ray"` on the cluster at `address`. Independent steps run side by side."""
    from headway.running.where import Execution, checked_where  # noqa: PLC0415

    execution = Execution(checked_where(executor), workers, address)
    return run_on(_connected(), pipeline, params or {}, execution=execution)[1]


def tune(
    pipeline: Pipeline, space: Mapping[str, Any], *, metric: str, params: Mapping[str, Any] | None = None,
    maximize: bool = False, trials: int = 20, executor: str = "workers", workers: int = 0, address: str = "",
    sampler: str = "tpe", pruner: str = "median", seed: int | None = None,
) -> Study:  # fmt: skip
    """Search for the params of a pipeline with which the `metric` that it logs is lowest, or with `maximize` highest.

    `space` says what each param may be: `(1, 10)`, `(0.001, 0.1, "log")` or `["a", "b"]`; `params` are given to all
    alike. Each trial is a run inside the search's own; `workers` of them run at once, and one whose metric is not worth
    going on is ended. The study is kept as `study.json` with the search and with the best trial's run. Needs the extra
    `[tune]`. Raises `Invalid` for a space that cannot be read or a param that the pipeline does not take.
    """
    from headway.lifecycle.runs.search_space import read_space  # noqa: PLC0415
    from headway.running.searching import begin_search  # noqa: PLC0415
    from headway.running.tuning import Search  # noqa: PLC0415
    from headway.running.where import Execution, checked_where  # noqa: PLC0415

    search = Search(
        space=read_space(space), metric=metric, maximize=maximize, trials=trials, sampler=sampler, pruner=pruner,
        seed=seed,
    )  # fmt: skip
    folder = _folder_of(pipeline)
    return begin_search(
        _connected(), pipeline, params or {}, search, folder=folder, code=_code(folder),
        capture=Capture(capture_spec(folder), folder), execution=Execution(checked_where(executor), workers, address),
    )  # fmt: skip


def run_on(
    client: Client, pipeline: Pipeline, params: Mapping[str, Any], *, folder: Path | None = None,
    report: Any = None, execution: Any = None, **told: Any,
) -> tuple[str, Any]:  # fmt: skip
    """`run` on a client; the project is in `folder`. Returns the run's id too. `told` is what `run_pipeline` takes
    beside these: steps to `force`, and what each is to `explain` itself to."""
    from headway.running.pipelines import run_pipeline  # noqa: PLC0415
    from headway.running.where import Execution  # noqa: PLC0415

    arguments = _bound(pipeline, params)
    folder = folder or _folder_of(pipeline)
    return run_pipeline(
        client, pipeline, arguments, folder=folder, code=_code(folder), capture=Capture(capture_spec(folder), folder),
        execution=execution or Execution(), report=report or _silent, **told,
    )  # fmt: skip


def preview_on(
    client: Client, pipeline: Pipeline, params: Mapping[str, Any], *, folder: Path | None = None,
    force: Collection[str] = (),
) -> Preview:  # fmt: skip
    """`explain` on a client."""
    from headway.engines.pipelines.preview import PreviewExecution  # noqa: PLC0415
    from headway.kernel.clock import SystemClock  # noqa: PLC0415
    from headway.running.options import files_of  # noqa: PLC0415

    arguments = _bound(pipeline, params)
    folder = folder or _folder_of(pipeline)
    session = client.session("", pipeline.name, Code())
    return PreviewExecution(session, SystemClock(), folder, force, files_of(client, folder)).of(pipeline, arguments)


def _bound(pipeline: Pipeline, params: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(pipeline, Pipeline):
        raise Invalid(f"{pipeline!r} is no pipeline: put @pipeline above its definition")
    return pipeline.bound(params)


def add_dataset(name: str, table: Any, *, contract: Contract | None = None, note: str = "") -> DatasetVersion:
    """Add a table (a frame, a dict of columns, or a path to CSV or Parquet) as the next version of a dataset.

    A frame is one of polars, lazy too, pandas, pyarrow or DuckDB, or of any library that speaks Arrow.

    The same content under the same contract is the version that is there already; of a table that begins with the
    rows of the version before, only those behind them are stored. Raises `ContractBroken`.
    """
    return _connected().datasets.add(name, table, contract=contract, note=note)


def read_dataset(reference: str, library: str = "polars") -> Any:
    """The table of a dataset version: `name` for the newest, `name@number`, or an id.

    `library` says whose frame it is to be: polars, pandas, pyarrow or duckdb.
    """
    return _connected().datasets.read(reference, library)


def join_features(rows: Any, views: Sequence[str], *, time: str) -> Any:
    """`rows` with the features of `views` beside them: what was known of each row's entity at its `time`, not later.

    A view is `name`, `name@number` or an id; with `=NUMBER` behind it a version of its source, else the newest. A row
    whose entity was not known then gets nulls. `rows` is a frame of polars, pandas, pyarrow or DuckDB, and so is what
    comes back. Raises `Invalid` for columns that are not there.
    """
    return join_on(_connected(), rows, views, time=time)


def join_on(client: Client, rows: Any, views: Sequence[str], *, time: str) -> Any:
    """`join_features` on a client."""
    from headway.client.frames import like, polars_of  # noqa: PLC0415
    from headway.engines.feature_views.joining import joined  # noqa: PLC0415

    sources: dict[str, polars.DataFrame] = {}
    together = []
    for each in views:
        reference, _, number = each.partition("=")
        view = client.feature_views.get(reference)
        source = f"{view.source}@{number}" if number else view.source
        if source not in sources:
            sources[source] = client.datasets.read(source)
        together.append((view.definition, sources[source]))
    return like(rows, joined(polars_of(rows), time, together))


def log_metric(key: str, value: float, *, step: int = 0) -> None:
    """Add one point to a series of the active run."""
    _active().log_metric(key, value, step=step)


def log_metrics(values: Mapping[str, float], *, step: int = 0) -> None:
    _active().log_metrics(values, step=step)


def log_param(key: str, value: Any) -> None:
    _active().log_param(key, value)


def log_params(values: Mapping[str, Any]) -> None:
    _active().log_params(values)


def log_artifact(name: str, content: Any) -> Artifact:
    return _active().log_artifact(name, content)


def log_model(name: str, model: Any, **told: Any) -> ModelVersion:
    """Register a model version from the active run; see `Run.log_model` for what to tell of it."""
    return _active().log_model(name, model, **told)


def log_graph(name: str, graph: Graph, **told: Any) -> ModelVersion:
    """Register a graph of model versions from the active run; see `Run.log_graph` for what to tell of it."""
    return _active().log_graph(name, graph, **told)


def adopt_model(reference: str, evaluation: str, **told: Any) -> ModelVersion:
    """Make a registered model, `name@number`, a version that gates judge on the held-out dataset `evaluation`.

    `told` is what `adopt_on` takes beside these.
    """
    return adopt_on(_connected(), reference, evaluation, **told)


def adopt_on(
    client: Client, reference: str, evaluation: str, *, training: Sequence[str] = (), task: str = "binary",
    score: str | None = None, columns: Sequence[str] = (), note: str = "",
) -> ModelVersion:  # fmt: skip
    """`adopt_model` on a client. `columns` name those of a model that takes an array, in its order; `score` is the
    output to judge by, where that is unclear. What holds code is not loaded: the version waits to be trusted.

    Raises `Invalid` for what is no MLflow model and for a signature that cannot be served, `ExtraMissing` without
    the extra `[ml]`.
    """
    engine = _adoption_engine()
    found = client.models.registered(reference)
    held_out = client.datasets.version(evaluation).id
    made = engine.adopt(
        found.files, client.blobs.get, lambda names: columns_of(client, evaluation, names), score, tuple(columns)
    )
    return client.models.add(
        AddVersion(
            model=found.registration.model, registration=reference, blob=client.blobs.put(made.data), form=made.form,
            feeding=made.feeding, signature=made.signature, parity=made.parity, task=Task(task), evaluation=held_out,
            training=tuple(client.datasets.version(each).id for each in training), note=note or made.note,
        )
    )  # fmt: skip


def _active() -> Run:
    run = active_run()
    if run is None:
        raise Invalid(
            "no run is active here; log inside `with hw.start_run(...)`, inside a pipeline, or on a run itself"
        )
    return run


def _connected() -> Client:
    """The client of the active run; outside of runs, that of the process."""
    run = active_run()
    return run.client if run else _client or connect()


def _disconnect() -> None:
    global _client
    if _client is not None:
        _client.close()
        _client = None


def _local(home: Path) -> httpx2.BaseTransport:
    from headway.server.local import local_transport  # noqa: PLC0415

    return local_transport(home)


def _silent(step: StepRun) -> None:
    """Tells nobody."""


def _folder_of(pipeline: Pipeline) -> Path:
    """The project that the pipeline's code is in, or the folder of its file; that of a notebook is where it runs."""
    code = getattr(pipeline.function, "__code__", None)
    file = Path(code.co_filename) if code else Path()
    start = file.parent if file.is_file() else Path.cwd()
    return find_project(start.resolve()) or start.resolve()


def _code(folder: Path) -> Code:
    from headway.engines.pipelines.project import code_of  # noqa: PLC0415

    project = find_project(folder.resolve())
    return code_of(project) if project else Code()


def _adoption_engine() -> ModuleType:
    try:
        from headway.engines.models import adoption  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissing(f"models need one more package ({error.name}): pip install 'headway[ml]'") from None
    return adoption

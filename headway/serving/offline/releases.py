"""Releases as a model server would load them, wherever the command line runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

from headway.client.client import Client
from headway.client.home import find_home
from headway.engines.runtimes.environments import FOLDER
from headway.lifecycle.models.records import Form, PythonRuntime
from headway.lifecycle.rollouts.routing import Route
from headway.serving.loaded import LoadedRoute, loaded_route
from headway.serving.runtimes.graphs import GraphRuntime
from headway.serving.runtimes.inline import OnnxRuntime, Runtime
from headway.serving.runtimes.memory import OnnxModels
from headway.serving.runtimes.workers import WorkerRuntime


class Releases:
    """Each is loaded once, and let go at the end of the block; `python` runs what is not ONNX."""

    def __init__(
        self, client: Client, python: PythonRuntime | None = None, environments: Path | None = None
    ) -> None:  # fmt: skip
        self._client, self._python = client, python
        self._environments = environments or find_home() / FOLDER
        self._loaded: dict[str, LoadedRoute] = {}

    def __enter__(self) -> Releases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for loaded in self._loaded.values():
            loaded.runtime.close()

    def get(self, identifier: str) -> LoadedRoute:
        """Raises `NotFound`; `Invalid` when its model cannot be loaded, `NotTrusted` when nobody has let it run."""
        if identifier not in self._loaded:
            self._loaded[identifier] = self._load(identifier)
        return self._loaded[identifier]

    def _load(self, identifier: str) -> LoadedRoute:
        release = self._client.releases.get(identifier)
        version = self._client.models.version(release.model_version)
        trust = self._client.models.trust_of(version)
        route = Route(
            release=release.id, model=version.model, version=version.number, blob=release.blob,
            signature=version.signature, percent=100, contract=version.contract, form=version.form,
            feeding=version.feeding, python=self._python, trust=trust, lock=version.lock or "",
        )  # fmt: skip
        return loaded_route(route, self._runtime(route))

    def _runtime(self, route: Route) -> Runtime:
        if route.form is Form.ONNX:
            return OnnxRuntime(self._client.blobs.get(route.blob), route.signature)
        if route.form is Form.GRAPH:
            blobs = self._client.blobs
            return GraphRuntime(route, blobs, OnnxModels(blobs), self._folder(), self._environments)
        return WorkerRuntime(route, self._client.blobs, self._folder(), self._environments)

    def _folder(self) -> Path:
        """For the files of a worker, which takes them away."""
        return Path(tempfile.mkdtemp(prefix="headway-release-"))

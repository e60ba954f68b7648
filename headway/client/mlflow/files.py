"""Bringing over files: each streamed to disk, named by its digest, and sent unless the platform has it."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

from blake3 import blake3

from headway.client.client import Client
from headway.client.mlflow.source import File, Source, Told
from headway.errors import HeadwayError, Unreachable
from headway.lifecycle.runs.imported import Brought, ImportedArtifact

_AT_ONCE = 200
Open = Callable[[str], AbstractContextManager[Iterator[bytes]]]


class Files:
    """`leave` hears what could not be taken, and why; `took` the bytes of each file that was."""

    def __init__(
        self, source: Source, client: Client, pool: Executor, leave: Callable[[str, str], None],
        took: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._source, self._client, self._pool, self._leave, self._took = source, client, pool, leave, took

    def of_runs(self, runs: Iterable[tuple[Told, Brought]]) -> set[str]:
        """Take the files of runs; returns our ids of those that are complete. Of one that was begun before, files that
        are here are left alone."""

        def take(each: tuple[Told, Brought]) -> str | None:
            told, run = each
            kept = self._client.runs.artifacts(run.id) if run.begun else ()
            known = {artifact.name: artifact.size for artifact in kept}
            opened = partial(self._source.open_of_run, told)
            what = f"run {told['info']['run_id']}"
            return run.id if self._all(run.id, what, partial(self._source.files_of_run, told), opened, known) else None

        return {owner for owner in self._pool.map(take, runs) if owner}

    def of_models(self, models: Iterable[tuple[Told, str]]) -> set[str]:
        """As `of_runs`, for logged models."""

        def take(each: tuple[Told, str]) -> str | None:
            told, owner = each
            opened = partial(self._source.open_of_model, told)
            what = f"logged model {told['info']['model_id']}"
            return owner if self._all(owner, what, partial(self._source.files_of_model, told), opened, {}) else None

        return {owner for owner in self._pool.map(take, models) if owner}

    def of_traces(self, traces: Iterable[tuple[Told, str]]) -> None:
        """The spans of traces."""

        def take(each: tuple[Told, str]) -> ImportedArtifact | None:
            told, owner = each
            spans = self._source.spans(told)
            if spans is None:
                self._leave(f"spans of trace {told['trace_id']}", "the source has none")
                return None
            blob = self._client.blobs.put(spans)
            self._took(len(spans))
            return ImportedArtifact(
                owner=owner, name="traces.json", blob=blob, size=len(spans), media_type="application/json"
            )

        found = [artifact for artifact in self._pool.map(take, traces) if artifact]
        if found:
            self._client.imports.artifacts(self._source.uri, found)

    def _all(
        self, owner: str, what: str, listed: Callable[[], Iterator[File]], opened: Open, known: dict[str, int]
    ) -> bool:
        whole, found = True, []
        try:
            for file in listed():
                if known.get(file.path) == file.size:
                    continue
                artifact = self._one(owner, what, file, opened)
                whole = whole and artifact is not None
                found += [artifact] if artifact else []
                if len(found) == _AT_ONCE:
                    self._client.imports.artifacts(self._source.uri, found)
                    found = []
        except Unreachable:
            raise
        except HeadwayError as error:
            self._leave(f"files of {what}", str(error))
            whole = False
        if found:
            self._client.imports.artifacts(self._source.uri, found)
        return whole

    def _one(self, owner: str, what: str, file: File, opened: Open) -> ImportedArtifact | None:
        try:
            with NamedTemporaryFile(prefix="headway-import-") as kept:
                hasher, size = blake3(), 0
                with opened(file.path) as chunks:
                    for chunk in chunks:
                        hasher.update(chunk)
                        size += kept.write(chunk)
                kept.flush()
                if file.size not in (-1, size):
                    self._leave(f"{file.path} of {what}", f"{size} bytes came of {file.size}; import again")
                    return None
                blob = f"b3:{hasher.hexdigest()}"
                self._client.blobs.put_file(Path(kept.name), blob, size)
        except Unreachable:
            raise
        except (HeadwayError, OSError) as error:
            self._leave(f"{file.path} of {what}", str(error))
            return None
        self._took(size)
        media_type = mimetypes.guess_type(file.path)[0] or "application/octet-stream"
        return ImportedArtifact(owner=owner, name=file.path, blob=blob, size=size, media_type=media_type)

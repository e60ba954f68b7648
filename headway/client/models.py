"""Models, over a connection."""

from __future__ import annotations

from headway.client.blobs import Blobs
from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.models.origins import Origins
from headway.lifecycle.models.records import AddVersion, Form, Model, ModelVersion, Registered, Trust


class Models:
    def __init__(self, connection: Connection) -> None:
        self._connection, self._blobs = connection, Blobs(connection)

    def add(self, command: AddVersion) -> ModelVersion:
        """Register the next version; `Run.log_model` does it from a trained model."""
        return self._connection.post("/v1/models/versions", ModelVersion, command)

    def version(self, reference: str) -> ModelVersion:
        """By id, `name` (the newest) or `name@number`."""
        return self._connection.get(f"/v1/models/versions/{segment(reference)}", ModelVersion)

    def origins(self, reference: str) -> Origins:
        """The dataset versions that it came from, however far back, and the tags that they bear."""
        return self._connection.get(f"/v1/models/versions/{segment(reference)}/origins", Origins)

    def onnx(self, reference: str) -> bytes:
        """The model's file."""
        return self._blobs.get(self.version(reference).blob)

    def registered(self, reference: str) -> Registered:
        """What was registered as `name@number`, in whatever form, and its files."""
        return self._connection.get(f"/v1/models/registrations/{segment(reference)}", Registered)

    def trust(self, reference: str, why: str) -> Trust:
        """Say that what a version holds may be run; an operator can."""
        return self._connection.post(f"/v1/models/versions/{segment(reference)}/trust", Trust, {"why": why})

    def distrust(self, reference: str, why: str) -> Trust:
        """Take back that what a version holds may be run; an operator can. Releases that serve it go on until they are
        moved away from."""
        return self._connection.post(f"/v1/models/versions/{segment(reference)}/distrust", Trust, {"why": why})

    def trusted(self, reference: str) -> Trust:
        """The word that a version may be run; raises `NotTrusted` when nobody gave it, `NotFound` where none is
        needed."""
        return self._connection.get(f"/v1/models/versions/{segment(reference)}/trust", Trust)

    def trust_of(self, version: ModelVersion) -> str:
        """The id of the word that lets a version run, or nothing where it takes none; of a graph, each part's is asked
        for. Raises `NotTrusted`."""
        if version.form is Form.GRAPH:
            given = [self.trust_of(self.version(part)) for part in version.parts]
            return next(filter(None, given), "")
        return self.trusted(version.id).id if version.form.may_hold_code else ""

    def versions(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]:
        return self._connection.get("/v1/models/versions", Page[ModelVersion], model=model, limit=limit, before=before)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Model]:
        return self._connection.get("/v1/models", Page[Model], limit=limit, before=before)

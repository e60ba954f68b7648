"""What one can do with models."""

from __future__ import annotations

from headway.errors import Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids, kind_of
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name, split_reference
from headway.kernel.paging import Page, every
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.models.announced import announce_model, announce_version
from headway.lifecycle.models.records import AddVersion, Model, ModelVersion
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore
from headway.lifecycle.runs.service import RunService


class ModelService:
    def __init__(
        self,
        journal: Journal,
        store: ModelStore,
        versions: ModelVersionStore,
        registrations: RegistrationStore,
        runs: RunService,
        datasets: DatasetService,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._versions = journal, store, versions
        self._registrations = registrations
        self._runs, self._datasets, self._blobs = runs, datasets, blobs
        self._clock, self._ids = clock, ids

    def add(self, command: AddVersion, *, by: Actor) -> ModelVersion:
        """Register the next version; the same run registering the same bytes again gets the version it has.

        Raises `Invalid` when the held-out data are among the data it learnt from, `NotFound` for a run, a dataset
        version or a blob that does not exist.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.model, "model")
        size = len(self._blobs.get(checked_digest(command.blob)))
        self._runs.get(command.run)
        training = tuple(self._datasets.version(reference).id for reference in command.training)
        evaluation = self._datasets.version(command.evaluation).id
        if evaluation in training:
            raise Invalid(f"{command.evaluation} is both trained on and held out; evaluate on other rows")
        for baseline in command.baselines:
            self._blobs.get(checked_digest(baseline.blob))
        with self._journal.act(by.name, "model.add", why=command.note) as act:
            known = self._versions.made_by(command.run)
            if known and known.blob == command.blob and known.model == name and known.deleted_at is None:
                return known
            must_be_kept(self._blobs, command.blob, *(baseline.blob for baseline in command.baselines))
            line = self._store.named(name)
            if line is None:
                made = Model(id=self._ids(Model.prefix), created_at=self._clock.now(), name=name)
                line = act.save(self._store, made)
                announce_model(act, line)
            newest, registered = self._versions.of(name), self._registrations.of(name)
            version = ModelVersion(
                id=self._ids(ModelVersion.prefix),
                created_at=self._clock.now(),
                model=name,
                number=1
                + max(newest.number if newest else 0, registered.number if registered else 0, line.last_number),
                blob=command.blob,
                size=size,
                signature=command.signature,
                task=command.task,
                run=command.run,
                training=training,
                evaluation=evaluation,
                parity=command.parity,
                variants=command.variants,
                baselines=command.baselines,
                contract=self._request_contract(command),
                metrics=command.metrics,
                note=command.note,
            )
            act.save(self._versions, version, came_from=[command.run, *training, evaluation])
            announce_version(act, version)
            return version

    def _request_contract(self, command: AddVersion) -> Contract | None:
        """The data's own rules for the columns that a request carries."""
        contract = self._datasets.version(command.evaluation).contract
        if contract is None:
            return None
        inputs = {tensor.name for tensor in command.signature.inputs}
        rules = tuple(rule for rule in contract.columns if rule.name in inputs)
        return Contract(columns=rules, closed=True) if rules else None

    def version(self, reference: str) -> ModelVersion:
        """By id, `name` (the newest) or `name@number`."""
        if kind_of(reference) == ModelVersion.prefix:
            found = self._versions.get(reference)
        else:
            name, number = split_reference(reference)
            found = self._newest(name) if number is None else self._versions.of(name, number)
        if found is None:
            raise NotFound(f"no model version {reference!r}; `headway model list` shows what there is")
        return found

    def _newest(self, name: str) -> ModelVersion | None:
        """The newest that is not deleted."""
        versions = every(lambda before: self._versions.list(name, before=before))
        return next((version for version in versions if version.deleted_at is None), None)

    def made_by(self, run: str) -> ModelVersion | None:
        return self._versions.made_by(run)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Model]:
        return self._store.all(limit=limit, before=before)

    def versions(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]:
        """Without those that are deleted: a page may be shorter than `limit` though more follow."""
        page = self._versions.list(model, limit=limit, before=before)
        return page.but(items=tuple(version for version in page.items if version.deleted_at is None))

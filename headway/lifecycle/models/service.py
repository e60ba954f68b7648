"""What one can do with models."""

from __future__ import annotations

from collections.abc import Sequence

from headway.errors import AlreadyExists, Invalid, NotFound, NotTrusted
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name, find_version, split_reference
from headway.kernel.paging import Page, every
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.feature_views.service import FeatureViewService
from headway.lifecycle.models.announced import announce_model, announce_version
from headway.lifecycle.models.folders import files_of, read_folder
from headway.lifecycle.models.graphs import checked_size, read_graph
from headway.lifecycle.models.locks import checked_lock
from headway.lifecycle.models.records import (
    AddVersion,
    Form,
    Model,
    ModelFile,
    ModelFolder,
    ModelVersion,
    Registered,
    Registration,
    Task,
    Trust,
)
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore, TrustStore
from headway.lifecycle.runs.service import RunService
from headway.lifecycle.runs.store import ArtifactStore


class ModelService:
    def __init__(
        self,
        journal: Journal,
        store: ModelStore,
        versions: ModelVersionStore,
        registrations: RegistrationStore,
        trusts: TrustStore,
        artifacts: ArtifactStore,
        runs: RunService,
        datasets: DatasetService,
        feature_views: FeatureViewService,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._versions = journal, store, versions
        self._registrations, self._trusts, self._artifacts = registrations, trusts, artifacts
        self._runs, self._datasets, self._feature_views, self._blobs = runs, datasets, feature_views, blobs
        self._clock, self._ids = clock, ids

    def add(self, command: AddVersion, *, by: Actor) -> ModelVersion:
        """Register the next version; the same run registering the same bytes again gets the version it has.

        One that is made from a registration keeps the number of that. Raises `Invalid` when the held-out data are among
        the data it learnt from, `NotFound` for a run, a dataset version or a blob that does not exist, `AlreadyExists`
        for a registration of which another version was made.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.model, "model")
        data = self._blobs.get(checked_digest(command.blob))
        source = self.registered(command.registration) if command.registration else None
        run = command.run or (source.registration.run if source else "")
        if run or not source:
            self._runs.get(run)
        parts = [self.version(reference) for reference in command.parts]
        training, evaluation = self._data(command, parts)
        views = self._views(command)
        for baseline in command.baselines:
            self._blobs.get(checked_digest(baseline.blob))
        self._check_lock(command)
        as_logged = self._as_logged(command, data, source)
        with self._journal.act(by.name, "model.add", why=command.note) as act:
            known = self._known(command, source)
            if known:
                return known
            files = self._files(command, data, parts)
            held = [command.lock] if command.lock else []
            held += [*(baseline.blob for baseline in command.baselines), *(file.blob for file in files)]
            must_be_kept(self._blobs, command.blob, *held)
            line = self._store.named(name)
            if line is None:
                made = Model(id=self._ids(Model.prefix), created_at=self._clock.now(), name=name)
                line = act.save(self._store, made)
                announce_model(act, line)
            number = source.registration.number if source else self._next_number(line)
            version = self._made(command, source, number, len(data)).but(
                run=run,
                training=training,
                evaluation=evaluation,
                as_logged=as_logged,
                files=files,
                parts=tuple(part.id for part in parts),
                feature_views=views,
            )
            come_from = [run, version.registration, *version.parts, *training, evaluation, *views]
            act.save(self._versions, version, came_from=come_from)
            announce_version(act, version)
            return version

    def _made(self, command: AddVersion, source: Registered | None, number: int, size: int) -> ModelVersion:
        return ModelVersion(
            id=self._ids(ModelVersion.prefix),
            created_at=self._clock.now(),
            model=command.model,
            number=number,
            blob=command.blob,
            size=size,
            signature=command.signature,
            task=command.task,
            run=command.run,
            training=command.training,
            evaluation=command.evaluation,
            parity=command.parity,
            variants=command.variants,
            baselines=command.baselines,
            contract=self._request_contract(command),
            metrics=command.metrics,
            note=command.note,
            form=command.form,
            feeding=command.feeding,
            registration=source.registration.id if source else "",
            registered_by=source.registration.registered_by if source else "",
            lock=command.lock or None,
        )

    def _views(self, command: AddVersion) -> tuple[str, ...]:
        """The ids of its feature views, each of which must have features of its own that the model takes."""
        inputs = {name for tensor in command.signature.inputs for name in tensor.columns}
        views, owners = [self._feature_views.get(reference) for reference in command.feature_views], dict[str, str]()
        for view in views:
            taken = [feature.name for feature in view.features if feature.name in inputs]
            if not taken:
                raise Invalid(f"{view.label} has no feature that the model takes; leave it out")
            for name in taken:
                if owners.setdefault(name, view.label) != view.label:
                    raise Invalid(f"feature {name!r} is in {owners[name]} and in {view.label}; name one of the two")
        return tuple(dict.fromkeys(view.id for view in views))

    def _data(self, command: AddVersion, parts: Sequence[ModelVersion]) -> tuple[tuple[str, ...], str]:
        """What it learnt from, and what it is judged on; a graph has learnt what its parts have."""
        told = [self._datasets.version(reference).id for reference in command.training]
        training = tuple(dict.fromkeys([*told, *(learnt for part in parts for learnt in part.training)]))
        evaluation = self._datasets.version(command.evaluation).id
        if (command.task is Task.MULTICLASS) != bool(command.signature.classes):
            classes = ", ".join(map(str, command.signature.classes[:5])) or "no classes"
            raise Invalid(
                f"task {command.task} does not fit a model of {classes}; multiclass names three classes or more"
            )
        if evaluation in training:
            raise Invalid(f"{command.evaluation} is both trained on and held out; evaluate on other rows")
        return training, evaluation

    def _check_lock(self, command: AddVersion) -> None:
        if not command.lock:
            return
        if command.form is Form.ONNX:
            raise Invalid("an ONNX model runs without a worker, and so without packages of its own")
        text = self._blobs.get(checked_digest(command.lock)).decode(errors="replace")
        if checked_lock(text) != text:
            raise Invalid("the lock is not written as locks are: sorted, one package a line")

    def _files(self, command: AddVersion, data: bytes, parts: Sequence[ModelVersion]) -> tuple[ModelFile, ...]:
        """What must be kept for as long as the version is: the files of a folder, the parts of a graph.

        Raises `Invalid` for a graph of other models than the versions that it names, or of too many.
        """
        if command.form.is_folder:
            return read_folder(data).files
        if command.form is not Form.GRAPH:
            return ()
        graph = read_graph(data)
        checked_size(graph, self._blobs.get)
        named = {node.part.version: node.part for node in graph.nodes if node.part}
        known = {part.id: part for part in parts}
        if named.keys() != known.keys() or any(known[each].blob != part.blob for each, part in named.items()):
            raise Invalid("the graph is not made of the model versions that it names; compose it again")
        held = [ModelFile(name=part.label, blob=part.blob, size=part.size) for part in parts]
        return tuple(held + [file for part in parts for file in part.files])

    def _next_number(self, line: Model) -> int:
        newest, registered = self._versions.of(line.name), self._registrations.of(line.name)
        return 1 + max(newest.number if newest else 0, registered.number if registered else 0, line.last_number)

    def _known(self, command: AddVersion, source: Registered | None) -> ModelVersion | None:
        """The version that this command has made before."""
        if source is None:
            known = self._versions.made_by(command.run)
            same = known is not None and (known.blob, known.model) == (command.blob, command.model)
            return known if known and same and known.deleted_at is None else None
        known = self._versions.of(command.model, source.registration.number)
        if known is None:
            return None
        same = (known.form, known.signature) == (command.form, command.signature)
        if not same or (known.as_logged and known.blob != command.blob):
            raise AlreadyExists(f"{known.label} was adopted before, otherwise; register the model again to change that")
        return known

    def _as_logged(self, command: AddVersion, data: bytes, source: Registered | None) -> bool:
        folder = read_folder(data) if command.form.is_folder else None
        for file in folder.files if folder else ():
            if not self._blobs.has(file.blob):
                raise NotFound(f"no blob {file.blob} for {file.name!r}; put it first")
        if source is None:
            return command.as_given and command.parity is None
        if source.registration.model != command.model:
            raise Invalid(f"{command.registration} is a registration of another model than {command.model[:100]!r}")
        whole = ModelFolder(files=source.files)
        if folder and folder != whole:
            raise Invalid(f"these are not the files of {command.registration}")
        return folder is not None or command.blob in {file.blob for file in source.files}

    def _request_contract(self, command: AddVersion) -> Contract | None:
        """The data's own rules for the columns that a request carries."""
        contract = self._datasets.version(command.evaluation).contract
        if contract is None:
            return None
        inputs = {name for tensor in command.signature.inputs for name in tensor.columns}
        rules = tuple(rule for rule in contract.columns if rule.name in inputs)
        return contract.but(columns=rules, closed=True) if rules else None

    def version(self, reference: str) -> ModelVersion:
        """By id, `name` (the newest) or `name@number`."""
        found = find_version(reference, ModelVersion.prefix, self._versions, self._newest)
        if found is None:
            raise NotFound(f"no model version {reference!r}; `headway model list` shows what there is")
        return found

    def registered(self, reference: str) -> Registered:
        """A registration as `name@number`, and its files; raises `NotFound`, and `Invalid` when it has none here."""
        name, number = split_reference(reference)
        found: Registration | None = self._registrations.of(name, number)
        if found is None or found.deleted_at is not None:
            raise NotFound(f"no model was registered as {reference[:200]!r}; it takes NAME@NUMBER")
        files = files_of(found, self._artifacts)
        if not files:
            raise NotFound(f"{reference} has no files here any more")
        return Registered(registration=found, files=files)

    def trust(self, reference: str, why: str, *, by: Actor) -> Trust:
        """Say that this version's content may be run, whatever it is. Raises `Invalid` where no word is needed."""
        by.must(Permission.OPERATE)
        version = self.version(reference)
        if not version.form.may_hold_code:
            raise Invalid(f"{version.label} is {version.form}, which runs nothing of its own and needs no trust")
        if not why.strip():
            raise Invalid("trust needs a reason: whoever reads the ledger will want to know it")
        with self._journal.act(by.name, "model.trust", why=why) as act:
            known = self._trusts.of(version.blob)
            if known and known.withdrawn_at is None:
                return known
            trust = Trust(
                id=known.id if known else self._ids(Trust.prefix), created_at=self._clock.now(), blob=version.blob,
                label=version.label, why=why, trusted_by=by.name,
            )  # fmt: skip
            return act.save(self._trusts, trust, came_from=[version.id])

    def distrust(self, reference: str, why: str, *, by: Actor) -> Trust:
        """Take the word back that this version's content may be run: no gate loads it any more, no release of it is
        signed, and no rollout moves to it. Releases that serve it go on until they are moved away from. Raises
        `Invalid` where nobody has given that word."""
        by.must(Permission.OPERATE)
        version = self.version(reference)
        if not why.strip():
            raise Invalid("to take trust back needs a reason: whoever reads the ledger will want to know it")
        with self._journal.act(by.name, "model.distrust", why=why) as act:
            known = None if version.form is Form.GRAPH else self.word_on(version)  # a graph's parts are asked for
            if known is None:
                raise Invalid(f"nobody has said that {version.label} may be run, so there is no trust to take back")
            if known.withdrawn_at is not None:
                return known
            withdrawn = known.but(withdrawn_at=self._clock.now(), withdrawn_by=by.name, withdrawn_why=why)
            return act.save(self._trusts, withdrawn)

    def word_on(self, version: ModelVersion) -> Trust | None:
        """The word that was given for a version's content, also one that was taken back since; of a graph, one that was
        given for a part."""
        if version.form is Form.GRAPH:
            given = [self.word_on(self.version(part)) for part in version.parts]
            return next(filter(None, given), None)
        return self._trusts.of(version.blob) if version.form.may_hold_code else None

    def trusted(self, version: ModelVersion) -> Trust | None:
        """The word that a version may be run; raises `NotTrusted` when it takes one that nobody has given."""
        if version.form is Form.GRAPH:
            given = [self.trusted(self.version(part)) for part in version.parts]
            return next(filter(None, given), None)
        if not version.form.may_hold_code:
            return None
        found = self.word_on(version)
        if found is not None and found.withdrawn_at is not None:
            raise NotTrusted(
                f"{found.withdrawn_by} has taken back that {version.label} may be run ({found.withdrawn_why}); an "
                f"operator who knows better says `headway model trust {version.label} --why ...`"
            )
        if found is None:
            raise NotTrusted(
                f"{version.label} may hold any code, and no operator has said that it may be run; whoever knows where "
                f"it comes from says `headway model trust {version.label} --why ...`, and then ship it again"
            )
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

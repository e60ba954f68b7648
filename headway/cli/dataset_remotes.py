"""The verbs of `headway dataset` that lead to remotes and back. They work here, with the credentials of whoever calls
them: the server is told of no address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json
from headway.cli.progress import Progress
from headway.cli.wording import counted, number, size
from headway.client.files.pointer import Pointer, read_pointer
from headway.client.home import find_home
from headway.errors import Invalid, NotFound
from headway.kernel.naming import split_reference
from headway.kernel.paging import every
from headway.lifecycle.datasets.records import AddFiles, AddVersion, DatasetVersion, Form

if TYPE_CHECKING:
    from headway.client.files.checkout import CheckedOut
    from headway.storage.remotes.exchange import Exchanged
    from headway.storage.remotes.layout import RemoteVersion
    from headway.storage.remotes.remote import Remote

_remote = click.option("--remote", metavar="NAME", help="Which one; the only one there is, if left out.")


def add_remote_verbs(noun: click.Group) -> None:
    for command in (push, fetch, pull):
        noun.add_command(command)


@click.command(cls=Verb)
@click.argument("reference")
@_remote
@pass_invocation
def push(invocation: Invocation, reference: str, remote: str | None) -> None:
    """Send a version to a remote: what it has already is not sent again. Cut off, it goes on where it was."""
    from headway.storage.remotes.exchange import push  # noqa: PLC0415

    client = invocation.client
    version, place = client.datasets.version(reference), _open(invocation, remote)
    with Progress("sent", hidden=invocation.as_json, unit="bytes") as progress:
        committed, done = push(client.blobs, version, place, progress.advance)
    _say(invocation, done, f"{version.label} is {committed.label} in {place.address}")


@click.command(cls=Verb)
@click.argument("reference")
@_remote
@pass_invocation
def fetch(invocation: Invocation, reference: str, remote: str | None) -> None:
    """Bring a version of a remote into the home: NAME for the newest, or NAME@NUMBER as the remote counts."""
    from headway.storage.remotes.exchange import wanted_version  # noqa: PLC0415

    name, wanted = split_reference(reference)
    place = _open(invocation, remote)
    version, done = _fetched(invocation, place, wanted_version(place, name, wanted))
    _say(invocation, done, f"{done.dataset}@{done.number} of {place.address} is {version.label} here")


@click.command(cls=Verb)
@click.argument("pointers", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_remote
@click.option("--force", is_flag=True, help="Overwrite files that no version is known to have.")
@pass_invocation
def pull(invocation: Invocation, pointers: tuple[Path, ...], remote: str | None, force: bool) -> None:
    """Bring the files that POINTERS stand for to their places, from the home or else from a remote."""
    done = []
    for file in pointers:
        pointer = read_pointer(file)
        version = _found(invocation, pointer) or _fetched_for(invocation, pointer, remote)
        target = file.absolute().parent / pointer.path
        with Progress("written", hidden=invocation.as_json, unit="bytes") as progress:
            done.append(_placed(invocation, version, target, force, progress))
        if not invocation.as_json:
            click.echo(f"{target}: {version.label}, {counted(done[-1].written, 'file')} written")
    if invocation.as_json:
        print_json({"items": done})


def _placed(
    invocation: Invocation, version: DatasetVersion, target: Path, force: bool, progress: Progress
) -> CheckedOut:
    """A version of one file, added as such, is that file; any other is a folder."""
    names = [each.path for each in invocation.client.datasets.files(version.id)] if version.files == 1 else []
    alone = names == [target.name] and not target.is_dir()
    return invocation.client.datasets.checkout(
        version.id, target.parent if alone else target, force=force, shared=alone, advance=progress.advance
    )  # fmt: skip


def _found(invocation: Invocation, pointer: Pointer) -> DatasetVersion | None:
    """The version in the home that a pointer means: by its digest, whatever number it has here."""
    datasets = invocation.client.datasets
    try:
        named = datasets.version(pointer.label)
        if named.digest == pointer.digest:
            return named
    except NotFound:
        pass
    known = every(lambda before: datasets.versions(pointer.dataset, before=before))
    return next((version for version in known if version.digest == pointer.digest), None)


def _fetched_for(invocation: Invocation, pointer: Pointer, remote: str | None) -> DatasetVersion:
    from headway.storage.remotes.exchange import wanted_version  # noqa: PLC0415

    try:
        place = _open(invocation, remote)
    except NotFound as error:
        raise NotFound(f"the home has no {pointer.dataset} with the digest {pointer.digest}, and {error}") from None
    wanted = wanted_version(place, pointer.dataset, None, pointer.digest)
    return _fetched(invocation, place, wanted)[0]


def _fetched(invocation: Invocation, place: Remote, wanted: RemoteVersion) -> tuple[DatasetVersion, Exchanged]:
    """Bring it into the home, where it is looked at like anything that is added, and gets the next number."""
    from headway.storage.remotes.exchange import fetch  # noqa: PLC0415

    client = invocation.client
    known = _known(invocation, wanted)
    with Progress("fetched", hidden=invocation.as_json, unit="bytes") as progress:
        done = fetch(client.blobs, wanted, place, find_home(invocation.home) / "uploads", progress.advance)
    if known is not None:
        return known, done
    note = wanted.note or f"fetched {wanted.label}"
    if wanted.form is Form.FILES:
        packs = tuple(pack.blob for pack in wanted.packs)
        version = client.datasets.add_kept(
            AddFiles(dataset=wanted.dataset, root=wanted.root, packs=packs, note=note)
        )  # fmt: skip
        if version.digest != wanted.digest:
            raise Invalid(f"{wanted.label} in {place.address} does not hold what it says; ask who pushed it")
    else:
        first, *rest = [part.blob for part in wanted.parts] or [wanted.blob]
        version = client.datasets.add_kept(
            AddVersion(
                dataset=wanted.dataset, blob=first, parts=tuple(rest), together=wanted.together,
                contract=wanted.contract, note=note,
            )
        )  # fmt: skip
    return version, done


def _known(invocation: Invocation, wanted: RemoteVersion) -> DatasetVersion | None:
    page = invocation.client.datasets.versions(wanted.dataset, limit=1000)
    return next((version for version in page.items if wanted.same_as(version)), None)


def _open(invocation: Invocation, name: str | None) -> Remote:
    from headway.storage.remotes.named import Remotes  # noqa: PLC0415
    from headway.storage.remotes.remote import Remote  # noqa: PLC0415

    return Remote(Remotes(find_home(invocation.home)).named(name).url)


def _say(invocation: Invocation, done: Exchanged, text: str) -> None:
    if invocation.as_json:
        print_json(done)
        return
    click.echo(text)
    click.echo(f"{number(done.blobs)} blobs, {size(done.bytes)} went over; {number(done.there)} were there")

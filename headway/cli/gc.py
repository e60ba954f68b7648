"""`headway gc`."""

from __future__ import annotations

import re

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json, print_section, print_table
from headway.cli.wording import ago, size
from headway.errors import Invalid
from headway.lifecycle.retention.records import Explained, Fate, Swept

_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SAID = {
    Fate.KEPT: "kept, because a record has them",
    Fate.YOUNG: "left, because they are too young",
    Fate.DISCARDED: "discarded; they come back if anybody asks for them",
    Fate.WAITING: "discarded before, and not long enough ago",
    Fate.DESTROYED: "destroyed",
    Fate.BROUGHT_BACK: "brought back, because a record has them now",
}
_EXPLAINED = 1000


@click.command(cls=Verb)
@click.option("--dry-run", is_flag=True, help="Change nothing; explain what would be done with each blob.")
@click.option(
    "--older-than", default="1d", show_default=True, metavar="AGE",
    help="Only blobs this old, as 90min, 12h or 7d: younger ones may be about to be used.",
)  # fmt: skip
@pass_invocation
def gc(invocation: Invocation, dry_run: bool, older_than: str) -> None:
    """Carry out the retention policy, and free the space of blobs that no record has."""
    wanted = _EXPLAINED * 100 if invocation.as_json else _EXPLAINED
    swept = invocation.client.retention.collect(
        dry_run=dry_run, older_than_s=_seconds(older_than), explain=wanted if dry_run else 0
    )
    if invocation.as_json:
        print_json(swept)
        return
    if dry_run:
        _explain(swept)
    _tell(swept)


def _explain(swept: Swept) -> None:
    print_section("Blobs")
    shown: list[Explained] = sorted(swept.explained, key=lambda blob: (blob.fate, blob.at))
    print_table(
        ["blob", "size", "fate", "since", "why"],
        [[blob.digest[:15], size(blob.size), blob.fate, ago(blob.at), blob.why] for blob in shown],
    )
    if swept.unexplained:
        click.echo(f"and {swept.unexplained:,} more; --json shows up to {_EXPLAINED * 100:,}")
    click.echo()


def _tell(swept: Swept) -> None:
    sweep = swept.sweep
    would = "would be " if sweep.dry_run else ""
    for rule, count in sorted(sweep.purged.items()):
        click.echo(f"{count:,} records {would}purged by {rule}")
    for rule, count in sorted(sweep.refused.items()):
        click.echo(f"{count:,} records are due by {rule}, but something that is kept came from them")
    for fate, said in _SAID.items():
        if fate in sweep.blobs:
            changed = would if fate in (Fate.DISCARDED, Fate.DESTROYED, Fate.BROUGHT_BACK) else ""
            click.echo(f"{sweep.blobs[fate].objects:,} blobs ({size(sweep.blobs[fate].bytes)}) {changed}{said}")
    if sweep.leftovers.objects:
        click.echo(f"{sweep.leftovers.objects:,} leftovers of uploads ({size(sweep.leftovers.bytes)}) {would}removed")
    if swept.missing:
        first = swept.missing[0]
        click.echo(
            f"{sweep.missing:,} blobs are missing, the first {first.digest}, which is {first.place} of "
            f"{first.record}; restore them from a backup"
        )
    click.echo(f"{size(sweep.freed_bytes)} {would}freed")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|h|d)", text)
    if found is None:
        raise Invalid(f"--older-than {text!r} is no age; write a number with s, min, h or d, such as 12h")
    return float(found[1]) * _UNITS_S[found[2]]

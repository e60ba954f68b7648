"""`headway batch`."""

from __future__ import annotations

from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_facts
from headway.cli.progress import Progress
from headway.cli.traffic import Labels
from headway.cli.wording import number
from headway.errors import ExtraMissing, Refused

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Verb)
@click.argument("deployment")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="INPUT")
@click.argument("target", type=_FILE, metavar="OUTPUT")
@click.option("--release", default="", help="This release, instead of the one that has most of the traffic.")
@click.option("--part-rows", type=click.IntRange(1), default=50_000, show_default=True, help="Rows in one part.")
@pass_invocation
def batch(invocation: Invocation, deployment: str, source: Path, target: Path, release: str, part_rows: int) -> None:
    """Score INPUT, a Parquet file, to OUTPUT by what DEPLOYMENT serves. Broken off, it goes on where it was."""
    try:
        from headway.serving.offline.batch import score_file  # noqa: PLC0415
        from headway.serving.offline.releases import Releases  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"batch scoring needs {error.name}: pip install 'headway[ml]'") from None
    client = invocation.client
    python = client.deployments.get(deployment).python
    with Releases(client, python) as releases, Progress("scored", hidden=invocation.as_json) as progress:
        loaded = releases.get(release or _serving(invocation, deployment))
        found = score_file(
            loaded, source, target, part_rows=part_rows, begin=progress.begin, progress=progress.advance
        )  # fmt: skip
    print_facts(
        invocation.as_json,
        found,
        {
            "output": str(target),
            "release": f"{Labels(client).label(found.release)} ({found.release})",
            "rows": number(found.rows) + (f", {number(found.resumed)} of them done before" if found.resumed else ""),
            "refused": f"{number(found.refused)}, see the column _error" if found.refused else "none",
        },
    )


def _serving(invocation: Invocation, deployment: str) -> str:
    traffic = invocation.client.deployments.get(deployment).traffic
    if not traffic:
        raise Refused(f"{deployment} serves no release yet; bring one there with `headway ship`")
    return max(traffic, key=lambda share: share.percent).release

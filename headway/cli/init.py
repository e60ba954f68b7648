"""`headway init`."""

from __future__ import annotations

import math
import random
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from headway.cli.ci_workflow import WORKFLOWS, workflow
from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_done
from headway.client.home import PROJECT_FILE
from headway.errors import AlreadyExists

_DAYS, _PARCELS_A_DAY = 120, 40
_COURIERS = {"north": -0.4, "south": 0.0, "express": -1.2, "budget": 0.8}
"""How likely a courier is to be late, as log odds."""


@click.command(cls=Verb)
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ci", "service", type=click.Choice(list(WORKFLOWS)),
    help="Write the workflow that tests it there; into a project that is there already, only that.",
)  # fmt: skip
@pass_invocation
def init(invocation: Invocation, folder: Path, service: str | None) -> None:
    """Write a new project into FOLDER: a pipeline, its declaration, and a small table to try it on."""
    there = (folder / PROJECT_FILE).is_file()
    if service and there:
        _write(invocation, folder, workflow(service, (folder / PROJECT_FILE).read_text()))
        return
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.") or "project"
    contents = _contents(name)
    if service:
        contents |= workflow(service, contents[PROJECT_FILE])
    _write(invocation, folder, contents)
    if not invocation.as_json:
        go = "" if folder.resolve() == Path.cwd().resolve() else f"cd {folder} && "
        click.echo(f"Next: {go}headway run train")


def _write(invocation: Invocation, folder: Path, contents: dict[str, str]) -> None:
    taken = [file for file in contents if (folder / file).exists()]
    if taken:
        raise AlreadyExists(f"{folder / taken[0]} is there already; choose an empty folder, or move it away")
    for file, text in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    print_done(
        invocation.as_json,
        {"folder": str(folder.resolve()), "files": list(contents)},
        f"wrote {', '.join(contents)} to {folder}",
    )


def _contents(name: str) -> dict[str, str]:
    template = files("headway.cli") / "templates" / "tabular"
    return {
        "headway.toml": Template((template / "headway.toml").read_text()).substitute(name=name),
        "pipeline.py": (template / "pipeline.py.txt").read_text(),
        "README.md": Template((template / "README.md").read_text()).substitute(name=name),
        "data/parcels.csv": _parcels(),
        ".gitignore": ".headway/\n__pycache__/\n",
    }


def _parcels() -> str:
    """A made-up table, the same each time; rain and distance make parcels late, and some couriers do."""
    chance = random.Random(7)
    lines = ["parcel,sent_at,distance_km,weight_kg,rain_mm,courier,late"]
    first = datetime(2024, 1, 1, tzinfo=UTC)
    for day in range(_DAYS):
        rain = max(0.0, chance.gauss(2, 6))
        for number in range(_PARCELS_A_DAY):
            sent_at = first + timedelta(days=day, minutes=chance.randrange(1440))
            distance, weight = chance.lognormvariate(4, 0.8), chance.lognormvariate(0.5, 0.7)
            courier = chance.choice(list(_COURIERS))
            odds = -2.6 + 0.35 * math.sqrt(distance) * (rain > 4) + 0.006 * distance + _COURIERS[courier]
            late = chance.random() < 1 / (1 + math.exp(-odds))
            seen = "" if chance.random() < 0.05 else f"{rain:.1f}"
            lines.append(
                f"p{day:03}-{number:02},{sent_at:%Y-%m-%dT%H:%M:%SZ},{min(distance, 1900):.1f},"
                f"{min(weight, 90):.2f},{seen},{courier},{int(late)}"
            )
    return "\n".join(lines) + "\n"

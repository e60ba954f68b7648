"""The story of a home as tables: the changes, what served when and why, the delivery figures, the ledger."""

from __future__ import annotations

from datetime import datetime

import click

from headway.cli.output import print_section, print_table
from headway.cli.traffic import Labels
from headway.cli.wording import clip
from headway.client.client import Client
from headway.lifecycle.changes.dora import Figures
from headway.lifecycle.changes.records import Change, Moment, Stage
from headway.lifecycle.predictions.records import Quality


def tell(client: Client) -> None:
    changes = sorted(client.changes.list().items, key=lambda change: change.number)
    labels = Labels(client)
    _changes(changes)
    for deployment in client.deployments.list().items:
        _served(client, deployment.name, labels)
        _quality(client.deployments.quality(deployment.name), labels)
    _figures(client.changes.dora())
    entries = client.ledger.verify()
    print_section("Ledger")
    click.echo(f"{entries:,} entries, every one as it was written")


def _changes(changes: list[Change]) -> None:
    print_section("Changes")
    print_table(
        ["change", "opened by", "run", "gate", "release", "rollout", "took", "ended", "because"],
        [
            [
                str(change.number),
                change.cause if change.cause != "person" else change.opened_by,
                _between(change, Stage.RUNNING, Stage.REGISTERED),
                _between(change, Stage.REGISTERED, Stage.JUDGED) or ("skipped" if change.break_glass else ""),
                _between(change, Stage.JUDGED, Stage.RELEASED),
                _between(change, Stage.ROLLING_OUT, Stage.SETTLED, Stage.REJECTED),
                _seconds(change.history[0].at, change.history[-1].at),
                change.stage,
                clip(change.reason, 70),
            ]
            for change in changes
        ],
    )


def _between(change: Change, start: Stage, *ends: Stage) -> str:
    first, last = _moment(change, start), _moment(change, *ends)
    return _seconds(first.at, last.at) if first and last else ""


def _moment(change: Change, *stages: Stage) -> Moment | None:
    return next((moment for moment in change.history if moment.stage in stages), None)


def _seconds(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds():.1f} s"


def _served(client: Client, deployment: str, labels: Labels) -> None:
    print_section(f"What {deployment} served when, and why")
    moves = sorted(client.deployments.traffic(deployment).items, key=lambda move: move.generation)
    print_table(
        ["from (data)", "from (clock)", "served", "why"],
        [
            [
                f"{move.event_at:%Y-%m-%d %H:%M}" if move.event_at else "-",
                f"{move.created_at:%H:%M:%S}",
                labels.of(move.traffic),
                clip(move.why, 90),
            ]
            for move in moves
        ],
    )
    if moves:
        moment = moves[len(moves) // 2].created_at
        then = client.deployments.served(deployment, moment)
        click.echo(f"asked for {moment:%H:%M:%S}: {labels.of(then.traffic)}, because {clip(then.why, 90)}")


def _quality(sums: tuple[Quality, ...], labels: Labels) -> None:
    months = sorted({(one.day[:7], one.release) for one in sums if one.n})
    print_section("Realised quality by month (mean loss; n)")
    rows = []
    for month, release in months:
        mine = [one for one in sums if one.day.startswith(month) and one.release == release]
        n = sum(one.n for one in mine)
        rows.append([month, labels.label(release), f"{sum(one.loss for one in mine) / n:.4f}", f"{n:,}"])
    print_table(["month", "release", "loss", "n"], rows)


def _figures(figures: Figures) -> None:
    print_section("Delivery figures (DORA)")
    interval = figures.change_failure_interval
    spread = f" ({interval.low:.0%} to {interval.high:.0%})" if interval else ""
    rate = figures.change_failure_rate
    print_table(
        ["settled", "reached traffic", "lead time", "change failure rate", "time to restore"],
        [
            [
                str(figures.settled),
                str(figures.reached_traffic),
                _median(figures.lead_time_s),
                f"{rate:.0%}{spread}, n={figures.reached_traffic}" if rate is not None else "-",
                _median(figures.time_to_restore_s),
            ]
        ],
    )


def _median(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"

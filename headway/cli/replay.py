"""`headway replay`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from headway.cli.invocation import Invocation
from headway.cli.moments import MOMENT
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_facts, print_json, print_section, print_table
from headway.cli.progress import Progress
from headway.cli.wording import number
from headway.errors import ExtraMissing, Invalid

if TYPE_CHECKING:
    from headway.serving.offline.replay import Replay, Replayed
    from headway.serving.offline.skew import Skew


@click.command(cls=Verb)
@click.argument("prediction", required=False)
@click.option("--deployment", help="All predictions of this deployment, instead of one.")
@click.option("--release", default="", help="By this release, instead of the one that answered.")
@click.option("--against", help="Compare the features with this dataset, such as orders@3: train/serve skew.")
@click.option("--key", help="The dataset's column that has the predictions' ids.")
@click.option("--from", "start", type=MOMENT, help="Only events at or after this moment.")
@click.option("--until", "end", type=MOMENT, help="Only events before this moment.")
@pass_invocation
def replay(
    invocation: Invocation,
    prediction: str | None,
    deployment: str | None,
    release: str,
    against: str | None,
    key: str | None,
    start: datetime | None,
    end: datetime | None,
) -> None:
    """Make PREDICTION again, or all of a deployment: bit for bit, or by another release."""
    if bool(prediction) == bool(deployment):
        raise Invalid("name one prediction, or a deployment with --deployment NAME")
    if bool(against) != bool(key) or (against and (prediction or release)):
        raise Invalid("--against DATASET takes --key COLUMN and --deployment beside it, and no --release")
    try:
        from headway.serving.offline.replay import replay_all, replay_one  # noqa: PLC0415
        from headway.serving.offline.skew import skew  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"a replay needs {error.name}: pip install 'headway[ml]'") from None
    if prediction:
        _tell_one(invocation, replay_one(invocation.client, prediction, release))
        return
    if against:
        with Progress("compared", hidden=invocation.as_json) as progress:
            told = skew(
                invocation.client, deployment or "", against, key or "", start=start, end=end,
                progress=progress.advance,
            )  # fmt: skip
        _tell_skew(invocation, told)
        return
    with Progress("replayed", hidden=invocation.as_json) as progress:
        found = replay_all(
            invocation.client, deployment or "", release, start=start, end=end, progress=progress.advance
        )  # fmt: skip
    _tell_all(invocation, found)


def _tell_one(invocation: Invocation, found: Replayed) -> None:
    if invocation.as_json:
        print_json(found)
        return
    print_facts(
        False,
        found,
        {
            "prediction": found.prediction,
            "deployment": found.deployment,
            "event": found.event_at.isoformat(timespec="seconds"),
            "captured": f"{_score(found.captured)} by {found.captured_by}",
            "replayed": f"{_score(found.score)} by {found.release}",
            "identical": "yes, bit for bit"
            if found.identical
            else "no"
            if found.steady
            else "no: asked twice it says two things, so the model is not deterministic",
        },
    )
    print_section("Features")
    print_table(["feature", "value"], [[name, str(value)] for name, value in found.features.items()])
    print_section("Outputs")
    print_table(["output", "value"], [[name, str(value)] for name, value in found.outputs.items()])


def _tell_all(invocation: Invocation, found: Replay) -> None:
    interval = f" [{found.interval.low:+.4f}, {found.interval.high:+.4f}]" if found.interval else ""
    print_facts(
        invocation.as_json,
        found,
        {
            "deployment": found.deployment,
            "by": found.release or "the releases that answered",
            "rows": f"{number(found.rows)} ({number(found.failed)} more were refused then)",
            "identical": f"{number(found.identical)} of {number(found.rows)}, bit for bit",
            "not deterministic": f"{number(found.unsteady)} rows are answered in two ways when asked twice"
            if found.unsteady
            else "no sign of it",
            "largest gap": f"{found.max_difference:.3g} at {found.worst}" if found.worst else "none",
            "mean score": f"{found.mean_score:.6g}, {found.mean_captured:.6g} then",
            "loss": "no labels yet"
            if found.loss is None
            else f"{found.loss:+.4f}{interval} against then, {number(found.labelled)} labels on {found.days} days",
        },
    )


def _tell_skew(invocation: Invocation, found: Skew) -> None:
    print_facts(
        invocation.as_json,
        found,
        {
            "deployment": found.deployment,
            "against": found.dataset,
            "rows": f"{number(found.rows)} in both, {number(found.unmatched)} not in the dataset",
            "absent": ", ".join(found.absent) or "none",
        },
    )
    if not invocation.as_json:
        print_section("Features")
        print_table(
            ["feature", "rows", "different", "largest gap", "example", "captured", "in the dataset"],
            [
                [
                    each.feature, number(each.rows), number(each.different), f"{each.largest:.3g}", each.prediction,
                    "-" if not each.prediction else str(each.captured),
                    "-" if not each.prediction else str(each.dataset),
                ]
                for each in found.features
            ],
        )  # fmt: skip


def _score(score: float | None) -> str:
    return "none" if score is None else repr(score)

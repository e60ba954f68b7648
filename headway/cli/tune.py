"""`headway tune`."""

from __future__ import annotations

import click

from headway.cli.arguments import pairs
from headway.cli.conclusion import conclude_search
from headway.cli.executing import execution_of, with_executor
from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation


@click.command(cls=Verb)
@click.argument("pipeline")
@click.option(
    "-s", "--search", "space", multiple=True, required=True, metavar="KEY=SPACE",
    help="What a param may be: depth=2..8, 'rate=0.001..0.1 log', kind=a|b; may be repeated.",
)  # fmt: skip
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A param that all trials get.")
@click.option("--metric", required=True, help="The metric of a trial's run to go by; the lowest is best.")
@click.option("--maximize", is_flag=True, help="The highest is best.")
@click.option("--trials", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe, random, qmc or cmaes.")
@click.option("--pruner", default="median", show_default=True, help="median, hyperband, halving or none.")
@click.option("--seed", type=int, help="For the same choices again, with one worker.")
@with_executor
@pass_invocation
def tune(
    invocation: Invocation, pipeline: str, space: tuple[str, ...], params: tuple[str, ...], metric: str,
    maximize: bool, trials: int, sampler: str, pruner: str, seed: int | None, workers: int | None, in_process: bool,
    executor: str | None, address: str,
) -> None:  # fmt: skip
    """Search for the params of PIPELINE with which a metric is best; each trial is a run."""
    from headway.cli.pipelines import tune_here  # noqa: PLC0415
    from headway.lifecycle.runs.search_space import parsed_space  # noqa: PLC0415
    from headway.running.tuning import Search  # noqa: PLC0415

    search = Search(
        space=parsed_space(pairs(space, "--search")), metric=metric, maximize=maximize, trials=trials,
        sampler=sampler, pruner=pruner, seed=seed,
    )  # fmt: skip
    execution = execution_of(workers, in_process, executor, address)
    conclude_search(invocation, tune_here(invocation.client, pipeline, pairs(params, "-p"), search, execution))

"""What must hold after any crash: one of each for each change, and one truth about what serves."""

from __future__ import annotations

from headway.lifecycle.changes.records import OVER, Change, Stage
from headway.lifecycle.rollouts.routing import read_table
from tests.journeys.world import World, until

ORDER = list(Stage)


def settled(world: World, number: int) -> Change:
    """The change, once it is over; checks that nothing of it is there twice, half, or left over."""
    change = until(lambda: _over(world, number), f"change {number} ends", 60)
    one_of_each(world, change)
    one_truth(world)
    return change


def _over(world: World, number: int) -> Change | None:
    change = world.change(number)
    return change if change.over else None


def one_of_each(world: World, change: Change) -> None:
    client = world.owner
    stages = [moment.stage for moment in change.history]
    assert stages == sorted(set(stages), key=ORDER.index)
    assert change.stage in OVER
    runs = [run.id for run in client.runs.list(change=change.id).items if not run.parent]
    assert runs == ([change.run] if change.run else [])
    assert [run.state for run in client.runs.list(change=change.id).items if not run.over] == []
    made = [version.id for version in client.models.versions().items if version.run == change.run]
    assert len(made) <= 1
    verdicts = [verdict.id for verdict in client.gates.verdicts().items if verdict.change == change.id]
    assert verdicts == ([change.verdict] if change.verdict else [])
    releases = [release.id for release in client.releases.list().items if release.change == change.id]
    assert releases == ([change.release] if change.release else [])
    rollouts = [rollout.id for rollout in client.rollouts.list().items if rollout.change == change.id]
    assert rollouts == ([change.rollout] if change.rollout else [])


def one_truth(world: World) -> None:
    """The traffic table, the routing file, the model server and the history of traffic say the same."""
    client = world.owner
    deployment = client.deployments.get(world.deployment)

    def caught_up() -> bool:
        endpoint = client.deployments.endpoint(world.deployment)
        return endpoint.ready and endpoint.generation == deployment.generation

    until(caught_up, "the endpoint has what it should serve", 20)
    file = world.home / "deployments" / world.deployment / "routing.json"
    routes = read_table(file.read_bytes()).routes
    wanted = [(share.release, share.percent) for share in deployment.traffic]
    assert [(route.release, route.percent) for route in routes] == wanted
    moves = sorted(client.deployments.traffic(world.deployment).items, key=lambda move: move.generation)
    assert [move.generation for move in moves] == list(range(1, deployment.generation + 1))
    assert moves[-1].traffic == deployment.traffic
    assert len(model_servers(world)) == 1
    assert client.ledger.verify() > 0


def shares(world: World, release: str) -> list[int]:
    """The percent that the release got by each move of the traffic that changed it, oldest first."""
    moves = sorted(world.owner.deployments.traffic(world.deployment).items, key=lambda move: move.generation)
    found = [next((share.percent for share in move.traffic if share.release == release), 0) for move in moves]
    return [percent for percent, before in zip(found, [0, *found], strict=False) if percent != before]


def model_servers(world: World) -> list[int]:
    return [process.pid for process in world.processes() if "headway.serving.main" in process.cmdline()]


def workers(world: World) -> list[int]:
    return [process.pid for process in world.processes() if "headway.cli.workers" in process.cmdline()]

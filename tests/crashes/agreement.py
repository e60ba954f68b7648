"""What must hold after any crash: one of each for each change, and one truth about what serves."""

from __future__ import annotations

import secrets

from headway.client.client import Client
from headway.lifecycle.changes.records import OVER, Change, Stage
from headway.lifecycle.rollouts.routing import read_table
from tests.crashes.clients import Clients
from tests.journeys.world import World, until

ORDER = list(Stage)


def opened(world: World, *, client: Client | None = None, break_glass: str = "", kind: str = "good") -> int:
    """The number of a new change, for a model that nobody has seen before."""
    return world.open(client=client, break_glass=break_glass, kind=kind, name=secrets.token_hex(8))


def captured(world: World) -> int:
    """The rows that have come to the control plane since the world began, and all that were on their way."""
    Clients(world).flush()
    segments = world.owner.predictions.segments(world.deployment, limit=1000).items
    return sum(segment.rows for segment in segments)


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
    verdicts = [verdict.id for verdict in client.gates.list().items if verdict.change == change.id]
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
    return [pid for pid, line in world.processes().items() if "headway.serving.main" in line]


def workers(world: World, *, of: str = "") -> list[int]:
    """Pids of worker processes, all of them or those `of` a kind: run, gate."""
    lines = world.processes().items()
    return [pid for pid, line in lines if "headway.cli.workers" in line and (not of or of in line)]

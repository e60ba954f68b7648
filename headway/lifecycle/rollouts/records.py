"""Deployments and rollouts: standing endpoints, and their move from one release to another by steps."""

from __future__ import annotations

from datetime import date, datetime

from headway.kernel.records import Record, State, Value
from headway.lifecycle.environments.records import Reward
from headway.lifecycle.models.records import PythonRuntime
from headway.lifecycle.rollouts.fallbacks import Fallback
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.lifecycle.rollouts.sampling import EVERYTHING, Sampling
from headway.lifecycle.rollouts.sticky import ANYWHERE, Sticky

TOLERANCES = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""What two scores may differ by and count as the same: captured differences are counted by these bounds."""


class Share(Value):
    release: str
    percent: int


class Pin(Value):
    """A caller with a release of their own: requests whose key is `key`, or begins with it, whatever the shares."""

    key: str
    release: str
    starts_with: bool = False


class Shadow(Value):
    """A release that answers nobody: of `percent` of the requests it scores the rows once more, off their path."""

    release: str
    percent: int = 100
    tolerance: float = 1e-6
    """Up to it, two scores count as the same."""


class Deployment(Record, prefix="dp"):
    """A standing endpoint. `generation` counts the changes of what it should serve."""

    name: str
    environment: str
    model: str
    target: str = "process"
    traffic: tuple[Share, ...] = ()
    mirror: bool = False
    generation: int = 0
    python: PythonRuntime | None = None
    """What runs models that are not ONNX here; None for the platform's own interpreter."""
    server: str = ""
    """The model server that it shares with the other deployments that name it; empty for one of its own."""
    workers: int = 1
    limits: Limits = UNLIMITED
    capture: Sampling = EVERYTHING
    sticky: Sticky = ANYWHERE
    pins: tuple[Pin, ...] = ()
    shadow: Shadow | None = None
    fallback: Fallback | None = None

    @property
    def serving(self) -> str | None:
        """The release that everybody falls back to: the first share."""
        return self.traffic[0].release if self.traffic else None


class Standing(Value):
    """How one release of a bandit stands: its share, and what its `n` labels say."""

    release: str
    percent: int
    n: int = 0
    mean: float = 0.0
    """Of the reward."""
    chance: float = 0.0
    """The probability that it is the best."""


class TrafficChange(Record, prefix="tc"):
    """From `created_at` on, `deployment` served `traffic`, because of `why`: the answer to what served when."""

    deployment: str
    generation: int
    traffic: tuple[Share, ...]
    rollout: str
    why: str
    event_at: datetime | None = None
    """The newest event that had been seen then: where the move stands in the data's own time."""
    pins: tuple[Pin, ...] = ()
    shadow: Shadow | None = None
    standing: tuple[Standing, ...] = ()
    """Why a bandit moved the shares: the evidence of that moment."""
    fallback: Fallback | None = None


class RolloutState(State):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    """It does not move up, but goes back as before when it does harm."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


MOVES: dict[RolloutState, frozenset[RolloutState]] = {
    RolloutState.PENDING: frozenset({RolloutState.RUNNING, RolloutState.ROLLED_BACK}),
    RolloutState.RUNNING: frozenset(
        {RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.PROMOTED, RolloutState.ROLLED_BACK}
    ),
    RolloutState.PAUSED: frozenset({RolloutState.RUNNING, RolloutState.ROLLED_BACK}),
    RolloutState.PROMOTED: frozenset(),
    RolloutState.ROLLED_BACK: frozenset(),
}


class Rollout(Record, prefix="ro"):
    """`step` is the index into `steps` of the share that the candidate has now; -1 before the first."""

    deployment: str
    """The deployment's name."""
    change: str
    candidate: str
    incumbent: str | None
    steps: tuple[int, ...]
    step: int = -1
    state: RolloutState = RolloutState.PENDING
    step_at: datetime | None = None
    step_labels_from: int = 0
    """How many labelled pairs there were when this step began."""
    reason: str = ""
    reward: Reward | None = None
    """What is maximised by a bandit; None for what is none."""
    events_after: datetime | None = None
    """A bandit learns from events that are later than the newest one at its start."""
    standing: tuple[Standing, ...] = ()
    """The last move of a bandit's shares; none before the first."""

    rivals: tuple[str, ...] = ()
    """Further releases that a bandit compares. If one of them is the best, it takes the candidate's place."""

    @property
    def challengers(self) -> tuple[str, ...]:
        return (self.candidate, *self.rivals)

    @property
    def arms(self) -> tuple[str, ...]:
        """The releases that are compared."""
        return (self.incumbent, *self.challengers) if self.incumbent else self.challengers

    @property
    def playing(self) -> bool:
        """Whether a bandit's shares are still open."""
        return self.reward is not None and self.step == 0 and not self.over

    @property
    def percent(self) -> int:
        if self.playing and self.standing:
            return next(one.percent for one in self.standing if one.release == self.candidate)
        return self.steps[self.step] if self.step >= 0 else 0

    @property
    def over(self) -> bool:
        return not MOVES[self.state]


class Tally(Value):
    """Counts of one release's requests since the rollout's start."""

    requests: int = 0
    errors: int = 0
    slow: int = 0
    """Requests over the latency budget."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            requests=self.requests + other.requests, errors=self.errors + other.errors, slow=self.slow + other.slow
        )


class PairedDay(Value):
    """Over one day's labelled predictions that both releases scored: loss of the candidate minus loss of the
    incumbent, summed."""

    day: date
    n: int
    total: float


class RewardDay(Value):
    """The rewards of one release over one day of events, as sums of `n`; `outside` more were not from 0 to 1 where
    they have to be, or beyond all measure, and are in no sum."""

    release: str
    day: date
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    outside: int = 0

    def __add__(self, other: RewardDay) -> RewardDay:
        return self.but(
            n=self.n + other.n,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            outside=self.outside + other.outside,
        )


class Health(Value):
    """All that a decision about a rollout looks at. `step_requests` and `step_labels` count since the step began;
    `newest_day` is that of the newest event, by which a day is known to be over."""

    candidate: Tally = Tally()
    incumbent: Tally = Tally()
    quality: tuple[PairedDay, ...] = ()
    rewards: tuple[RewardDay, ...] = ()
    """What a bandit has earned since it began."""
    tallies: dict[str, Tally] = {}
    """Of each release of a bandit."""
    newest_day: date | None = None
    step_requests: int = 0
    step_labels: int = 0
    live: bool = True
    """The servers answer and have this step's routing table."""
    ends: int = 0
    """How often a process that serves the deployment has ended unasked since the rollout is looked after."""

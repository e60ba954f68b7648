"""Hyper-parameter search: trials are runs of a pipeline, inside a run of their own; Optuna chooses and prunes.

Nothing is kept but the runs. A search that was killed is rebuilt from them: what a trial was given stands in its tags,
what it reported in its metrics, how it ended in its state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from headway.client.client import Client
from headway.errors import Conflict, ExtraMissing, HeadwayError, Invalid, RunCancelled
from headway.kernel.paging import every
from headway.kernel.records import Value, encode
from headway.lifecycle.runs.records import Run, RunState
from headway.lifecycle.runs.search_space import Dimension, Scale

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

TRIAL, PRUNED, SEARCH = "headway.trial", "headway.pruned", "headway.search"
STUDY = "study.json"
SAMPLERS = ("tpe", "random", "qmc", "cmaes")
PRUNERS = ("median", "hyperband", "halving", "none")
_LOOK_S = 0.5
_AT_ONCE = 1000


class Search(Value):
    """What is searched for: the space, the metric of a trial's run to go by, and how many trials."""

    space: dict[str, Dimension]
    metric: str
    maximize: bool = False
    trials: int = 20
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int | None = None


class Trial(Value):
    """One trial: its run, what it was given, and what came of it."""

    number: int
    run: str
    params: dict[str, Any]
    state: str
    """finished, pruned or failed."""
    value: float | None = None


class Study(Value):
    """A whole search. `best` is None when no trial was finished."""

    run: str
    search: Search
    trials: tuple[Trial, ...]
    best: Trial | None = None


def checked_search(search: Search) -> Search:
    """Raises `Invalid` for a name that is not known and for no trials."""
    for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if getattr(search, name) not in known:
            raise Invalid(f"{name} is one of {', '.join(known)}, not {getattr(search, name)!r}")
    _optuna()
    if search.trials < 1:
        raise Invalid("a search takes at least one trial")
    return search


StartTrial = Callable[[int, dict[str, Any]], tuple[str, Callable[[], Any]]]
"""Makes the run of a trial by number and params; gives its id, and what carries it out."""


@dataclass
class _Running:
    trial: OptunaTrial
    run: str
    points: int = 0
    pruned: bool = False


class Tuner:
    """Carries out a search inside the run `parent`, `slots` trials at a time."""

    def __init__(self, client: Client, parent: Run, search: Search, slots: int, start: StartTrial) -> None:
        self._optuna = _optuna()
        self._client, self._parent, self._search, self._start = client, parent, checked_search(search), start
        self._slots = slots
        self._space = {name: self._distribution(each) for name, each in search.space.items()}
        self._running: dict[Future[Any], _Running] = {}
        self._stopped = False
        self._again: list[tuple[int, dict[str, Any]]] = []

    def stop(self) -> None:
        """End the trials that run, and begin no others; from any thread."""
        self._stopped = True

    def run(self) -> Study:
        """The study, once all its trials are over. Also after `kill -9`: trials that were cut short are run again."""
        study = self._study()
        begun = self._recall(study)
        with ThreadPoolExecutor(self._slots, thread_name_prefix="headway-trial") as pool:
            try:
                while True:
                    if self._stopped:
                        raise RunCancelled("the search was cancelled; trials that were over are kept")
                    while len(self._running) < self._slots and (self._again or begun < self._search.trials):
                        begun += self._begin(study, pool, begun)
                    if not self._running:
                        break
                    done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                    for each in done:
                        self._tell(study, self._running.pop(each), each)
                    for running in self._running.values():
                        self._look(running)
            except BaseException:
                for running in self._running.values():
                    self._cancel(running.run)
                raise
        return self._kept()

    def _begin(self, study: OptunaStudy, pool: ThreadPoolExecutor, begun: int) -> int:
        """Start a trial: one that was cut short, else the next; gives how many new ones it was."""
        if self._again:
            number, params = self._again.pop(0)
            study.enqueue_trial(params)
            trial = study.ask(self._space)
        else:
            trial, number = study.ask(self._space), begun
            params = dict(trial.params)
        run, carry_out = self._start(number, params)
        self._running[pool.submit(carry_out)] = _Running(trial, run)
        return int(number == begun)

    def _look(self, running: _Running) -> None:
        """Report what the trial has logged since, and end it when it is not worth going on."""
        if running.pruned or self._search.pruner == "none":
            return
        found = self._client.runs.history(running.run, self._search.metric, limit=_AT_ONCE, after=running.points)
        for point in found.points:
            running.points = point.number
            if point.value == point.value:  # NaN says nothing
                running.trial.report(point.value, point.step)
        if found.points and running.trial.should_prune():
            running.pruned = True
            try:
                self._client.runs.texts(running.run, {}, {PRUNED: str(found.points[-1].step)})
            except Conflict:  # it has come to its end meanwhile, and counts as that
                return
            self._cancel(running.run, "its metric was not worth going on")

    def _cancel(self, run: str, why: str = "the search was stopped") -> None:
        """The run's own heart hears of it and ends its steps."""
        try:
            self._client.runs.move(run, RunState.CANCELLED, error=why)
        except HeadwayError:  # it is over
            return

    def _tell(self, study: OptunaStudy, running: _Running, over: Future[Any]) -> None:
        state, value = self._ending(self._client.runs.get(running.run))
        if value is not None:
            study.tell(running.trial, value)
        else:
            study.tell(running.trial, state=self._optuna_state(state))
            error = over.exception()
            if error is not None and not isinstance(error, Exception):
                raise error

    def _ending(self, run: Run) -> tuple[str, float | None]:
        """How a trial ended, as `Trial.state` says it, and its value if it was finished."""
        value = self._value(run.id)
        if run.state is RunState.FINISHED and value is not None:
            return "finished", value
        return ("pruned" if PRUNED in run.tags else "failed"), None

    def _optuna_state(self, state: str) -> Any:
        states = self._optuna.trial.TrialState
        return {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]

    def _value(self, run: str) -> float | None:
        value = self._client.runs.metrics([run]).get(run, {}).get(self._search.metric)
        return value if value is not None and value == value else None

    def _trials(self) -> list[tuple[Run, dict[str, Any]]]:
        return trials_of(self._client, self._parent.id)

    def _recall(self, study: OptunaStudy) -> int:
        """Fill the study with the trials that are over; those that are not are run again. Gives the next number."""
        told: dict[int, tuple[Run, dict[str, Any]]] = {}
        for run, said in self._trials():
            if run.over and (said["number"] not in told or run.state is RunState.FINISHED):
                told[said["number"]] = run, said["params"]
            elif not run.over:
                self._cancel(run.id)
                if said["number"] not in told:
                    self._again.append((said["number"], said["params"]))
        for number, (run, params) in told.items():
            cut_short = run.state is RunState.CANCELLED and PRUNED not in run.tags
            if cut_short and number not in dict(self._again):
                self._again.append((number, params))
        for number, (run, params) in sorted(told.items()):
            if number not in dict(self._again):
                study.add_trial(self._frozen(run, params))
        return max([*told, *dict(self._again)], default=-1) + 1

    def _frozen(self, run: Run, params: dict[str, Any]) -> FrozenTrial:
        state, value = self._ending(run)
        points = self._client.runs.history(run.id, self._search.metric, limit=_AT_ONCE).points
        made: FrozenTrial = self._optuna.trial.create_trial(
            state=self._optuna_state(state), value=value, params=params, distributions=self._space,
            intermediate_values={point.step: point.value for point in points},
        )  # fmt: skip
        return made

    def _kept(self) -> Study:
        """The study as it stands, as an artifact of its run, and of the best trial's, which its model came from."""
        latest: dict[int, Trial] = {}
        for run, said in self._trials():
            state, value = self._ending(run)
            latest[said["number"]] = Trial(
                number=said["number"], run=run.id, params=said["params"], state=state, value=value
            )
        finished_ones = [each for each in latest.values() if each.value is not None]
        sign = -1 if self._search.maximize else 1
        best = min(finished_ones, key=lambda each: (sign * (each.value or 0.0), each.number), default=None)
        trials = tuple(each for _, each in sorted(latest.items()))
        study = Study(run=self._parent.id, search=self._search, trials=trials, best=best)
        for each in dict.fromkeys([self._parent.id, *([best.run] if best else [])]):
            self._client.runs.add_artifact(each, STUDY, encode(study), media_type="application/json")
        return study

    def _study(self) -> OptunaStudy:
        optuna, search = self._optuna, self._search
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers: dict[str, Callable[[], Any]] = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=self._seed, constant_liar=True),
            "random": lambda: optuna.samplers.RandomSampler(seed=self._seed),
            "qmc": lambda: optuna.samplers.QMCSampler(seed=self._seed),
            "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=self._seed),
        }
        pruners: dict[str, Callable[[], Any]] = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4),
            "hyperband": optuna.pruners.HyperbandPruner,
            "halving": optuna.pruners.SuccessiveHalvingPruner,
            "none": optuna.pruners.NopPruner,
        }
        made: OptunaStudy = optuna.create_study(
            direction="maximize" if search.maximize else "minimize", sampler=samplers[search.sampler](),
            pruner=pruners[search.pruner](),
        )  # fmt: skip
        return made

    @property
    def _seed(self) -> int | None:
        """Another one for what is gone on with, so that it does not propose once more what it did."""
        return None if self._search.seed is None else self._search.seed + len(self._trials())

    def _distribution(self, dimension: Dimension) -> BaseDistribution:
        kinds = self._optuna.distributions
        made: BaseDistribution
        if not isinstance(dimension, Scale):
            made = kinds.CategoricalDistribution(dimension.values)
        elif dimension.whole:
            made = kinds.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            made = kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        return made


def trials_of(client: Client, search: str) -> list[tuple[Run, dict[str, Any]]]:
    """Runs of a search's trials with what their tag says, number and params, oldest first."""
    pages = every(lambda before: client.runs.list(parent=search, limit=_AT_ONCE, before=before))
    runs = sorted((run for run in pages if TRIAL in run.tags), key=lambda run: run.id)
    return [(run, json.loads(run.tags[TRIAL])) for run in runs]


def trial_tags(number: int, params: Mapping[str, Any]) -> dict[str, str]:
    return {TRIAL: json.dumps({"number": number, "params": dict(params)})}


def search_of(run: Run) -> Search:
    """What a run searches for; raises `Invalid` for one that is no search."""
    try:
        return msgspec.json.decode(run.tags.get(SEARCH, ""), type=Search)
    except msgspec.MsgspecError:
        raise Invalid(f"run {run.id} is no search; `headway tune` starts one") from None


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissing(f"a search needs one more package ({error.name}): pip install 'headway[tune]'") from None
    return optuna

"""Pipelines: Python functions that call steps. Calling them draws the graph.

A step stays a plain callable: called by itself it just runs. Inside a pipeline a call is handed to whoever executes
the pipeline, and gives a `Result`: a handle that knows what the value is without holding it.

    @step
    def split(rows: list[int], share: float = 0.5) -> tuple[list[int], list[int]]: ...

    @pipeline
    def train(share: float = 0.5):
        first, rest = split(load(), share)       # handles, passed on as they are; each gives an edge
        quality = score(fit(first), rest)
        if quality.value["auc"] > 0.7:           # looking at a value takes `.value`
            publish(quality)

A step gets what was stored, as a fresh copy: the same on the first run, from the cache, and in another process.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol, Self, overload

from headway.errors import BadPipeline, Invalid
from headway.kernel.naming import checked_name, nearest
from headway.kernel.records import Value
from headway.lifecycle.runs.annotations import given_fault, taken_fault
from headway.lifecycle.runs.limits import StepLimits, checked_limits
from headway.lifecycle.runs.options import age_limit_s
from headway.lifecycle.runs.records import PipelineNode
from headway.lifecycle.runs.results import Held, Result, Results, elements, resolved, results_in


class Execution(Protocol):
    """Whoever executes a pipeline: it is handed every call of a step."""

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result: ...


_execution: ContextVar[Execution | None] = ContextVar("execution", default=None)


@contextmanager
def executing(execution: Execution | None) -> Iterator[None]:
    """Hand calls of steps to `execution` inside the block, or just run them when it is None."""
    token = _execution.set(execution)
    try:
        yield
    finally:
        _execution.reset(token)


NO_LIMITS = StepLimits()


class Step:
    """A function whose calls are cached and recorded. `version` is part of the key: raise it to run again where the
    code does not show a change, such as a newer file behind an address. The other options are not: with them a step
    gives the same.

    `cache` is False for a step that must run each time, or for how long a result holds: "1d", "90m", a timedelta.
    `pickle` allows values that no format takes. `format` names the one to use among several: "arrow" for frames that
    are handed over by memory map.
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str = "", cache: bool | str | timedelta = True, version: str = "",
        pickle: bool = False, format: str = "", limits: StepLimits = NO_LIMITS,
    ) -> None:  # fmt: skip
        self.name = _checked_name(name or getattr(function, "__name__", ""), "step")
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise BadPipeline(f"step {self.name!r} is a generator or async function; return a value, such as a list")
        self.function, self.version, self.pickle, self.format = function, version, pickle, format
        self.cache = cache is not False
        self.max_age_s = age_limit_s(cache, self.name)
        self.limits = checked_limits(limits, self.name)
        self.waits_for: tuple[Result, ...] = ()
        self.signature = _signature(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value, or a `Result` inside a pipeline."""
        execution = _execution.get()
        if execution is None:
            return self.function(*args, **kwargs)
        return execution.call(self, self._bound(args, kwargs))

    def map(self, *lists: Any, **fixed: Any) -> Any:
        """The step called once for each element of `lists`, side by side as by `zip`, with `fixed` the same each time.

        Each element has a key and a result of its own. Lists are lists, tuples or handles on such; inside a pipeline it
        gives `Results`, a handle on a list. Raises `BadPipeline` for lists of different lengths.
        """
        if not lists:
            raise BadPipeline(f"step {self.name!r}: map takes the lists to go through first, such as .map(items)")
        rows = elements(self.name, lists)
        if _execution.get() is None:
            return [self.function(*row, **fixed) for row in rows]
        return Results(self.name, [self(*row, **fixed) for row in rows], results_in([*lists, *fixed.values()]))

    def after(self, *results: Result) -> Self:
        """The same step, to run after `results` although it does not take them."""
        return self._but(waits_for=tuple(results_in(results)))

    def named(self, name: str) -> Self:
        return self._but(name=_checked_name(name, "step"))

    def check_arguments(self, arguments: inspect.BoundArguments) -> None:
        """Raise `BadPipeline` for a value that the annotation of its parameter denies."""
        for name, value in arguments.arguments.items():
            if fault := taken_fault(self.signature.parameters[name], value):
                raise BadPipeline(f"step {self.name!r}, argument {name!r}: {fault}", step=self.name, argument=name)

    def check_value(self, value: Any) -> None:
        """Raise `BadPipeline` for a value that the annotation of what it gives denies."""
        if fault := given_fault(self.signature, value):
            raise BadPipeline(f"step {self.name!r} {fault}; correct one of the two", step=self.name)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        try:
            arguments = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadPipeline(f"step {self.name!r} cannot be called so: {error}", step=self.name) from None
        arguments.apply_defaults()
        return arguments

    def _but(self, **changes: Any) -> Self:
        made = copy.copy(self)
        vars(made).update(changes)
        return made

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class Pipeline:
    """A function that calls steps. Called by itself it runs at once, without a cache, and gives plain values."""

    def __init__(self, function: Callable[..., Any], *, name: str = "", signature: inspect.Signature | None = None):
        self.name = _checked_name(name or getattr(function, "__name__", ""), "pipeline")
        self.function = function
        self.signature = signature or _signature(function)
        functools.update_wrapper(self, function)

    def bound(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments by name, defaults among them; raises `BadPipeline` for params that it does not take."""
        try:
            arguments = self.signature.bind(**params)
        except TypeError as error:
            raise BadPipeline(f"pipeline {self.name!r} cannot be called so: {error}") from None
        arguments.apply_defaults()
        return arguments.arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Plain values; inside another pipeline's execution its steps become part of that one."""
        if _execution.get() is not None:
            return self.function(*args, **kwargs)
        with executing(_Direct()):
            return resolved(self.function(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


class _Direct:
    """Runs each step where it is called and keeps nothing."""

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        arguments.arguments = {name: resolved(value) for name, value in arguments.arguments.items()}
        step.check_arguments(arguments)
        with executing(None):
            value = step.function(*arguments.args, **arguments.kwargs)
        step.check_value(value)
        return Result(step.name, Held(value))


@overload
def step(function: Callable[..., Any], /) -> Step: ...
@overload
def step(
    *, name: str = "", cache: bool | str | timedelta = True, version: str = "", pickle: bool = False, format: str = "",
    cpus: int = 1, memory_mb: int = 0, gpus: int = 0, timeout_s: float = 0.0, retries: int = 0,
    retry_wait_s: float = 1.0,
) -> Callable[[Callable[..., Any]], Step]: ...  # fmt: skip
def step(
    function: Callable[..., Any] | None = None, /, *, name: str = "", cache: bool | str | timedelta = True,
    version: str = "", pickle: bool = False, format: str = "", **limits: Any,
) -> Step | Callable[[Callable[..., Any]], Step]:  # fmt: skip
    """Make a step of a function: `@step`, or with options of `Step`: `@step(cache=False)`. `limits` are what it may
    use and how often it is tried, see `StepLimits`."""
    if function is not None:
        return Step(function)
    try:
        given = StepLimits(**limits)
    except TypeError:
        wrong = next(key for key in limits if key not in StepLimits.__struct_fields__)
        known = ["name", "cache", "version", "pickle", "format", *StepLimits.__struct_fields__]
        raise BadPipeline(f"@step has no option {wrong!r}{nearest(wrong, known)}") from None
    return functools.partial(
        Step, name=name, cache=cache, version=version, pickle=pickle, format=format, limits=given
    )  # fmt: skip


@overload
def pipeline(function: Callable[..., Any], /) -> Pipeline: ...
@overload
def pipeline(*, name: str = "") -> Callable[[Callable[..., Any]], Pipeline]: ...
def pipeline(
    function: Callable[..., Any] | None = None, /, *, name: str = ""
) -> Pipeline | Callable[[Callable[..., Any]], Pipeline]:
    """Make a pipeline of a function: `@pipeline` or `@pipeline(name="nightly")`."""
    if function is not None:
        return Pipeline(function)
    return functools.partial(Pipeline, name=name)


class DeclaredStep(Value):
    """A node of a graph that is given by name. `inputs` maps an argument to the step whose result it gets; other
    arguments are parameters of the pipeline by their name."""

    call: str
    """The step as `module:function`."""
    inputs: dict[str, str] = {}
    after: tuple[str, ...] = ()

    def node(self, name: str) -> PipelineNode:
        return PipelineNode(step=name, after=tuple(dict.fromkeys((*self.inputs.values(), *self.after))))


def declared(name: str, graph: Mapping[str, DeclaredStep], steps: Mapping[str, Step]) -> Pipeline:
    """The pipeline that `graph` declares; `steps` holds the step for each `call`. It gives every result by name.

    Raises `BadPipeline` for an unknown step, a circle, or an input that the step does not take.
    """
    names = order([node.node(key) for key, node in graph.items()])
    bound = {key: steps[graph[key].call].named(key) for key in names}
    parameters = {key: _free_parameters(bound[key], graph[key]) for key in names}

    def run(**params: Any) -> dict[str, Result]:
        results: dict[str, Result] = {}
        for key in names:
            given = {argument: params[argument] for argument in parameters[key] if argument in params}
            given |= {argument: results[source] for argument, source in graph[key].inputs.items()}
            results[key] = bound[key].after(*(results[other] for other in graph[key].after))(**given)
        return results

    free = {argument: parameter for of_step in parameters.values() for argument, parameter in of_step.items()}
    return Pipeline(run, name=name, signature=inspect.Signature(list(free.values())))


def _free_parameters(step: Step, node: DeclaredStep) -> dict[str, inspect.Parameter]:
    takes = step.signature.parameters
    for argument in node.inputs:
        if argument not in takes:
            raise BadPipeline(f"step {step.name!r} takes no argument {argument!r}{nearest(argument, takes)}")
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return {key: value.replace(kind=keyword_only) for key, value in takes.items() if key not in node.inputs}


def order(nodes: Sequence[PipelineNode]) -> tuple[str, ...]:
    """The steps so that each comes after those it waits for; among equals, as given.

    Raises `BadPipeline` for a name that is there twice, an unknown one, or a circle, which it spells out.
    """
    waits = {node.step: node.after for node in nodes}
    if len(waits) < len(nodes):
        raise BadPipeline("two steps have the same name; give each its own")
    for name, after in waits.items():
        for other in after:
            if other not in waits:
                raise BadPipeline(f"step {name!r} comes after {other!r}, which is no step{nearest(other, waits)}")
    try:
        return tuple(TopologicalSorter(waits).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise BadPipeline(f"these steps wait for each other in a circle: {circle}; remove one of the edges") from None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # an annotation that holds only for a type checker
        return inspect.signature(function)


def _checked_name(name: str, kind: str) -> str:
    try:
        return checked_name(name, kind)
    except Invalid as error:
        raise BadPipeline(f"{error}, and give it as @{kind}(name=...)") from None

"""Results: handles on what steps give, which know a value without holding it."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

from headway.errors import BadPipeline
from headway.kernel.records import digest, encode


class Content(Protocol):
    """A value that can be had, and told apart from others before that."""

    @property
    def digest(self) -> str: ...

    def load(self) -> Any:
        """The value, anew each time."""
        ...

    def keys(self) -> range | tuple[Hashable, ...] | None:
        """Indices of a tuple or list, keys of a dict; None for a value without parts."""
        ...

    def part(self, key: Any) -> Content: ...


class Result:
    """What a step gives. Pass it to other steps as it is, alone or inside a list, tuple or dict; write `.value` to
    look at it. A tuple, list or dict can be taken apart into handles: `train, test = split(rows)`, `result["model"]`.
    """

    def __init__(self, step: str, content: Content) -> None:
        self.step, self.content = step, content

    @functools.cached_property
    def value(self) -> Any:
        """The value itself, read when it is first asked for."""
        return self.content.load()

    def __iter__(self) -> Iterator[Any]:
        """Handles on the parts of a tuple or list; the keys of a dict."""
        keys = self._keys()
        return iter([self[key] for key in keys] if isinstance(keys, range) else keys)

    def __getitem__(self, key: Any) -> Any:
        """The handle on one part; a list of handles for a slice of a tuple or list."""
        keys = self._keys()
        if isinstance(keys, range) and isinstance(key, slice):
            return [self[place] for place in keys[key]]
        if isinstance(keys, range):
            key = keys[key]
        elif key not in keys:
            raise KeyError(key)
        return Result(self.step, self.content.part(key))

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> range | tuple[Hashable, ...]:
        keys = self.content.keys()
        return self._refuse("has no parts to take") if keys is None else keys

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a handle on a step's result has no {name!r}; look at its .value")

    def __bool__(self) -> bool:
        self._refuse("is neither true nor false")

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Result) else self._refuse("cannot be compared")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<result of {self.step}>"

    def _refuse(self, why: str) -> NoReturn:
        raise BadPipeline(f"this is a handle on what step {self.step!r} gives, and {why}; look at its .value")


class Results(Result):
    """What a step gives for each of several elements: a handle on the list of all. Each of `parts` is a result of its
    own. `sources` are what it was made from, which stand for it in the graph when there are no parts."""

    def __init__(self, step: str, parts: Iterable[Result], sources: Iterable[Result] = ()) -> None:
        self.parts, self.sources = tuple(parts), tuple(sources)
        super().__init__(step, Listed([part.content for part in self.parts]))

    def __getitem__(self, key: Any) -> Any:
        """The result of one element, or the handle on the list of those in a slice."""
        return Results(self.step, self.parts[key], self.sources) if isinstance(key, slice) else self.parts[key]

    def __repr__(self) -> str:
        return f"<{len(self.parts)} results of {self.step}>"


class Listed:
    """The content of a list whose items were stored one by one."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents

    @functools.cached_property
    def digest(self) -> str:
        return digest(encode(["list", [content.digest for content in self._contents]]))

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for content in self._contents for name in getattr(content, "formats", ())))

    def load(self) -> list[Any]:
        return [content.load() for content in self._contents]

    def keys(self) -> range:
        return range(len(self._contents))

    def part(self, key: int) -> Content:
        return self._contents[key]


def elements(step: str, lists: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What a step that is mapped over `lists` is called with, in turn; raises `BadPipeline` for what is no list, and
    for lists of different lengths."""
    for given in lists:
        keys = given.content.keys() if isinstance(given, Result) else range(0)
        if not isinstance(given, list | tuple | range | Result) or not isinstance(keys, range):
            kind = "a result that is none" if isinstance(given, Result) else f"a {type(given).__name__}"
            raise BadPipeline(
                f"step {step!r}: map goes through lists, and was given {kind}; what is the same for each "
                "element goes in by its name"
            )
    lengths = [len(given) for given in lists]
    if len(set(lengths)) > 1:
        raise BadPipeline(f"step {step!r}: map takes lists of one length, not of {', '.join(map(str, lengths))}")
    return list(zip(*lists, strict=True))


class Held:
    """The content of a value in memory."""

    def __init__(self, value: Any) -> None:
        self._held = value

    @property
    def digest(self) -> str:
        raise BadPipeline("a value that was never stored has no digest; run the pipeline through an executor")

    def load(self) -> Any:
        return self._held

    def keys(self) -> range | tuple[Hashable, ...] | None:
        if type(self._held) in (list, tuple):
            return range(len(self._held))
        return tuple(self._held) if type(self._held) is dict else None

    def part(self, key: Any) -> Held:
        return Held(self._held[key])


def resolved(value: Any) -> Any:
    """`value` with each handle in it replaced by a fresh copy of what it stands for."""
    if isinstance(value, Result):
        return value.content.load()
    if type(value) in (list, tuple):
        return type(value)(resolved(item) for item in value)
    if type(value) is dict:
        return {key: resolved(item) for key, item in value.items()}
    return value


def results_in(value: Any) -> Iterator[Result]:
    """The handles in `value`, as deep as `resolved` looks."""
    if isinstance(value, Results):
        yield from value.parts or value.sources
    elif isinstance(value, Result):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from results_in(item)
    elif type(value) is dict:
        for item in value.values():
            yield from results_in(item)

"""Several deployments in one process: each has a `Responder` of its own, found by the name in the path.

What names no deployment is asked of all of them and joined.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from headway.errors import HeadwayError, Invalid, NotFound
from headway.serving.dialects.protocol import encode, encode_error
from headway.serving.door import Door
from headway.serving.inference import status_of
from headway.serving.messages import Answer, Head
from headway.serving.responder import METRICS, Responder
from headway.serving.turn import Tell, Turn

LOOK_INTERVAL_S = 0.5
_NAMED = re.compile(r"/(?:v2/models|v1/predict|v2/repository/models)/([^/]+)")
_OF_THE_PROCESS = ("headway_workers", "process_resident_memory_bytes")

log = logging.getLogger(__name__)
Said = dict[str, Answer]


class Deployments:
    """Those whose tables are in `folder`, each as `{deployment}.json`; `opened` makes the responder of one."""

    def __init__(self, folder: Path, opened: Callable[[str], Responder], most_bytes: int, turn: Turn) -> None:
        self._folder, self._opened, self.most_bytes, self.turn = folder, opened, most_bytes, turn
        self.door = Door(by_turn=True)
        self._responders: dict[str, Responder] = {}
        self._by_path: dict[str, Responder] = {}
        self._met, self._stopping = False, asyncio.Event()

    async def start(self) -> None:
        """Load every table, then keep looking for new ones and for those that are gone."""
        await self._look()
        self._watch = asyncio.create_task(self._look_on())

    async def meet(self) -> None:
        self._met = True
        for responder in self._responders.values():
            await responder.meet()

    async def stop(self) -> None:
        """Return once all that was captured is written."""
        self._stopping.set()
        await self._watch
        await asyncio.gather(*(responder.stop() for responder in self._responders.values()))

    def put_off(self, path: str, head: Head, body: bytes, peer: bytes, tell: Tell) -> bool:
        responder = self._by_path.get(path)
        return responder is not None and responder.put_off(path, head, body, peer, tell)

    def respond(self, method: str, path: str, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]:
        """The answer to a request, as `Responder` has it."""
        responder = self._by_path.get(path)
        try:
            responder = responder or self._named(path, head)
        except HeadwayError as error:
            return Answer(status_of(error), encode_error(str(error)))
        if responder is not None:
            return responder.respond(method, path, head, body)
        return self._of_all(method, path)

    async def _look_on(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_INTERVAL_S)
            try:
                await self._look()
            except Exception:  # whatever is wrong with one deployment must not end the others
                log.exception("deployments not looked at")

    async def _look(self) -> None:
        names = {file.stem for file in self._folder.glob("*.json")}
        for gone in self._responders.keys() - names:
            self._by_path.pop(_infer_path(gone), None)
            await self._responders.pop(gone).stop()
        for new in sorted(names - self._responders.keys()):
            responder = self._opened(new)
            await responder.start()
            if self._met:
                await responder.meet()
            self._responders[new] = self._by_path[_infer_path(new)] = responder

    def _named(self, path: str, head: Head) -> Responder | None:
        """Raises `NotFound`, and `Invalid` where a deployment must be named and is not."""
        if path == "/invocations":
            name = head.deployment.decode("latin-1") or (next(iter(self._responders)) if self._is_one() else "")
            if not name:
                raise Invalid("several deployments are served here; name one in the header Headway-Deployment")
        elif (match := _NAMED.match(path)) is None or path == "/v2/models/stats":
            return None
        else:
            name = match[1]
        if (responder := self._responders.get(name)) is None:
            raise NotFound(f"there is no model {name[:200]!r} here; /v2/repository/index lists what is served")
        return responder

    def _is_one(self) -> bool:
        return len(self._responders) == 1

    async def _of_all(self, method: str, path: str) -> Answer:
        responders = dict(self._responders)  # some may come and go meanwhile
        if not responders:
            return Answer(503, encode_error("there is no routing table yet"))
        answers = await asyncio.gather(*(_asked(each, method, path) for each in responders.values()))
        said = dict(zip(responders, answers, strict=True))
        worst = max(answers, key=lambda answer: answer.status)
        if worst.status != 200:
            return worst
        join = _JOINS.get(path)
        return join(said) if join else worst


async def _asked(responder: Responder, method: str, path: str) -> Answer:
    answer = responder.respond(method, path, Head(), b"")
    return answer if isinstance(answer, Answer) else await answer


def _infer_path(name: str) -> str:
    return f"/v2/models/{name}/infer"


def _by_name(said: Said) -> Answer:
    return Answer(200, encode({"deployments": {name: msgspec.Raw(each.body) for name, each in said.items()}}))


def _listed(said: Said) -> Answer:
    return Answer(200, encode([entry for each in said.values() for entry in msgspec.json.decode(each.body)]))


def _statistics(said: Said) -> Answer:
    stats = [entry for each in said.values() for entry in msgspec.json.decode(each.body)["model_stats"]]
    return Answer(200, encode({"model_stats": stats}))


def _described(said: Said) -> Answer:
    documents: list[dict[str, Any]] = [msgspec.json.decode(each.body) for each in said.values()]
    paths = {path: about for document in documents for path, about in document["paths"].items()}
    for path, about in paths.items():
        about["post"]["operationId"] = "predict_" + path.rpartition("/")[2]
    return Answer(200, encode(documents[0] | {"info": {"title": "headway", "version": "1"}, "paths": paths}))


def _metrics(said: Said) -> Answer:
    families: dict[str, list[str]] = {}
    for name, answer in said.items():
        _collect(families, name, answer.body.decode().splitlines())
    return Answer(200, ("\n".join(line for lines in families.values() for line in lines) + "\n").encode(), METRICS)


def _collect(families: dict[str, list[str]], deployment: str, lines: Iterable[str]) -> None:
    """Add the samples of one deployment to their families, under its name."""
    family = ""
    for line in lines:
        if line.startswith("# TYPE"):
            family = line.split()[2]
            families.setdefault(family, [line])
        elif family not in _OF_THE_PROCESS:
            name, brace, rest = line.partition("{")
            label = f'deployment="{deployment}"'
            name, value = (name, f"{label},{rest}") if brace else (line.split()[0], f"{label}}} {line.split()[1]}")
            families[family].append(f"{name}{{{value}")
        elif len(families[family]) == 1:
            families[family].append(line)


_JOINS: dict[str, Callable[[Said], Answer]] = {
    "/v1/status": _by_name,
    "/v1/flush": _by_name,
    "/v2/repository/index": _listed,
    "/v2/models/stats": _statistics,
    "/v1/openapi.json": _described,
    "/metrics": _metrics,
}

"""Links that stand in for a token."""

from __future__ import annotations

import pytest

from headway.errors import Forbidden
from headway.kernel.access import Actor, Role
from headway.server.links import LASTS, Links
from headway.testing.memory import FrozenClock

PATH = "/api/2.0/mlflow-artifacts/artifacts/0/a b/ü%41.txt"
AUTHOR = Actor(name="an author & more", role=Role.AUTHOR)


def scope(link: str, path: str = PATH, method: str = "GET") -> dict[str, object]:
    return {"method": method, "path": path, "query_string": link.partition("?")[2].encode()}


def test_a_link_speaks_for_its_maker_until_it_expires() -> None:
    clock = FrozenClock()
    links = Links(clock)
    link = links.signed("GET", PATH, AUTHOR)
    assert links.actor(scope(link)) == AUTHOR
    clock.advance(LASTS.total_seconds() - 1)
    assert links.actor(scope(link)) == AUTHOR
    clock.advance(2)
    with pytest.raises(Forbidden, match="expired"):
        links.actor(scope(link))


def test_a_link_is_for_one_request_of_one_server() -> None:
    clock = FrozenClock()
    links = Links(clock)
    link = links.signed("GET", PATH, AUTHOR)
    for other in (scope(link, method="PUT"), scope(link, path=PATH + "x")):
        with pytest.raises(Forbidden, match="not made"):
            links.actor(other)
    with pytest.raises(Forbidden, match="not made"):
        Links(clock).actor(scope(link))
    assert links.actor(scope(link, path="/v1/runs")) is None
    assert links.actor(scope("/x?y=1")) is None

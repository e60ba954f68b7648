"""The platform without a server: the same application in this process."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import pytest

from headway.errors import BadSettings, NotSignedIn, Unreachable
from headway.kernel.access import SYSTEM, Role
from headway.server.app import compose
from headway.server.home import Home
from headway.server.local import local_token, local_transport
from headway.server.settings import Settings


def client_of(home: Path) -> httpx2.Client:
    transport = local_transport(home)
    return httpx2.Client(
        transport=transport, base_url="http://localhost", headers={"authorization": f"Bearer {local_token(home)}"}
    )


def test_two_at_a_time_share_a_home_and_the_next_finds_what_they_wrote(home: Path) -> None:
    with client_of(home) as one, client_of(home) as other:
        run = one.post("/v1/runs", json={"experiment": "e"}).json()
        assert other.get(f"/v1/runs/{run['id']}").json() == run
    with client_of(home) as later:
        assert later.get(f"/v1/runs/{run['id']}").json() == run


def test_threads_share_a_transport(home: Path) -> None:
    codes: list[int] = []
    with client_of(home) as client:

        def write() -> None:
            codes.extend(client.post("/v1/runs", json={"experiment": "e"}).status_code for _ in range(5))

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == [201] * 20


def test_a_closed_transport_says_so_and_closes_twice(home: Path) -> None:
    before = threading.active_count()
    transport = local_transport(home)
    transport.close()
    transport.close()
    assert threading.active_count() == before
    with pytest.raises(Unreachable, match="connect again"):
        transport.handle_request(httpx2.Request("GET", "http://localhost/health"))


def test_a_home_without_tokens_says_so(home: Path) -> None:
    with pytest.raises(NotSignedIn, match="HEADWAY_TOKEN"):
        local_token(home)


def test_token_files_are_made_once_and_made_again_when_lost(home: Path) -> None:
    names = (Role.OWNER, Role.WORKER, Role.GATEKEEPER)
    first = compose(Settings(home=home))
    secrets = [Home(home).token(name).read_text() for name in names]
    assert [first.platform.access.actor(secret).role for secret in secrets] == list(names)
    first.close()

    again = compose(Settings(home=home))
    assert [Home(home).token(name).read_text() for name in names] == secrets
    again.platform.access.revoke("worker", by=SYSTEM)
    again.close()
    Home(home).token("owner").unlink()

    third = compose(Settings(home=home))
    assert Home(home).token("owner").read_text() != secrets[0]
    with pytest.raises(NotSignedIn):
        third.platform.access.actor(secrets[0])
    with pytest.raises(NotSignedIn):  # what was revoked on purpose stays revoked
        third.platform.access.actor(Home(home).token("worker").read_text())
    third.close()


def test_a_token_file_that_others_may_read_is_refused(home: Path) -> None:
    compose(Settings(home=home)).close()
    Home(home).token("owner").chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        compose(Settings(home=home))

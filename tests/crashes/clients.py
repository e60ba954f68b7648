"""Clients that ask a deployment's endpoint all the time, whatever else is killed meanwhile."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit

from tests.journeys.world import World

_PAUSE_S = 0.01
_ROWS = 4


class Clients:
    """As a context manager it asks until the end of its block; `failures` tells of every answer but 200."""

    def __init__(self, world: World) -> None:
        self._world = world
        address = urlsplit(world.owner.deployments.endpoint(world.deployment).url)
        self._host, self._port = address.hostname or "", address.port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked = 0
        """Rows that were answered."""
        self.failures: list[str] = []

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def flush(self) -> None:
        """Have the model server hand over all that it captured."""
        status, answer = self._post("/v1/flush", b"")
        assert status == 200, answer

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            status, answer = self._post(f"/v2/models/{self._world.deployment}/infer", _request(number))
            if status == 200:
                self.asked += _ROWS
            else:
                self.failures.append(f"{status}: {answer}")
            time.sleep(_PAUSE_S)

    def _post(self, path: str, body: bytes) -> tuple[int, str]:
        line = http.client.HTTPConnection(self._host, self._port, timeout=10)
        try:
            line.request("POST", path, body, {"content-type": "application/json"})
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        finally:
            line.close()


def _request(number: int) -> bytes:
    data = [number % 7 / 7] * _ROWS
    tensor = {"name": "x", "datatype": "FP32", "shape": [_ROWS, 1], "data": data}
    return json.dumps({"inputs": [tensor], "parameters": {"key": f"client {number}"}}).encode()

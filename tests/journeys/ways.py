"""The ways in: the same verbs through the SDK, over plain HTTP, and on the command line.

Each answers with plain values as JSON has them, and raises `Refusal` with the code of the platform's error.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx2
import msgspec
from click.testing import CliRunner

from headway.cli.main import main
from headway.client.client import Client
from headway.client.connect import connect
from headway.client.frames import parquet_of
from headway.errors import HeadwayError
from headway.kernel.records import digest, encode
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.datasets.contract import Contract

Answer = Any


class Refusal(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Way(Protocol):
    def add_dataset(self, name: str, file: Path, contract: Contract) -> Answer: ...
    def open_change(self, **command: Any) -> Answer: ...
    def change(self, number: int) -> Answer: ...
    def changes(self) -> list[Answer]: ...
    def approve(self, number: int, reason: str) -> Answer: ...
    def cancel(self, number: int, reason: str) -> Answer: ...
    def check_release(self, identifier: str) -> Answer: ...
    def endpoint(self, deployment: str) -> Answer: ...
    def served(self, deployment: str, at: str) -> Answer: ...
    def alerts(self) -> list[Answer]: ...
    def why(self, subject: str) -> list[str]:
        """The reasons that the ledger has for what was written of `subject`."""
        ...

    def verify(self) -> int: ...
    def close(self) -> None: ...


class Sdk:
    """`headway.client.Client`."""

    def __init__(self, url: str, secret: str) -> None:
        self._client: Client = connect(url, token=secret)

    def add_dataset(self, name: str, file: Path, contract: Contract) -> Answer:
        return self._plain(lambda: self._client.datasets.add(name, file, contract=contract))

    def open_change(self, **command: Any) -> Answer:
        return self._plain(lambda: self._client.changes.open(OpenChange(**command)))

    def change(self, number: int) -> Answer:
        return self._plain(lambda: self._client.changes.get(str(number)))

    def changes(self) -> list[Answer]:
        return list(self._plain(lambda: self._client.changes.list().items))

    def approve(self, number: int, reason: str) -> Answer:
        return self._plain(lambda: self._client.changes.approve(str(number), reason))

    def cancel(self, number: int, reason: str) -> Answer:
        return self._plain(lambda: self._client.changes.cancel(str(number), reason))

    def check_release(self, identifier: str) -> Answer:
        return self._plain(lambda: self._client.releases.check(identifier))

    def endpoint(self, deployment: str) -> Answer:
        return self._plain(lambda: self._client.deployments.endpoint(deployment))

    def served(self, deployment: str, at: str) -> Answer:
        return self._plain(lambda: self._client.deployments.served(deployment, datetime.fromisoformat(at)))

    def alerts(self) -> list[Answer]:
        return list(self._plain(lambda: self._client.alerts.list().items))

    def why(self, subject: str) -> list[str]:
        return [entry["why"] for entry in self._plain(lambda: self._client.ledger.list(subject=subject))]

    def verify(self) -> int:
        return int(self._plain(self._client.ledger.verify))

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def _plain(call: Any) -> Answer:
        try:
            return msgspec.to_builtins(call())
        except HeadwayError as error:
            raise Refusal(error.code, str(error)) from error


class Http:
    """Requests as the API's documentation has them."""

    def __init__(self, url: str, secret: str) -> None:
        self._http = httpx2.Client(base_url=url, headers={"authorization": f"Bearer {secret}"}, timeout=30)

    def add_dataset(self, name: str, file: Path, contract: Contract) -> Answer:
        data = parquet_of(file)
        self._send("PUT", f"/v1/blobs/{digest(data)}", data)
        return self._post("/v1/datasets/versions", {"dataset": name, "blob": digest(data), "contract": contract})

    def open_change(self, **command: Any) -> Answer:
        return self._post("/v1/changes", command)

    def change(self, number: int) -> Answer:
        return self._get(f"/v1/changes/{number}")

    def changes(self) -> list[Answer]:
        return list(self._get("/v1/changes")["items"])

    def approve(self, number: int, reason: str) -> Answer:
        return self._post(f"/v1/changes/{number}/approve", {"reason": reason})

    def cancel(self, number: int, reason: str) -> Answer:
        return self._post(f"/v1/changes/{number}/cancel", {"reason": reason})

    def check_release(self, identifier: str) -> Answer:
        return self._post(f"/v1/releases/{identifier}/check", None)

    def endpoint(self, deployment: str) -> Answer:
        return self._get(f"/v1/deployments/{deployment}/endpoint")

    def served(self, deployment: str, at: str) -> Answer:
        return self._get(f"/v1/deployments/{deployment}/served", at=at)

    def alerts(self) -> list[Answer]:
        return list(self._get("/v1/alerts")["items"])

    def why(self, subject: str) -> list[str]:
        return [entry["why"] for entry in self._get("/v1/ledger", subject=subject)]

    def verify(self) -> int:
        return int(self._post("/v1/ledger/verify", None)["entries"])

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **query: str) -> Answer:
        return self._send("GET", path, query=query)

    def _post(self, path: str, body: Any) -> Answer:
        return self._send("POST", path, b"" if body is None else encode(body))

    def _send(self, method: str, path: str, content: bytes = b"", query: dict[str, str] | None = None) -> Answer:
        answer = self._http.request(method, path, content=content, params=query)
        body = answer.json()
        if answer.status_code >= 400:
            raise Refusal(body["error"]["code"], body["error"]["message"])
        return body


class CommandLine:
    """`headway ... --json`, in this process."""

    def __init__(self, url: str, secret: str) -> None:
        self._env = {"HEADWAY_URL": url, "HEADWAY_TOKEN": secret}

    def add_dataset(self, name: str, file: Path, contract: Contract) -> Answer:
        rules = file.with_suffix(".contract.json")
        rules.write_bytes(encode(contract))
        return self._run("dataset", "add", name, str(file), "--contract", str(rules))

    def open_change(self, **command: Any) -> Answer:
        options = {"deployment": "--to", "model_version": "--model"}
        arguments: list[str] = []
        for name, value in command.items():
            if name == "params":
                arguments += [f"-p{key}={each}" for key, each in value.items()]
            else:
                arguments += [options.get(name, "--" + name.replace("_", "-")), value]
        return self._run("change", "open", *arguments)

    def change(self, number: int) -> Answer:
        return self._run("change", "show", str(number))

    def changes(self) -> list[Answer]:
        return list(self._run("change", "list")["items"])

    def approve(self, number: int, reason: str) -> Answer:
        return self._run("change", "approve", str(number), "--why", reason)

    def cancel(self, number: int, reason: str) -> Answer:
        return self._run("change", "cancel", str(number), "--why", reason)

    def check_release(self, identifier: str) -> Answer:
        return self._run("release", "check", identifier)

    def endpoint(self, deployment: str) -> Answer:
        return self._run("deployment", "show", deployment)["endpoint"]

    def served(self, deployment: str, at: str) -> Answer:
        return self._run("deployment", "served", deployment, "--at", at)

    def alerts(self) -> list[Answer]:
        return list(self._run("alert", "list")["items"])

    def why(self, subject: str) -> list[str]:
        return [entry["why"] for entry in self._run("ledger", "show", subject)["items"]]

    def verify(self) -> int:
        return int(self._run("ledger", "verify")["entries"])

    def close(self) -> None:
        """Each command closes what it opened."""

    def _run(self, *arguments: str) -> Answer:
        done = CliRunner().invoke(main, [*arguments, "--json"], env=self._env)
        if done.exit_code:
            error = json.loads(done.stderr)["error"]
            raise Refusal(error["code"], error["message"])
        return json.loads(done.stdout)


WAYS: dict[str, type[Sdk] | type[Http] | type[CommandLine]] = {"sdk": Sdk, "http": Http, "cli": CommandLine}

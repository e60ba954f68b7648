"""Addresses of remotes: what may be one, and opening it. Credentials come from where the provider looks for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from headway.errors import BadSettings

Advance = Callable[[int], None]
"""Is told of bytes that have gone over the line."""
CHUNK_BYTES = 4 << 20
SCHEMES = ("s3", "gs", "az", "abfs", "abfss")


def checked_address(text: str) -> str:
    """`text` if it may be a remote: a folder, or a URL of an object store without secrets in it.

    Raises `BadSettings` otherwise.
    """
    if "://" not in text:
        return str(Path(text).expanduser().absolute())
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query or parts.fragment:
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
    plain = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", "")).startswith("http://")
    try:
        if plain and address.startswith("s3://"):
            return from_url(address, client_options={"allow_http": True})
        return from_url(address)
    except (BaseError, ValueError) as error:
        raise BadSettings(f"{urlsplit(address).scheme}:// cannot be opened: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]

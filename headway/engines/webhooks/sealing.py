"""Secrets at rest: AES-256 in GCM (NIST SP 800-38D), bound to the record that they belong to."""

from __future__ import annotations

import binascii
import secrets
from base64 import b64decode, b64encode
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headway.engines.secret import make_secret
from headway.errors import BadSettings, Unavailable

_NONCE_BYTES = 12
_KEY_BYTES = 32


class AesSealer:
    """Implements `Sealer` with the key in `key_file`, which is made on first use."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    @cached_property
    def _cipher(self) -> AESGCM:
        key = make_secret(self._key_file, secrets.token_bytes(_KEY_BYTES))
        if len(key) != _KEY_BYTES:
            raise BadSettings(f"{self._key_file} holds no key; restore it from a backup of the home")
        return AESGCM(key)

    def seal(self, secret: str, place: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), place.encode())).decode()

    def unseal(self, sealed: str, place: str) -> str:
        try:
            data = b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Unavailable(
                f"a secret of {place} cannot be read with {self._key_file.name}; restore it, or give the secret again"
            ) from error

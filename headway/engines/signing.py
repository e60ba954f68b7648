"""Signatures of releases: Ed25519 (RFC 8032) in DSSE envelopes (https://github.com/secure-systems-lab/dsse)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headway.engines.secret import make_secret
from headway.errors import BadSettings, GateRefused
from headway.kernel.records import digest
from headway.lifecycle.releases.records import Envelope


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature covers: type and payload, each with its length, so that neither can run into the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


class Ed25519Signer:
    """Signs with the key in `key_file` (PKCS 8 in PEM), which is made on first use and never leaves this object.

    Raises `BadSettings` when the file is no such key or may be read by other users.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        fresh = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            key = serialization.load_pem_private_key(make_secret(self._key_file, fresh), password=None)
        except (ValueError, TypeError) as error:
            raise BadSettings(f"{self._key_file} holds no key; restore it from a backup of the home") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadSettings(f"{self._key_file} holds a key that is not Ed25519; restore it from a backup of the home")
        return key

    @cached_property
    def key_id(self) -> str:
        """BLAKE3 of the 32 bytes of the public key."""
        return digest(self._key.public_key().public_bytes_raw())

    def sign(self, payload_type: str, payload: bytes) -> Envelope:
        signature = self._key.sign(pre_authentication_encoding(payload_type, payload))
        return Envelope(
            payload_type=payload_type,
            payload=b64encode(payload).decode(),
            key=self.key_id,
            signature=b64encode(signature).decode(),
        )

    def check(self, envelope: Envelope) -> bytes:
        """The payload; raises `GateRefused` for another key or a signature that does not hold."""
        if envelope.key != self.key_id:
            raise GateRefused(
                f"this was signed with another key ({envelope.key[:20]}); its home has {self.key_id[:20]}"
            )
        try:
            payload = b64decode(envelope.payload, validate=True)
            signature = b64decode(envelope.signature, validate=True)
            self._key.public_key().verify(signature, pre_authentication_encoding(envelope.payload_type, payload))
        except (InvalidSignature, binascii.Error) as error:
            raise GateRefused("the signature does not hold: what was signed has been changed since") from error
        return payload

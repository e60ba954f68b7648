"""Signatures of releases."""

from __future__ import annotations

import stat
import threading
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.signing import Ed25519Signer, pre_authentication_encoding
from headway.errors import BadSettings, GateRefused

KIND = "application/vnd.headway.release+json"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "keys" / "releases.pem"


def test_what_is_signed_is_what_the_dsse_specification_says() -> None:
    # the example of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_signature_holds_for_whoever_has_the_public_key(key_file: Path) -> None:
    signer = Ed25519Signer(key_file)
    envelope = signer.sign(KIND, b"{}")
    assert signer.check(envelope) == b"{}"
    assert Ed25519Signer(key_file).check(envelope) == b"{}"
    private = serialization.load_pem_private_key(key_file.read_bytes(), None)
    public = private.public_key()
    assert isinstance(public, Ed25519PublicKey)
    public.verify(b64decode(envelope.signature), pre_authentication_encoding(KIND, b"{}"))


def test_the_key_is_for_its_owner_alone(key_file: Path, tmp_path: Path) -> None:
    Ed25519Signer(key_file).sign(KIND, b"")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert [file.name for file in key_file.parent.iterdir()] == ["releases.pem"]
    open_file = tmp_path / "open.pem"
    open_file.write_bytes(key_file.read_bytes())
    open_file.chmod(0o640)
    with pytest.raises(BadSettings, match="chmod 600"):
        Ed25519Signer(open_file).sign(KIND, b"")


@given(payload=st.binary(max_size=100), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_changed_bit_goes_unseen(key_file: Path, payload: bytes, place: int, bit: int) -> None:
    signer = Ed25519Signer(key_file)
    envelope = signer.sign(KIND, payload)
    assert signer.check(envelope) == payload
    for field in ("signature", "payload"):
        raw = bytearray(b64decode(getattr(envelope, field)))
        if raw:
            raw[place % len(raw)] ^= 1 << bit
            with pytest.raises(GateRefused, match="changed since"):
                signer.check(envelope.but(**{field: b64encode(raw).decode()}))
    with pytest.raises(GateRefused, match="changed since"):
        signer.check(envelope.but(payload_type=KIND + "x"))
    with pytest.raises(GateRefused, match="changed since"):
        signer.check(envelope.but(signature="not base 64!"))


def test_another_key_does_not_count(key_file: Path, tmp_path: Path) -> None:
    envelope = Ed25519Signer(tmp_path / "other.pem").sign(KIND, b"{}")
    with pytest.raises(GateRefused, match="another key"):
        Ed25519Signer(key_file).check(envelope)


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.pem"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(BadSettings, match="holds no key"):
        Ed25519Signer(file).sign(KIND, b"")


def test_a_key_of_another_kind_is_said(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    encodings = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(generate_private_key(SECP256R1()).private_bytes(*encodings))
    file.chmod(0o600)
    with pytest.raises(BadSettings, match="not Ed25519"):
        Ed25519Signer(file).sign(KIND, b"")


def test_those_who_make_the_key_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    file, ids = tmp_path / "keys" / "key.pem", set[str]()
    threads = [threading.Thread(target=lambda: ids.add(Ed25519Signer(file).key_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 1

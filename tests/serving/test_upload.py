"""Segments are sent to servers of all kinds; what none of them answers is an `OSError`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headway.serving.capture.upload import put

DATA = b"x" * 300_000


@contextmanager
def answering(
    *pieces: bytes, stays: bool = False, secured: ssl.SSLContext | None = None
) -> Iterator[tuple[str, bytearray]]:
    """The address of a server that takes one request and answers `pieces`, then hangs up unless it `stays`; and what
    it was sent."""
    heard, gone = bytearray(), socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening, gone[0], gone[1]:

        def serve() -> None:
            connection, _ = listening.accept()
            with suppress(OSError), secured.wrap_socket(connection, True) if secured else connection as connection:
                while not heard.endswith(DATA):
                    heard.extend(connection.recv(1 << 16))
                for piece in pieces:
                    connection.sendall(piece)
                if stays:
                    gone[1].recv(1)

        thread = Thread(target=serve)
        thread.start()
        yield f"{'https' if secured else 'http'}://127.0.0.1:{listening.getsockname()[1]}/v1/x", heard
        gone[0].close()
        thread.join()


def test_the_status_is_told_and_the_request_is_whole() -> None:
    with answering(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}") as (url, heard):
        assert put(url, DATA, {"Authorization": "Bearer t"}) == 201
    head, _, body = bytes(heard).partition(b"\r\n\r\n")
    assert body == DATA
    assert head.startswith(b"PUT /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Length: 300000\r\n" in head
    assert head.endswith(b"\r\nAuthorization: Bearer t")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 409 Conflict\r\n", b"content-length: 0\r\n\r\n"),
        (b"HTTP/1.1 409 Conflict\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{", b"}\r\n0\r\n\r\n"),
        (b"HTTP/1.0 409 Conflict\r\n\r\nthere already",),
        (b"HTTP/1.1 409 Conflict\r\ncontent-length: 100\r\n\r\ncut off",),
    ],
)
def test_every_form_of_an_answer_is_read(pieces: tuple[bytes, ...]) -> None:
    with answering(*pieces) as (url, _):
        assert put(url, DATA, {}) == 409


def test_an_answer_without_an_end_is_not_read_for_ever() -> None:
    with answering(b"HTTP/1.1 500 Broken\r\ncontent-length: 3000000\r\n\r\n", b"x" * 2_000_000, stays=True) as (url, _):
        assert put(url, DATA, {}) == 500


@pytest.mark.parametrize(
    ("pieces", "message"),
    [((b"SSH-2.0-x\r\n",), "does not speak HTTP"), ((), "closed before"), ((b"HTTP/1.1 2",), "closed before")],
)
def test_what_is_no_answer_is_an_error(pieces: tuple[bytes, ...], message: str) -> None:
    with answering(*pieces) as (url, _), pytest.raises(OSError, match=message):
        put(url, DATA, {})


def test_silence_has_an_end() -> None:
    with answering(stays=True) as (url, _), pytest.raises(TimeoutError):
        put(url, DATA, {}, timeout_s=0.2)


def test_only_a_known_certificate_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(certificate)
    answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
    with answering(answer, secured=secured) as (url, heard):
        with pytest.raises(ssl.SSLCertVerificationError):
            put(url, DATA, {})
        assert not heard
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering(answer, secured=secured) as (url, heard):
        assert put(url, DATA, {}) == 201
        assert heard.endswith(DATA)


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    file = folder / "here.pem"
    file.write_bytes(made)
    return file


def test_what_speaks_no_tls_is_refused() -> None:
    with answering(b"no TLS") as (url, heard):
        heard.extend(DATA)  # is not waited for
        with pytest.raises(OSError, match="SSL"):
            put(url.replace("http:", "https:"), DATA, {})


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "127.0.0.1:80/x", "http://127.0.0.1/a b\n"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(OSError, match=r"address|refused"):
        put(url, DATA, {})


def test_a_header_cannot_begin_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(OSError, match="letters"):
        put(f"http://127.0.0.1:{listening.getsockname()[1]}/x", DATA, {"Authorization": "Bearer a\r\nx: y"})

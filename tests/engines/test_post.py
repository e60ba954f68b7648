"""Requests to addresses that a client gave, against real receivers on loopback."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headway.engines.webhooks.post import GuardedPost
from headway.engines.webhooks.sealing import AesSealer
from headway.errors import BadSettings, Unavailable
from headway.lifecycle.webhooks.records import Parcel
from tests.engines.receivers import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def parcel(url: str) -> Parcel:
    return Parcel(
        url=url, headers={"Content-Type": "application/json", "X-MLflow-Delivery-Id": "wd_1"}, body=b'{"a":1}'
    )


def test_a_parcel_arrives_as_it_was_given(receiver: Receiver) -> None:
    attempt = GuardedPost((receiver.listing,)).send(parcel(receiver.url))
    assert (attempt.status, attempt.answer, attempt.error) == (200, "ok", "")
    ((path, headers, body),) = receiver.got
    assert (path, body) == ("/hook?x=1", b'{"a":1}')
    assert headers["host"] == receiver.listing
    assert headers["x-mlflow-delivery-id"] == "wd_1"
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [301, 302, 307])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    assert GuardedPost((receiver.listing,)).send(parcel(receiver.url)).status == status
    assert len(receiver.got) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "https://[::1]:{port}/"])
def test_this_machine_is_not_told_unless_it_is_listed(receiver: Receiver, url: str) -> None:
    attempt = GuardedPost().send(parcel(url.format(port=receiver.port)))
    assert attempt.hopeless
    assert receiver.got == []


class Rebinding:
    """A name that is public when it is first asked for, and this machine afterwards."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


PRIVATE = [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["fe80::1%1"], ["::1"]]


@pytest.mark.parametrize("addresses", PRIVATE)
def test_a_name_that_leads_inside_is_not_connected_to(receiver: Receiver, addresses: list[str]) -> None:
    attempt = GuardedPost(resolve=lambda host, port: addresses).send(parcel(f"https://a.example:{receiver.port}/"))
    assert attempt.hopeless
    assert "not a public address" in attempt.error
    assert receiver.got == []


def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(receiver: Receiver) -> None:
    listed = (f"a.example:{receiver.port}",)
    resolve = Rebinding(["127.0.0.1"], ["169.254.169.254"])
    assert GuardedPost(listed, resolve=resolve).send(parcel(f"http://a.example:{receiver.port}/")).delivered
    assert resolve.asked == 1
    assert receiver.got[0][1]["host"] == f"a.example:{receiver.port}"
    again = GuardedPost(listed, resolve=resolve).send(parcel(f"http://a.example:{receiver.port}/"))
    assert (again.hopeless, len(receiver.got)) == (True, 1)


_LONG_S = 30.0
"""What a receiver goes on for that is not cut off: it ends then, and the attempt tells of that and of no time."""


def _dribble(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(int(_LONG_S / 0.05)):
        answer.wfile.write(b"x")
        answer.wfile.flush()
        time.sleep(0.05)


def _dribble_headers(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(int(_LONG_S / 0.05)):
        answer.wfile.write(b"x-%d: y\r\n" % number)
        answer.wfile.flush()
        time.sleep(0.05)


def _nothing(answer: BaseHTTPRequestHandler) -> None:
    time.sleep(_LONG_S)


def _rubbish(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"\x00\x01 not http\r\n\r\n")
    answer.close_connection = True


def _endless(answer: BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        answer.wfile.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")


@pytest.mark.parametrize("answer", [_dribble, _dribble_headers, _nothing])
def test_a_receiver_that_takes_its_time_is_cut_off(receiver: Receiver, answer: object) -> None:
    receiver.answers = [answer]  # type: ignore[list-item]
    attempt = GuardedPost((receiver.listing,), whole_s=0.5).send(parcel(receiver.url))
    assert (attempt.status, attempt.hopeless) == (0, False)
    assert "time" in attempt.error or "within" in attempt.error


def test_an_endless_answer_is_read_to_a_limit(receiver: Receiver) -> None:
    receiver.answers = [_endless]
    attempt = GuardedPost((receiver.listing,)).send(parcel(receiver.url))
    assert (attempt.status, len(attempt.answer)) == (200, 1000)


def test_rubbish_and_nobody_are_errors_that_may_pass(receiver: Receiver) -> None:
    receiver.answers = [_rubbish]
    rubbish = GuardedPost((receiver.listing,)).send(parcel(receiver.url))
    nobody = GuardedPost(("127.0.0.1:1",)).send(parcel("http://127.0.0.1:1/"))
    unknown = GuardedPost(resolve=_unknown).send(parcel("https://nowhere.example/"))
    for attempt in (rubbish, nobody, unknown):
        assert (attempt.status, attempt.hopeless, bool(attempt.error)) == (0, False, True)


def _unknown(host: str, port: int) -> Sequence[str]:
    raise OSError("Name or service not known")


def certified(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for `name` that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


def test_https_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    certificate, private = certified(tmp_path, "hooks.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, private)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with receiving(server) as receiver:
        listed = (f"hooks.example:{receiver.port}", f"other.example:{receiver.port}")

        def send(name: str, context: ssl.SSLContext | None) -> object:
            post = GuardedPost(listed, resolve=lambda host, port: ["127.0.0.1"], context=context)
            attempt = post.send(parcel(f"https://{name}:{receiver.port}/"))
            return attempt.status or "certificate" in attempt.error

        assert send("hooks.example", trusting) == 200
        assert send("other.example", trusting) is True
        assert send("hooks.example", None) is True
        assert len(receiver.got) == 1


def test_a_secret_opens_where_it_was_sealed_and_nowhere_else(tmp_path: Path) -> None:
    sealer = AesSealer(tmp_path / "keys" / "webhooks.key")
    sealed = sealer.seal("s3cret", "wh_1")
    assert "s3cret" not in sealed
    assert sealer.seal("s3cret", "wh_1") != sealed
    assert AesSealer(tmp_path / "keys" / "webhooks.key").unseal(sealed, "wh_1") == "s3cret"
    assert (tmp_path / "keys" / "webhooks.key").stat().st_mode & 0o777 == 0o600
    for wrong, place in ((sealed, "wh_2"), (sealed[:-4] + "AAA=", "wh_1"), ("!!", "wh_1"), ("", "wh_1")):
        with pytest.raises(Unavailable, match="cannot be read"):
            sealer.unseal(wrong, place)
    with pytest.raises(Unavailable):
        AesSealer(tmp_path / "another").unseal(sealed, "wh_1")
    (tmp_path / "short").write_bytes(b"k")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(BadSettings):
        AesSealer(tmp_path / "short").seal("s", "wh_1")

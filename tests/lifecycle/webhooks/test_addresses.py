"""Where a webhook may lead: one spelling of an URL, public addresses only, and no way around either."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import HeadwayError, Invalid, Refused
from headway.lifecycle.webhooks.addresses import (
    checked_listing,
    destination,
    is_public,
    must_be_reachable,
    never,
)

PUBLIC = ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "192.0.0.1",
    "192.0.2.1", "192.168.1.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "100.100.100.200", "168.63.129.16",
    "::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:808:808::1", "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "224.0.0.1", "::ffff:a9fe:a9fe"]
)
def test_addresses_that_a_listed_name_does_not_reach_either(text: str) -> None:
    where = destination("https://inside.example/x", ["inside.example"])
    assert never(ip_address(text))
    with pytest.raises(Refused, match="not a public address"):
        must_be_reachable([ip_address(text)], where, ["inside.example"])


GOOD = [
    ("https://example.com", "https", "example.com", 443, "/", "example.com"),
    ("https://Example.COM/a?b=c%20d", "https", "example.com", 443, "/a?b=c%20d", "example.com"),
    ("https://example.com.:8443/x", "https", "example.com", 8443, "/x", "example.com:8443"),
    ("https://example.com?x", "https", "example.com", 443, "/?x", "example.com"),
    ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
    ("https://8.8.8.8/", "https", "8.8.8.8", 443, "/", "8.8.8.8"),
    ("https://[2001:4860:4860:0::8888]:9/", "https", "2001:4860:4860::8888", 9, "/", "[2001:4860:4860::8888]:9"),
]


@pytest.mark.parametrize(("url", "scheme", "host", "port", "path", "netloc"), GOOD)
def test_what_a_webhook_may_be_told_at(url: str, scheme: str, host: str, port: int, path: str, netloc: str) -> None:
    found = destination(url)
    assert (found.scheme, found.host, found.port, found.path, found.netloc) == (scheme, host, port, path, netloc)


BAD = [
    "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "HTTPS://example.com", "https://",
    "https:///x", "http://example.com/", "https://user@example.com/", "https://user:word@example.com/",
    "https://example.com:0/", "https://example.com:65536/", "https://example.com:/", "https://example.com:99999999/",
    "https://example.com/#x", "https://example.com\\@evil.example/", "https://example.com/\\x", "https://exa mple.com/",
    "https://example.com/a b", "https://example.com/\r\nHost:x", "https://example.com/\n", "https://exämple.com/",
    "https://example.com/ä", "https://ex%61mple.com/", "https://-x.com/", "https://a..b/", "https://./",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/",
    "https://127.0.0.01/", "https://127.0.0.1.", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://foo.0x1/",
    "https://[::1", "https://[::1%25eth0]/", "https://[::1]x/", "https://[1.2.3.4]/", "https://" + "a" * 3000 + "/",
    "https://" + "a" * 64 + ".example/", "https://①②⑦.0.0.1/", "https://127。0。0。1/",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_of_a_webhook(url: str) -> None:
    with pytest.raises(Invalid):
        destination(url)


@pytest.mark.parametrize("text", PRIVATE)
def test_a_literal_that_is_not_public_is_refused_at_once(text: str) -> None:
    with pytest.raises(Refused):
        destination(f"https://[{text}]/" if ":" in text else f"https://{text}/")


LISTED = [
    ("http://hooks.internal:9000/x", ["hooks.internal"], True),
    ("http://hooks.internal:9000/x", ["hooks.internal:9000"], True),
    ("http://hooks.internal:9001/x", ["hooks.internal:9000"], False),
    ("http://not-hooks.internal/x", ["hooks.internal"], False),
    ("http://hooks.internal.evil.example/x", ["hooks.internal"], False),
    ("http://127.0.0.1:9000/x", ["127.0.0.1:9000"], True),
    ("http://127.0.0.2:9000/x", ["127.0.0.1:9000"], False),
    ("http://[::1]:9000/x", ["[::1]:9000"], True),
    ("http://[0:0::1]:9000/x", ["[::1]:9000"], True),
    ("http://169.254.169.254/x", ["169.254.169.254"], True),
]


@pytest.mark.parametrize(("url", "listed", "allowed"), LISTED)
def test_what_the_operator_lists_may_be_plain_and_private(url: str, listed: list[str], allowed: bool) -> None:
    if allowed:
        found = destination(url, listed)
        must_be_reachable([ip_address("10.1.2.3")], found, listed)
    else:
        with pytest.raises((Invalid, Refused)):
            destination(url, listed)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    where = destination("https://example.com/")
    must_be_reachable([ip_address("8.8.8.8"), ip_address("1.1.1.1")], where)
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        must_be_reachable([ip_address("8.8.8.8"), ip_address("10.0.0.1")], where)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [("Hooks.Internal", "hooks.internal"), ("a:1", "a:1"), ("[0::1]:9", "[::1]:9"), ("127.0.0.1", "127.0.0.1")],
)
def test_a_listing_in_its_one_spelling(entry: str, shown: str) -> None:
    assert checked_listing(entry) == shown


@pytest.mark.parametrize("entry", ["", "*", "a b", "http://a", "a/b", "0x7f.1", "::1", "127.1", "a:b"])
def test_what_is_no_listing(entry: str) -> None:
    with pytest.raises(Invalid):
        checked_listing(entry)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_no_way_of_writing_a_private_address_makes_it_public(address: IPv4Address | IPv6Address) -> None:
    if isinstance(address, IPv4Address):
        number = int(address)
        ways = [IPv6Address((0xFFFF << 32) + number), IPv6Address((0x64FF9B << 96) + number),
                IPv6Address((0x2002 << 112) + (number << 80))]  # fmt: skip
        assert {is_public(way) for way in ways} == {is_public(address)}
        assert {never(way) for way in ways} == {never(address)}
        assert is_public(address) <= address.is_global
    else:
        assert not (is_public(address) and (address.is_loopback or address.is_link_local or address.is_multicast))


@given(st.text(st.sampled_from("https://[]:@\\.%0x127af/?#-_\t\r\nä。"), max_size=40), st.text(max_size=20))
def test_any_text_is_read_as_others_read_it_or_refused(text: str, more: str) -> None:
    """What is let through means the same host to the standard library, and is no other spelling of an address."""
    for url in (text, f"https://{text}", f"https://{text}/{more}", f"https://example.com{text}"):
        try:
            found = destination(url)
        except HeadwayError:
            continue
        other = urlsplit(url)
        assert (other.hostname or "").removesuffix(".") == found.host or ip_address(other.hostname or "") == ip_address(
            found.host
        )
        assert (other.port or 443) == found.port
        assert other.username is None
        try:
            packed = socket.inet_aton(found.host)
        except OSError:
            continue
        assert str(IPv4Address(packed)) == found.host
        assert is_public(IPv4Address(packed))

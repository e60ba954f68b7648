"""Where a webhook may lead: public addresses over https, and what the operator lists. Pure: nobody is asked here.

A server that fetches what it is told to is a way into the network it stands in (CWE-918). So an URL is read strictly,
in one spelling only, and each address that its name resolves to is judged before one of them is connected to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from headway.errors import Invalid, Refused
from headway.kernel.records import Value

LONGEST_URL = 2000
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?(?P<path>[/?][\x21-\x7e]*)?"
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""What resolvers take as (a part of) an IPv4 address when it is the last label, whatever stands before it."""
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))
"""Where clouds answer their machines with credentials, besides 169.254.169.254, which is link-local."""
_PORTS = {"https": 443, "http": 80}

Address = IPv4Address | IPv6Address


class Destination(Value):
    """A webhook's URL, taken apart. `host` is in lower case and without brackets."""

    scheme: str
    host: str
    port: int
    path: str
    listed: bool
    """Whether the operator lists it, so that it may be a private address or plain http."""

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def destination(url: str, listed: Collection[str] = ()) -> Destination:
    """`url` taken apart; `listed` are hosts, or `host:port`, that the operator allows. Raises `Invalid`."""
    match = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if match is None or "\\" in url or "#" in url:
        raise Invalid(
            "a webhook needs an URL such as https://host/path: ASCII, without user, fragment or backslash, of at most "
            f"{LONGEST_URL} characters"
        )
    host = _checked_host(match["host"].lower())
    port = int(match["port"] or _PORTS[match["scheme"]])
    if not 0 < port < 65_536:
        raise Invalid(f"{port} is no port; leave it out, or take one from 1 to 65535")
    path = match["path"] or "/"
    found = Destination(
        scheme=match["scheme"], host=host, port=port, path=path if path.startswith("/") else f"/{path}",
        listed=is_listed(host, port, listed),
    )  # fmt: skip
    if found.scheme == "http" and not found.listed:
        raise Invalid("a webhook is told over https; plain http takes an operator who starts with --webhook-host HOST")
    literal = _literal(host)
    if literal is not None:
        must_be_reachable([literal], found, listed)
    return found


def is_listed(host: str, port: int, listed: Collection[str]) -> bool:
    shown = f"[{host}]" if ":" in host else host
    return host in listed or shown in listed or f"{shown}:{port}" in listed


def checked_listing(entry: str) -> str:
    """`entry` if it can stand in the list of allowed hosts, in lower case; raises `Invalid`."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", entry)
    if match is None:
        raise Invalid(
            f"{entry[:100]!r} is no host; write a name, an address or [an IPv6 address], each with :port or not"
        )
    host = _checked_host(match[1].lower())
    return (f"[{host}]" if ":" in host else host) + (match[2] or "")


def must_be_reachable(found: Iterable[Address], where: Destination, listed: Collection[str] = ()) -> None:
    """Raises `Refused` unless every address that `where` resolves to may be connected to."""
    for address in found:
        if is_public(address):
            continue
        own = is_listed(str(address), where.port, listed)
        if own or (where.listed and not never(address)):
            continue
        raise Refused(
            f"{where.host} leads to {address}, which is not a public address; an operator may allow it by starting "
            "with --webhook-host HOST"
        )


def is_public(address: Address) -> bool:
    """Whether an address, or the IPv4 address that is hidden in it, belongs to the public internet."""
    hidden = _hidden_in(address)
    if hidden is not None:
        return is_public(hidden)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and address not in _METADATA


def never(address: Address) -> bool:
    """Whether an address is refused also to a name that is listed: link-local, metadata, multicast, unspecified."""
    real = _hidden_in(address) or address
    return real.is_link_local or real.is_multicast or real.is_unspecified or real in _METADATA


def _hidden_in(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, NAT64 (RFC 6052) or 6to4 (RFC 3056)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _checked_host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError as error:
            raise Invalid(f"{host[:100]} is no IPv6 address") from error
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError as error:
            raise Invalid(f"{host[:100]} is no IPv4 address: it takes four numbers from 0 to 255") from error
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Invalid(f"{host[:100]!r} is no name of a host")
    return host.removesuffix(".")

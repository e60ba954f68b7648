"""The reference: how a table looked as a whole and on each of its days, over one layout."""

from __future__ import annotations

import zlib
from collections.abc import Collection

import msgspec

from headway.errors import Invalid
from headway.kernel.records import Value, encode
from headway.lifecycle.datasets.profile import Layout, Profile, merge

_MOST_BYTES = 256 << 20


class Reference(Value):
    """`days` is by ISO date in UTC, of the event; empty when the table has no time column."""

    layout: Layout
    whole: Profile
    days: dict[str, Profile] = {}

    def only(self, columns: Collection[str]) -> Reference:
        """The same for those of its columns that are in `columns`: what a model that takes no others is held to."""
        layout = Layout(columns={name: cells for name, cells in self.layout.columns.items() if name in columns})
        digest = layout.digest

        def kept(profile: Profile) -> Profile:
            return profile.but(layout=digest, columns={name: profile.columns[name] for name in layout.columns})

        return Reference(
            layout=layout, whole=kept(self.whole), days={day: kept(profile) for day, profile in self.days.items()}
        )


def merged(first: Reference, second: Reference) -> Reference:
    """Both tables as one; raises `Invalid` across layouts."""
    days = dict(first.days)
    for day, profile in second.days.items():
        days[day] = merge(days[day], profile) if day in days else profile
    return Reference(layout=first.layout, whole=merge(first.whole, second.whole), days=dict(sorted(days.items())))


def encode_reference(reference: Reference) -> bytes:
    """Its JSON, deflated to an eighth: beside few new rows a profile would weigh as much as they do."""
    return zlib.compress(encode(reference))


def read_reference(data: bytes) -> Reference:
    """What `encode_reference` made, or JSON as it was kept before; raises `Invalid` for anything else."""
    try:
        return _decode(data if data.startswith(b"{") else _inflated(data))
    except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError) as error:
        raise Invalid(f"this is no profile of a table: {error}") from error


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    found = inflater.decompress(data, _MOST_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise Invalid(f"a profile has at most {_MOST_BYTES} bytes, and nothing behind them")
    return found


_decode = msgspec.json.Decoder(Reference).decode

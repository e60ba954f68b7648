"""The reference: how a table looked as a whole and on each of its days, over one layout."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from headway.kernel.records import Value
from headway.lifecycle.datasets.profile import Layout, Profile


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


read_reference = msgspec.json.Decoder(Reference).decode

"""What another registry knows of models and their versions, as it is handed in."""

from __future__ import annotations

from headway.kernel.clock import Instant
from headway.kernel.records import Value


class ImportedVersion(Value):
    """A version with the number it has there. `source` is where its files are here, or, if they are not, there."""

    number: int
    source: str
    created_at: Instant
    updated_at: Instant
    run: str = ""
    """Our id."""
    logged_model: str = ""
    """Our id."""
    run_link: str = ""
    about: str = ""
    stage: str = "None"
    tags: dict[str, str] = {}
    registered_by: str = ""


class ImportedModel(Value):
    name: str
    created_at: Instant
    updated_at: Instant
    about: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    versions: tuple[ImportedVersion, ...] = ()


class BroughtModel(Value):
    """How many versions were new or changed, and the numbers of those that are another version here."""

    id: str
    written: int
    taken: tuple[int, ...] = ()

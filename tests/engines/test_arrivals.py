"""Files that arrive in the operator's folder: each once, by what is in it, and only when nobody writes it any more."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.engines.arrivals import Arrivals
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.records import Cause, Firing, Trigger
from headway.testing.memory import FrozenClock
from headway.testing.memory_platform import open_platform
from tests.engines.world import DEPLOYMENT, World

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Place:
    """A folder for files to arrive in, with a trigger that listens to it since long ago."""

    def __init__(self, folder: Path, source: str = "in/**/*.csv") -> None:
        self.folder = folder
        opened = open_platform()
        self.world = World(opened)
        self.clock: FrozenClock = opened.clock
        self.declare(source, LONG_AGO)
        self.arrivals = Arrivals(self.world.platform, self.clock, folder)

    def declare(self, source: str, since: datetime, name: str = "files") -> None:
        made = Trigger(
            id=f"tr_{name}", created_at=since, name=name, on=Cause.FILE, pipeline="train", deployment=DEPLOYMENT,
            source=source, params={"file": "${file}", "digest": "${digest}"}, stable_s=5,
        )  # fmt: skip
        self.world.platform.triggers.declare(made, by=SYSTEM)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def look(self, after_s: float = 0) -> list[Firing]:
        self.clock.advance(after_s)
        self.arrivals.step()
        return list(reversed(self.world.platform.triggers.history("files").items))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_fires_once_it_has_been_still_for_long_enough(place: Place) -> None:
    path = place.write("in/a/b/x.csv", "1")
    place.write("in/x.txt", "no")
    place.write("x.csv", "no")
    place.write("in/.x.csv", "no")
    assert place.look() == []
    assert place.look(4) == []
    path.write_text("12")
    assert place.look(2) == []
    assert place.look(4) == []
    (firing,) = place.look(1)
    assert (firing.why, firing.params["file"]) == ("in/a/b/x.csv arrived", str(path))
    assert place.look(100) == [firing]


def test_the_same_content_fires_once_under_whatever_name_and_after_a_new_start(place: Place) -> None:
    path = place.write("in/x.csv", "1")
    place.look()
    (first,) = place.look(5)
    path.rename(place.folder / "in" / "y.csv")
    place.write("in/z.csv", "1")
    place.look()
    assert place.look(5) == [first]
    place.arrivals = Arrivals(place.world.platform, place.clock, place.folder)
    place.look()
    assert place.look(5) == [first]
    place.write("in/y.csv", "2")
    place.look()
    assert [firing.why for firing in place.look(5)] == ["in/x.csv arrived", "in/y.csv arrived"]


def test_what_was_there_before_is_no_news_but_what_is_moved_here_is(place: Place) -> None:
    old_ns = place.write("in/old.csv", "1").stat().st_ctime_ns
    # Clocks of file systems go by ticks of some milliseconds: wait for another one.
    while place.write("elsewhere/new.csv", "2").stat().st_ctime_ns < old_ns + 2_000_000:
        pass
    trigger = place.world.platform.triggers.get("files")
    since = datetime.fromtimestamp(old_ns / 1e9, UTC) + timedelta(milliseconds=1)
    with place.world.platform.journal.act("test", "trigger.declare") as act:
        act.save(place.world.stores.triggers, trigger.but(watching_since=since))
    place.look()
    assert place.look(5) == []
    new = place.folder / "elsewhere" / "new.csv"
    os.utime(new, (0, 0))
    new.rename(place.folder / "in" / "new.csv")
    place.look()
    assert [firing.why for firing in place.look(5)] == ["in/new.csv arrived"]


def test_links_are_not_followed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text("1")
    (place.folder / "in").mkdir()
    (place.folder / "in" / "link.csv").symlink_to(outside / "secret.csv")
    (place.folder / "in" / "folder").symlink_to(outside)
    place.look()
    assert place.look(10) == []


def test_a_file_that_is_taken_away_before_it_is_read_is_nothing(place: Place) -> None:
    path = place.write("in/x.csv", "1")
    place.look()
    path.unlink()
    assert place.look(10) == []


def test_a_pipe_does_not_hold_it_up(place: Place) -> None:
    (place.folder / "in").mkdir()
    os.mkfifo(place.folder / "in" / "pipe.csv")
    place.look()
    assert place.look(10) == []


def test_without_a_folder_nothing_arrives(place: Place) -> None:
    place.arrivals = Arrivals(place.world.platform, place.clock, None)
    assert place.look(10) == []


def test_a_paused_trigger_takes_no_notice(place: Place) -> None:
    place.world.platform.triggers.pause("files", "holidays", by=SYSTEM)
    place.write("in/x.csv", "1")
    place.look()
    assert place.look(10) == []

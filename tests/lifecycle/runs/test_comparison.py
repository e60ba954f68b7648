from __future__ import annotations

from datetime import UTC, datetime

from headway.kernel.records import encode
from headway.lifecycle.runs.capture import BRANCH_TAG, COMMIT_TAG, PackageLock, decode_lock
from headway.lifecycle.runs.comparison import Difference, Side, compare
from headway.lifecycle.runs.records import Code, Run

LOCK = PackageLock(python="CPython 3.11.2", platform="Linux x86_64", packages={"a": "1.0", "b": "2.0"})
RUN = Run(
    id="rn_1", created_at=datetime(2026, 1, 1, tzinfo=UTC), experiment="x", params={"depth": "3", "rate": "0.1"},
    tags={BRANCH_TAG: "main"}, code=Code(commit="abc", digest="b3:1"),
)  # fmt: skip
LEFT = Side(run=RUN, metrics={"auc": 0.7, "system/cpu_utilization_percentage": 30.0}, lock=LOCK)


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare(LEFT, LEFT.but(metrics={"auc": 0.7, "system/cpu_utilization_percentage": 90.0}))
    assert (found.params, found.metrics, found.code, found.packages) == ((), (), (), ())


def test_only_what_differs_is_told() -> None:
    other = RUN.but(id="rn_2", params={"depth": "4", "rate": "0.1", "seed": "1"}, tags={BRANCH_TAG: "try"})
    lock = LOCK.but(python="CPython 3.12.1", packages={"a": "1.1", "c": "1"})
    found = compare(LEFT, Side(run=other, metrics={"auc": 0.71, "loss": 1.0}, lock=lock, diff="b3:9"))
    assert (found.left, found.right) == ("rn_1", "rn_2")
    assert [(each.name, each.left, each.right) for each in found.params] == [("depth", "3", "4"), ("seed", None, "1")]
    assert [(each.name, each.left, each.right) for each in found.metrics] == [
        ("auc", "0.7", "0.71"),
        ("loss", None, "1"),
    ]
    assert [each.name for each in found.code] == ["branch", "edits"]
    assert found.packages is not None
    assert [each.name for each in found.packages] == ["a", "b", "c", "python"]
    assert found.packages[1] == Difference(name="b", left="2.0", right=None)


def test_packages_that_one_did_not_capture_cannot_be_compared() -> None:
    assert compare(LEFT, LEFT.but(lock=None)).packages is None


def test_the_commit_comes_from_the_record_or_from_what_was_captured() -> None:
    plain = RUN.but(code=Code(), tags={BRANCH_TAG: "main", COMMIT_TAG: "abc"})
    assert compare(LEFT.but(run=RUN.but(code=Code(commit="abc"))), LEFT.but(run=plain)).code == ()


def test_a_lock_is_read_back_and_another_file_is_none() -> None:
    assert decode_lock(encode(LOCK)) == LOCK
    assert decode_lock(b"[]") is None
    assert LOCK.requirements == "a==1.0\nb==2.0\n"
    assert LOCK.digest != LOCK.but(python="CPython 3.11.3").digest

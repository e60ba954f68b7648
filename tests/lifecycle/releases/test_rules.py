from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import NotApproved
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.releases.records import Approval, Decision
from headway.lifecycle.releases.rules import agreeing, declined, missing, must_be_able_to_approve

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ["author", "first", "second", "stranger"]


def place(approvals: int = 1, approvers: tuple[str, ...] = ()) -> Environment:
    return Environment(id="en_1", created_at=NOW, name="production", approvals=approvals, approvers=approvers)


def said(actor: str, decision: Decision) -> Approval:
    return Approval(
        id=f"ap_{actor}", created_at=NOW, change="ch_1", verdict="vd_1", actor=actor, decision=decision, reason=""
    )


def test_an_author_does_not_count_and_cannot_try() -> None:
    yes = said("author", Decision.AGREE)
    assert missing(place(), [yes], {"author"}) == 1
    assert missing(place(), [yes], set()) == 0
    with pytest.raises(NotApproved, match="somebody else"):
        must_be_able_to_approve(place(), "author", {"author"})


def test_only_the_named_approvers_count() -> None:
    environment = place(approvers=("first",))
    assert missing(environment, [said("stranger", Decision.AGREE)], set()) == 1
    with pytest.raises(NotApproved, match="these are: first"):
        must_be_able_to_approve(environment, "stranger", set())


def test_the_last_word_of_a_person_is_what_counts() -> None:
    words = [said("first", Decision.AGREE), said("first", Decision.DECLINE)]
    assert missing(place(), words, set()) == 1
    assert declined(words) == words[1]
    assert declined(list(reversed(words))) is None


@given(st.lists(st.builds(said, st.sampled_from(PEOPLE), st.sampled_from(Decision)), max_size=12), st.integers(0, 4))
def test_as_many_different_people_must_agree_as_the_environment_says(words: list[Approval], wanted: int) -> None:
    counted = agreeing(place(wanted), words, {"author"})
    assert len({approval.actor for approval in counted}) == len(counted)
    assert all(approval.actor != "author" for approval in counted)
    assert missing(place(wanted), words, {"author"}) == max(0, wanted - len(counted))

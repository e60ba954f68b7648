"""Whether a release may be signed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headway.errors import NotApproved
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.releases.records import Approval, Decision


def agreeing(environment: Environment, approvals: Sequence[Approval], authors: Collection[str]) -> tuple[Approval, ...]:
    """The approvals that count: the last word of each person who may approve here and is not an author."""
    last = {approval.actor: approval for approval in approvals}
    return tuple(
        approval
        for actor, approval in last.items()
        if approval.decision is Decision.AGREE
        and actor not in authors
        and (not environment.approvers or actor in environment.approvers)
    )


def declined(approvals: Sequence[Approval]) -> Approval | None:
    """The decision of somebody whose last word is no."""
    last = {approval.actor: approval for approval in approvals}
    return next((approval for approval in last.values() if approval.decision is Decision.DECLINE), None)


def missing(environment: Environment, approvals: Sequence[Approval], authors: Collection[str]) -> int:
    """How many more people must agree."""
    return max(0, environment.approvals - len(agreeing(environment, approvals, authors)))


def must_be_able_to_approve(environment: Environment, actor: str, authors: Collection[str]) -> None:
    """Raise `NotApproved` when this person's yes could not count."""
    if actor in authors:
        raise NotApproved(f"{actor} is an author of this change; somebody else must approve it")
    if environment.approvers and actor not in environment.approvers:
        able = ", ".join(environment.approvers)
        raise NotApproved(f"{actor} is no approver of {environment.name}; these are: {able}")

"""How findings become a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Finding, Outcome

NOT_MEASURED = Finding(outcome=Outcome.UNPROVEN, reason="nothing was measured for this check")


def weigh(gate: Sequence[CheckSpec], findings: Mapping[str, Finding]) -> tuple[Outcome, tuple[str, ...]]:
    """The verdict and its reasons: one failure fails, one open question leaves it unproven, an empty gate too.

    A check that nobody measured is unproven; a finding that the gate does not ask for does not count.
    """
    if not gate:
        return Outcome.UNPROVEN, ("the gate demands no check, so nothing is proven",)
    asked = {spec.check: findings.get(spec.check, NOT_MEASURED) for spec in gate}
    outcomes = {finding.outcome for finding in asked.values()}
    worst = next(outcome for outcome in (Outcome.FAIL, Outcome.UNPROVEN, Outcome.PASS) if outcome in outcomes)
    reasons = tuple(f"{name}: {found.reason}" for name, found in asked.items() if found.outcome is worst)
    return worst, reasons if worst is not Outcome.PASS else (f"all {len(asked)} checks passed",)

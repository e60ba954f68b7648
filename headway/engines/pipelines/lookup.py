"""Whether a step's call is run or found again, and why."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headway.engines.pipelines.keys import Key, Keys
from headway.errors import BadPipeline, NotFound
from headway.kernel.clock import Clock
from headway.kernel.naming import nearest
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.explanations import Because, Explanation, Reason
from headway.lifecycle.runs.pipeline import Step
from headway.lifecycle.runs.records import KeyParts, StepResult
from headway.lifecycle.runs.session import Session


@dataclass(frozen=True, slots=True)
class Decision:
    """`kept` is what is found again; without it the step runs, `because` of that. `parts` is None without a key."""

    step: Step
    name: str
    text: str
    because: Because
    kept: StepResult | None = None
    key: Key | None = None
    parts: KeyParts | None = None


class Lookup:
    """Decides for one run. Steps of the names in `forced` run in any case. What was finished in the run `goes_on_from`
    is found again, those that are forced or have no cache included."""

    def __init__(
        self, session: Session, keys: Keys, clock: Clock, forced: Collection[str] = (), goes_on_from: str = ""
    ) -> None:  # fmt: skip
        self._session, self._keys, self._clock, self._goes_on = session, keys, clock, goes_on_from
        self._forced, self._met = frozenset(forced), set[str]()
        self._blobs: dict[str, str] | None = None
        self._last: dict[str, StepResult] | None = None

    def decide(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Decision:
        """`name` is that of the call. Raises `BadPipeline` for what has no key."""
        self._met |= {step.name, name}
        if not step.cache:
            text = digest(encode([self._goes_on or self._session.run, name]))  # no other call has it
            done = self._session.cached(text) if self._goes_on else None
            return Decision(step, name, text, Because.SAME if done else Because.UNCACHED, done)
        key = self._keys.key(step, arguments)
        forced = bool(self._forced and self._forced & {step.name, name})
        kept = None if forced and not self._goes_on else self._session.cached(key.text)
        if forced and (kept is None or kept.run not in (self._goes_on, self._session.run)):
            return self._running(Decision(step, name, key.text, Because.FORCED, key=key), arguments)
        if kept is None:
            return self._running(Decision(step, name, key.text, Because.NEW, key=key), arguments)
        if step.max_age_s is not None and (self._clock.now() - kept.created_at).total_seconds() > step.max_age_s:
            return self._running(Decision(step, name, key.text, Because.AGE, key=key), arguments)
        return Decision(step, name, key.text, Because.SAME, kept, key)

    def _running(self, made: Decision, arguments: inspect.BoundArguments) -> Decision:
        assert made.key is not None
        parts = self._keys.parts(made.step, arguments, made.key)
        return Decision(made.step, made.name, made.text, made.because, key=made.key, parts=parts)

    def kept_parts(self, decision: Decision) -> KeyParts | None:
        """What the key was made of, the list of what the code reaches in a blob: once for each code."""
        if decision.parts is None:
            return None
        if self._blobs is None:
            known = (result.made_of for result in self.last().values())
            self._blobs = {made.code: made.parts for made in known if made is not None and made.parts}
        code = decision.parts.code
        if code not in self._blobs:
            self._blobs[code] = self._session.put_blob(self._keys.written(code))
        return decision.parts.but(parts=self._blobs[code])

    def check_forced(self) -> None:
        """Raise `BadPipeline` for a step that was to be forced and never came."""
        for name in sorted(self._forced - self._met):
            raise BadPipeline(f"no step {name!r} ran, so it cannot be forced{nearest(name, self._met)}")

    def last(self) -> Mapping[str, StepResult]:
        """By the name of its call, what each step gave before."""
        if self._last is None:
            self._last = {last.step: last.result for last in self._session.last_results()}
        return self._last

    def explain(self, decision: Decision) -> Explanation:
        runs = decision.kept is None
        return Explanation(step=decision.name, runs=runs, reasons=self._reasons(decision))

    def _reasons(self, decision: Decision) -> tuple[Reason, ...]:
        if decision.kept is not None:
            kept = decision.kept
            return (Reason(because=Because.SAME, what=kept.run, before=kept.created_at.isoformat()),)
        before = self.last().get(decision.name)
        if decision.because is Because.AGE:
            return (Reason(because=Because.AGE, what=f"older than {decision.step.max_age_s:.0f} s"),)
        if decision.because is not Because.NEW or before is None:
            return (Reason(because=decision.because),)
        if before.key == decision.text:
            return (Reason(because=Because.GONE),)
        if before.made_of is None or decision.parts is None:
            return (Reason(because=Because.CODE, what="what its key was made of before was not kept"),)
        from headway.engines.pipelines.explain import differences, read_code  # noqa: PLC0415  # for those who ask

        new = read_code(self._keys.written(decision.parts.code))
        assert new is not None
        old = self._kept_code(before.made_of)
        return differences(before.made_of, decision.parts, read_code(old) if old else None, new)

    def _kept_code(self, parts: KeyParts) -> bytes | None:
        try:
            return self._session.get_blob(parts.parts) if parts.parts else None
        except NotFound:
            return None

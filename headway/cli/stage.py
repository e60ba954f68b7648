"""What a project's `demo.py` plays on: clients for people, waiting with progress, and words on the screen."""

from __future__ import annotations

import sys
import time

import click

from headway.cli.delivery import next_step
from headway.cli.wording import clip
from headway.client.client import Client
from headway.client.connect import connect
from headway.errors import Conflict, Forbidden, GateRefused, NotApproved, NotFound, Unavailable
from headway.kernel.access import Role
from headway.lifecycle.changes.records import Change, OpenChange
from headway.lifecycle.changes.records import Stage as Reached
from headway.lifecycle.gates.records import Outcome

_PATIENCE_S = 300.0
_LOOK_S = 0.05


class Stage:
    def __init__(self, owner: Client) -> None:
        self.owner = owner
        self._began = time.monotonic()
        self._line = ""
        self._told: dict[int, set[Reached]] = {}

    def title(self, text: str) -> None:
        self._clear()
        click.echo(f"\n{self._clock()}  {click.style(text, bold=True)}")

    def say(self, text: str) -> None:
        self._clear()
        click.echo(f"         {text}")

    def progress(self, done: int, of: int, what: str) -> None:
        """A line that is written over on a terminal, and now and then a line of its own elsewhere."""
        if sys.stdout.isatty():
            width = 30
            bar = "━" * (width * done // of)
            self._show(f"{bar:<{width}} {what}")
        elif done == of or done % 30 == 0:
            self.say(f"{what}: day {done} of {of}")

    def person(self, name: str, role: str) -> Client:
        """A client signed in as somebody of this role."""
        granted = self.owner.tokens.create(name, Role(role))
        return connect(self.owner.url, token=granted.secret)

    def open(
        self, client: Client, deployment: str, pipeline: str, *, why: str, break_glass: str = "", **params: str
    ) -> int:
        command = OpenChange(deployment=deployment, pipeline=pipeline, why=why, params=params, break_glass=break_glass)
        return client.changes.open(command).number

    def newest(self, client: Client) -> Change:
        return client.changes.list(limit=1).items[0]

    def follow(self, client: Client, number: int, *, until: str) -> Change:
        """Wait until a change has come to a stage, telling of each; raises `GateRefused` when it ends before."""
        told = self._told.setdefault(number, set())
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            change = client.changes.get(str(number))
            for moment in change.history:
                if moment.stage not in told:
                    told.add(moment.stage)
                    self.say(
                        f"change {number} {moment.stage.replace('_', ' ')}{self._detail(client, change, moment.stage)}"
                    )
            if change.stage is Reached.REJECTED:
                raise GateRefused(f"change {number} was rejected: {change.reason}")
            if Reached(until) in told and not self._to_be_rejected(client, change):
                return change
            self._show(self._waiting(client, change))
            time.sleep(_LOOK_S)
        raise Unavailable(f"change {number} is not {until} after {_PATIENCE_S:g} s; its worker's log is in the home")

    def cannot_approve(self, client: Client, number: int) -> None:
        """Show that this person may not agree."""
        try:
            client.changes.approve(str(number), "my own work")
        except (NotApproved, Forbidden) as error:
            self.say(f"refused: {error}")
        else:
            raise Conflict(f"somebody approved change {number} who should not be able to")

    def approve(self, client: Client, number: int, reason: str) -> None:
        approval = client.changes.approve(str(number), reason)
        self.say(f"approved by {approval.actor}: {clip(reason, 80)}")

    def wait_for_endpoint(self, deployment: str) -> None:
        """Wait until the model server answers."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if self._ready(deployment):
                return
            self._show(f"{deployment} is starting")
            time.sleep(_LOOK_S)
        raise Unavailable(f"{deployment} does not serve after {_PATIENCE_S:g} s; its log is in the home")

    def _to_be_rejected(self, client: Client, change: Change) -> bool:
        """Whether the gate has said no, and the change is about to end."""
        return change.stage is Reached.JUDGED and client.gates.verdict(change.verdict).outcome is not Outcome.PASS

    def _ready(self, deployment: str) -> bool:
        try:
            return self.owner.deployments.endpoint(deployment).ready
        except NotFound:
            return False

    def _detail(self, client: Client, change: Change, stage: Reached) -> str:
        """What a stage has brought, in a few words."""
        if stage is Reached.REGISTERED and change.model_version:
            version = client.models.version(change.model_version)
            parity = version.parity
            proven = f", ONNX = trained within {parity.max_difference:.1g} on {parity.rows:,} rows" if parity else ""
            return f": {version.label}{proven}"
        if stage is Reached.JUDGED and change.verdict:
            verdict = client.gates.verdict(change.verdict)
            return f": {verdict.outcome}, {'; '.join(verdict.reasons)}"
        if stage is Reached.RELEASED and change.release:
            release = client.releases.check(change.release)
            return f": {release.label}, signature holds" + (" (gate skipped)" if release.break_glass else "")
        return ""

    def _waiting(self, client: Client, change: Change) -> str:
        if change.stage is Reached.RUNNING:
            steps = client.runs.steps(change.run)
            going = [step.step for step in steps if step.state == "running"]
            return f"change {change.number}: {', '.join(going) or 'starting'} ({len(steps)} steps so far)"
        return f"change {change.number}: {next_step(change)}"

    def _clock(self) -> str:
        return click.style(f"{time.monotonic() - self._began:6.1f}s", dim=True)

    def _show(self, text: str) -> None:
        """A line for the moment: only where it can be written over."""
        if sys.stdout.isatty() and text != self._line:
            click.echo(f"\r\x1b[K         {click.style(text, dim=True)}", nl=False)
            self._line = text

    def _clear(self) -> None:
        if self._line:
            click.echo("\r\x1b[K", nl=False)
            self._line = ""

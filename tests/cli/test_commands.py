"""Every command once, for people and for programs, in a world where everything has happened once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import polars as pl
import pytest

from headway.cli.main import COMMANDS, main
from headway.cli.nouns import Verb
from headway.kernel.access import Role
from headway.kernel.records import encode
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.runs.records import LogBatch, Metric, StartRun
from tests.cli.conftest import Headway
from tests.client.conftest import client_of
from tests.server.world import World, segment

Ids = dict[str, str]

READING = [
    (["status"], "arrivals", "deployments"),
    (["dataset", "list"], "flights@1", "items"),
    (["dataset", "list", "held-out"], "held-out@1", "items"),
    (["dataset", "show", "flights"], "delay: float", "schema"),
    (["dataset", "log", "flights"], "flights@1", "items"),
    (["dataset", "diff", "flights", "flights"], "hold the same", "same"),
    (["remote", "list"], "no remotes yet", "items"),
    (["run", "list"], "delays", "items"),
    (["run", "list", "--experiment", "delays", "--state", "running"], "delays", "items"),
    (["run", "list", "--where", "status = 'finished'", "--order", "start_time", "--state", "finished"], "", "items"),
    (["run", "count", "--experiment", "delays", "--where", "run_id IN ('{run}')"], "1", "runs"),
    (["run", "compare", "{run}", "{run}"], "delays", "runs"),
    (["run", "show", "{run}"], "delays", "run"),
    (["experiment", "list"], "delays", "items"),
    (["experiment", "show", "delays"], "runs", "experiment"),
    (["run", "diff", "{run}", "{run}"], "cannot be compared", "params"),
    (["model", "list"], "late@1", "items"),
    (["model", "show", "late@1"], "held-out@1", "signature"),
    (["gate", "list"], "pass", "items"),
    (["gate", "list", "--model", "late@1"], "pass", "items"),
    (["gate", "show", "{verdict}"], "0.9 of 50 rows", "verdict"),
    (["release", "list"], "late@1", "items"),
    (["release", "list", "--environment", "production"], "its gate", "items"),
    (["release", "show", "{release}"], "late@1", "envelope"),
    (["release", "check", "{release}"], "holds", "envelope"),
    (["deployment", "list"], "late@1", "items"),
    (["deployment", "show", "arrivals"], "http://127.0.0.1:1", "deployment"),
    (["deployment", "served", "arrivals", "--at", "2999-01-01"], "late@1", "traffic"),
    (["rollout", "list"], "running", "items"),
    (["rollout", "show", "{rollout}"], "100 %", "steps"),
    (["monitor", "list"], "drift", "items"),
    (["monitor", "show", "drift"], "delay moved", "windows"),
    (["alert", "list"], "delay moved", "items"),
    (["alert", "show", "{alert}"], "2026-03-01", "message"),
    (["change", "list"], "rolling_out", "items"),
    (["change", "show", "1"], "agree by a approver: good", "history"),
    (["change", "show", "{change}"], "rollout show", "history"),
    (["change", "dora"], "deployment frequency", "settled"),
    (["ledger", "list"], "ENTRY", "items"),
    (["ledger", "show", "{release}"], "release.sign", "items"),
    (["ledger", "verify"], "entries hold", "entries"),
    (["experiment", "list"], "delays", "items"),
    (["gc", "--dry-run"], "kept, because a record has them", "sweep"),
    (["webhook", "list"], "no webhooks", "items"),
    (["trigger", "list"], "no triggers", "items"),
    (["token", "list"], "gatekeeper", "items"),
    (["token", "show", "owner"], "valid", "role"),
]


@pytest.mark.parametrize(
    ("arguments", "text", "key"), READING, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_reading(headway: Headway, ids: Ids, arguments: list[str], text: str, key: str) -> None:
    arguments = [argument.format(**ids) for argument in arguments]
    plain = headway(*arguments)
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert text in plain.stdout
    assert max(map(len, plain.stdout.splitlines())) < 200
    for as_json in (headway(*arguments, "--json"), headway("--json", *arguments)):
        assert (as_json.exit_code, as_json.stderr) == (0, "")
        assert key in json.loads(as_json.stdout)


def test_every_noun_is_read() -> None:
    nouns = {name for name in COMMANDS if isinstance(main.get_command(click.Context(main), name), click.Group)}
    assert nouns - {arguments[0] for arguments, _, _ in READING} == {"project", "import", "feature-view"}


@pytest.mark.parametrize("noun", ["run", "gate", "release", "rollout", "alert", "change"])
def test_the_ids_in_tables_lead_back(headway: Headway, noun: str) -> None:
    table = headway(noun, "list").stdout.splitlines()
    assert headway(noun, "show", table[1].split()[0]).exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_says_what_the_command_says(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert isinstance(command, click.Group | Verb)
    assert command.help
    assert COMMANDS[name].about.endswith(".")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help(headway: Headway, path: tuple[str, ...]) -> None:
    shown = headway(*path, "--help")
    assert shown.exit_code == 0
    assert "Usage: " in shown.stdout
    assert "..." not in shown.stdout.partition("Options:")[2].partition("Commands:")[0]


class TestRuns:
    def test_a_search_orders_filters_and_reads_on(self, headway: Headway, delivered: tuple[World, Ids]) -> None:
        client = client_of(delivered[0], Role.AUTHOR)
        for number in range(4):
            run = client.runs.start(StartRun(experiment="ordered", name=f"run-{number}", params={"n": str(number)}))
            point = Metric(key="acc", value=number / 4, at=run.created_at)
            client.runs.log(run.id, LogBatch(metrics=(point,)))
        asked = ("run", "list", "--where", "metrics.acc > 0", "--order", "metrics.acc desc", "--json", "--limit", "2")
        first = json.loads(headway(*asked).stdout)
        assert [run["name"] for run in first["items"]] == ["run-3", "run-2"]
        rest = json.loads(headway(*asked, "--after", first["next"]).stdout)
        assert [run["name"] for run in rest["items"]] == ["run-1"]
        assert headway("run", "count", "--experiment", "ordered").stdout == "4\n"
        compared = headway("run", "compare", *(run["id"] for run in first["items"])).stdout
        assert compared.splitlines()[-2:] == ["metrics.acc  0.75         0.5", "params.n     3            2"]
        wrong = headway("run", "list", "--where", "metrics.acc >")
        assert (wrong.exit_code, "ends too early" in wrong.stderr) == (2, True)

    def test_delete_and_restore(self, headway: Headway, delivered: tuple[World, Ids]) -> None:
        run = client_of(delivered[0], Role.AUTHOR).runs.start(StartRun(experiment="aside"))
        assert "run restore" in headway("run", "delete", run.id[-8:]).stdout
        assert headway("run", "count", "--experiment", "aside").stdout == "0\n"
        assert headway("run", "count", "--experiment", "aside", "--deleted").stdout == "1\n"
        assert run.id[-8:] in headway("run", "list", "--deleted").stdout
        assert "is back" in headway("run", "restore", run.id).stdout
        assert "experiment restore ex_" in headway("experiment", "delete", "aside").stdout
        assert headway("run", "count", "--where", f"run_id = '{run.id}'").stdout == "0\n"
        assert "is back" in headway("experiment", "restore", "aside").stdout
        assert json.loads(headway("experiment", "show", "aside", "--json").stdout)["runs"] == 1


class TestDatasets:
    CONTRACT = Contract(columns=(ColumnRule(name="size", kind=Kind.FLOAT, low=0, high=10),))

    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        (tmp_path / "good.csv").write_text("size\n1.5\n2.5\n")
        (tmp_path / "bad.csv").write_text("size\n1.5\n99.5\n")
        (tmp_path / "contract.json").write_bytes(encode(self.CONTRACT))
        return tmp_path

    def test_add(self, headway: Headway, files: Path) -> None:
        contract = str(files / "contract.json")
        added = headway("dataset", "add", "boxes", str(files / "good.csv"), "--contract", contract, "--note", "first")
        assert added.exit_code == 0
        assert added.stdout.startswith("boxes@1: 2 rows")
        broken = headway("dataset", "add", "boxes", str(files / "bad.csv"))
        assert broken.exit_code == 1
        assert "column 'size' breaks rule 'high'" in broken.stderr
        assert "boxes@2" not in headway("dataset", "list").stdout

    def test_check(self, headway: Headway, files: Path) -> None:
        contract = ("--contract", str(files / "contract.json"))
        assert headway("dataset", "check", str(files / "good.csv"), *contract).exit_code == 0
        assert headway("dataset", "check", str(files / "bad.csv"), *contract).exit_code == 1

    def test_a_draft_is_a_contract_that_holds(self, headway: Headway, files: Path) -> None:
        drafted = headway("dataset", "draft", str(files / "good.csv"))
        (files / "draft.json").write_text(drafted.stdout)
        checked = headway("dataset", "check", str(files / "good.csv"), "--contract", str(files / "draft.json"))
        assert checked.exit_code == 0

    def test_a_contract_that_is_none(self, headway: Headway, files: Path) -> None:
        (files / "contract.json").write_text('{"columms": []}')
        added = headway("dataset", "add", "x", str(files / "good.csv"), "--contract", str(files / "contract.json"))
        assert added.exit_code == 2
        assert "contract.json holds no contract" in added.stderr


class TestDeciding:
    def test_alerts(self, headway: Headway, ids: Ids) -> None:
        acknowledged = headway("alert", "acknowledge", ids["alert"], "--note", "looking")
        assert "is acknowledged" in acknowledged.stdout
        assert json.loads(headway("alert", "resolve", ids["alert"][-8:], "--json").stdout)["state"] == "resolved"

    def test_ship_and_cancel(self, headway: Headway) -> None:
        opened = headway("ship", "late", "--why", "monthly")
        assert opened.exit_code == 0
        assert "ship late@1 to arrivals" in opened.stdout
        number = opened.stdout.split()[1]
        approved = headway("change", "approve", number, "--why", "fine", role=Role.APPROVER)
        assert approved.exit_code == 2
        assert headway("change", "decline", number, "--why", "no", role=Role.APPROVER).exit_code == 2
        cancelled = headway("change", "cancel", number, "--why", "changed my mind")
        assert "is rejected: cancelled by a owner: changed my mind" in cancelled.stdout

    def test_open(self, headway: Headway) -> None:
        opened = headway("change", "open", "--to", "arrivals", "--pipeline", "train", "-p", "rows=10", "--json")
        assert json.loads(opened.stdout)["params"] == {"rows": "10"}
        assert headway("change", "open", "--to", "arrivals").exit_code == 2

    def test_tokens(self, headway: Headway) -> None:
        made = headway("token", "create", "ci", "--role", "author", "--days", "30")
        assert made.stdout.startswith("hw_")
        assert len(made.stdout.split()) == 1
        assert headway("token", "revoke", "ci").exit_code == 0
        assert "revoked" in headway("token", "show", "ci").stdout

    def test_roll_back_takes_a_reason_and_the_right(self, headway: Headway, ids: Ids) -> None:
        assert headway("rollout", "roll-back", ids["rollout"]).exit_code == 2
        refused = headway("rollout", "roll-back", ids["rollout"], "--why", "x", role=Role.READER)
        assert refused.exit_code == 1
        assert "may not operate" in refused.stderr

    def test_scores_beside_the_answers_are_told_by_hour(
        self, headway: Headway, delivered: tuple[World, Ids], ids: Ids
    ) -> None:
        rows = pl.read_parquet(io.BytesIO(segment("rl_before", rows=3))).with_columns(
            pl.format("beside/{}", "_prediction").alias("_prediction"),
            pl.lit(ids["release"]).alias("_mirror_release"),
            pl.Series("_mirror_score", [0.25, 0.75, None], dtype=pl.Float64),
        )
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        worker = client_of(delivered[0], Role.WORKER)
        kept = worker.deployments.ingest("arrivals", buffer.getvalue())
        assert [one.failed for one in kept.comparisons] == [1]
        shown = headway("rollout", "show", ids["rollout"]).stdout
        assert "Scores of late@1 beside the answers" in shown
        table = [line.split() for line in shown.splitlines()]
        (hour,) = [line for line in table if line[:2] == ["2026-03-01", "12:00"]]
        assert hour[-4:] == ["1", "0", "1", "1"]
        assert ["beside/p/1", "0.25", "0.75"] in table
        (found,) = worker.deployments.differences("arrivals", ids["release"], day="2026-03-01")
        assert (found.equal, found.within, found.different, found.failed) == (1, 0, 1, 1)
        assert worker.deployments.differences("arrivals", ids["release"], day="2026-03-02") == ()

    def test_traffic_is_steered(self, headway: Headway, ids: Ids) -> None:
        release, rollout, why = ids["release"], ids["rollout"], ("--why", "x")
        assert "to a, b-*" in headway("deployment", "pin", "arrivals", release, "--key=a", "--prefix=b-", *why).stdout
        assert "b-*" in headway("deployment", "show", "arrivals").stdout
        assert headway("deployment", "unpin", "arrivals", *why).exit_code == 2
        assert "0 pins" in headway("deployment", "unpin", "arrivals", "--all", *why).stdout
        assert "5 %" in headway("deployment", "shadow", "arrivals", release, "--percent=5", *why).stdout
        assert "late@1 5 %" in headway("deployment", "show", "arrivals").stdout
        assert "no shadow" in headway("deployment", "unshadow", "arrivals", *why).stdout
        assert "is paused" in headway("rollout", "pause", rollout, *why).stdout
        assert "is running" in headway("rollout", "resume", rollout, *why).stdout
        assert headway("rollout", "advance", rollout, *why).exit_code == 2
        assert headway("rollout", "start", "arrivals", release, "--steps", "5,x").exit_code == 2
        assert "wait for it" in headway("rollout", "start", "arrivals", release, "--steps", "5,100").stderr


class TestProject:
    TEXT = '[project]\nname = "x"\n[environments.staging]\ngate = ["contract"]\n'

    def test_apply_and_show(self, headway: Headway, tmp_path: Path) -> None:
        (tmp_path / "headway.toml").write_text(self.TEXT)
        assert "staging" in headway("project", "apply", str(tmp_path)).stdout
        assert headway("project", "show").stdout == self.TEXT

    def test_mistakes_are_named(self, headway: Headway, tmp_path: Path) -> None:
        assert headway("project", "apply", str(tmp_path)).exit_code == 2
        (tmp_path / "headway.toml").write_text(self.TEXT.replace("gate", "gates"))
        wrong = headway("project", "apply", str(tmp_path))
        assert wrong.exit_code == 2
        assert "did you mean 'gate'?" in wrong.stderr

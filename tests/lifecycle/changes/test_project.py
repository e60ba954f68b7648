"""What `headway.toml` may say, and how its mistakes are told."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import BadSettings
from headway.lifecycle.changes.cron import cron_mistake
from headway.lifecycle.changes.project import Project, read_capture, read_project
from headway.lifecycle.changes.records import Cause
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.rollouts.sticky import Sticky
from headway.lifecycle.runs.capture import CaptureSpec
from headway.lifecycle.runs.pipeline import DeclaredStep

WHOLE = """
[project]
name = "flights"

[pipelines.train]
entry = "pipeline:train"
params = { months = 3, fast = true, label = "late", share = 0.5, carriers = ["UA", "B6"] }

[pipelines.score.steps.rows]
call = "pipeline:load"

[pipelines.score.steps.scores]
call = "pipeline:score"
inputs = { frame = "rows" }
after = ["rows"]

[datasets.flights]
about = "departures from New York"

[models.lateness]

[environments.production]
gate = ["beats_champion", { check = "slices", by = ["carrier"], margin = 0.02 }]
approvals = 1
approvers = ["rosa", "li"]

[environments.production.rollout]
steps = [5, 50, 100]
alpha = 0.01
patience_s = 3600

[deployments.lateness]
environment = "production"
model = "lateness"

[deployments.lateness.limits]
requests_per_s = 50
burst = 100

[monitors.drift]
deployment = "lateness"
watches = "drift"
min_rows = 500
columns = ["hour"]

[triggers.drifted]
on = "alert"
source = "drift"
pipeline = "train"
deployment = "lateness"
params = { months = 6 }
cooldown_s = 86400

[triggers.nightly]
on = "schedule"
source = "30 4 * * MON-FRI"
pipeline = "train"
deployment = "lateness"

[triggers.fresh]
on = "dataset"
source = "flights"
pipeline = "train"
deployment = "lateness"
"""
CHECKS = ("beats_champion", "slices", "parity")


def test_all_that_a_project_declares_is_read() -> None:
    project = read_project(WHOLE, checks=CHECKS)
    assert project.name == "flights"
    assert project.pipelines["train"].entry == "pipeline:train"
    assert project.pipelines["train"].params == {
        "months": "3", "fast": "true", "label": "late", "share": "0.5", "carriers": '["UA","B6"]',
    }  # fmt: skip
    assert project.pipelines["score"].steps["scores"] == DeclaredStep(
        call="pipeline:score", inputs={"frame": "rows"}, after=("rows",)
    )
    production = project.environments["production"]
    assert production.gate == (
        CheckSpec(check="beats_champion"), CheckSpec(check="slices", settings={"by": ["carrier"], "margin": 0.02}),
    )  # fmt: skip
    assert (production.approvals, production.approvers) == (1, ("rosa", "li"))
    assert (production.rollout.steps, production.rollout.patience_s) == ((5, 50, 100), 3600.0)
    assert project.deployments["lateness"].target == "process"
    assert project.monitors["drift"].watches is Watches.DRIFT
    assert project.monitors["drift"].settings == {"min_rows": 500, "columns": ["hour"]}
    assert project.triggers["drifted"].on is Cause.ALERT
    assert project.triggers["drifted"].params == {"months": "6"}


def test_a_sticky_header_is_in_lower_case() -> None:
    said = '[deployments.lateness.sticky]\nheader = "X-Customer"\n'
    assert read_project(WHOLE + said).deployments["lateness"].sticky == Sticky(header="x-customer")


def test_a_name_is_enough() -> None:
    project = read_project('[project]\nname = "empty"')
    assert project == Project(
        name="empty", pipelines={}, datasets={}, models={}, environments={}, deployments={}, monitors={}, triggers={}
    )


BROKEN = [
    # old text, new text, what is said
    (
        "burst = 100",
        "[deployments.lateness.capture]\nshare = 0",
        r"\[deployments.lateness.capture\] share must be above 0",
    ),
    (
        "burst = 100",
        '[deployments.lateness.sticky]\nheader = "x-customer"\nfeature = "carrier"',
        r"\[deployments.lateness.sticky\] takes a header or a feature, not both",
    ),
    ("burst = 100", '[deployments.lateness.sticky]\nheader = "x customer"', "'x customer' is no name of a header"),
    ("burst = 100", '[deployments.lateness.sticky]\nheader = "Headway-Caller"', "means something else"),
    ("burst = 100", '[deployments.lateness.sticky]\nheader = "Cookie"', "holds secrets, and keys are captured"),
    ("burst = 100", '[deployments.lateness.sticky]\nkey = "x"', r"sticky\] has an unknown key 'key'"),
    ("burst = 100", "burst = 0", r"\[deployments.lateness.limits\] burst must be above 0"),
    ("burst = 100", "caller_burst = 3", r"caller_burst needs caller_requests_per_s beside it"),
    ("burst = 100", "bursts = 3", r"\[deployments.lateness.limits\] has an unknown key 'bursts'"),
    ("requests_per_s = 50", 'requests_per_s = "50"', r"\[deployments.lateness.limits\] requests_per_s: expected"),
    ("[project]", "[project", r"cannot be read: .*line 2"),
    ('name = "flights"', "name = ", r"cannot be read: .*line 3"),
    ('name = "flights"', "", r'\[project\] needs a name = "..." of text, not nothing'),
    ('name = "flights"', "name = 3", r"\[project\] needs a name .* not a number"),
    ('name = "flights"', 'name = "a/b"', r"\[project\] name: 'a/b' cannot name a project"),
    ('name = "flights"', 'name = "flights"\nnames = 1', r"\[project\] has an unknown key 'names'; did you mean 'name'"),
    ("[project]", "[projct]", r"headway.toml has an unknown key 'projct'; did you mean 'project'"),
    ("[datasets.flights]", "[dataset.flights]", r"unknown key 'dataset'; did you mean 'datasets'"),
    ("[models.lateness]", "[[models]]", r"\[models\] must be a table, not a list"),
    ("[models.lateness]", "[models]\nlateness = 3", r"\[models.lateness\] must be a table, not a number"),
    ("[models.lateness]", '[models."../x"]', r"\[models\]: '../x' cannot name a model"),
    ('about = "dep', 'abuot = "dep', r"\[datasets.flights\] has an unknown key 'abuot'; did you mean 'about'"),
    ('about = "departures from New York"', "about = 3", r"\[datasets.flights\] about: expected str, got int"),
    (
        'about = "departures from New York"',
        "about = 2020-01-01",
        r"datasets.flights.about: write dates .*\"2020-01-01\"",
    ),
    ('entry = "pipeline:train"', "", r"\[pipelines.train\] takes one of .* not neither"),
    (
        'entry = "pipeline:train"',
        'entry = "pipeline.train"',
        r"\[pipelines.train\] entry: 'pipeline.train' is no entry",
    ),
    (
        'entry = "pipeline:train"',
        'entry = "x:y"\nsteps = {a = {call = "x:y"}}',
        r"\[pipelines.train\] takes one .* both",
    ),
    ('entry = "pipeline:train"', 'entrys = "pipeline:train"', r"unknown key 'entrys'; did you mean 'entry'"),
    ("params = { months = 3,", "params = 3 #", r"\[pipelines.train\] params must be a table, not a number"),
    ('call = "pipeline:load"', 'call = "load"', r"\[pipelines.score.steps.rows\] call: 'load' is no entry"),
    ('call = "pipeline:load"', "", r"\[pipelines.score.steps.rows\] lacks 'call'"),
    ('after = ["rows"]', 'after = ["rowz"]', r"\[pipelines.score.steps\]: .*'rowz'.*did you mean 'rows'"),
    ('after = ["rows"]', 'after = ["scores"]', r"\[pipelines.score.steps\]: .*scores -> scores"),
    ('inputs = { frame = "rows" }', "inputs = { frame = 1 }", r"\[pipelines.score.steps.scores\] inputs.*expected str"),
    ('gate = ["beats_champion"', 'gate = ["beat_champion"', r"production\] gate\[0\]: .*did you mean 'beats_champion'"),
    ('check = "slices"', 'chek = "slices"', r"gate\[1\] needs check = .* not nothing"),
    (
        'check = "slices"',
        'check = "beats_champion"',
        r"\[environments.production\] gate demands 'beats_champion' twice",
    ),
    ('gate = ["', 'gate = "x" #', r"\[environments.production\] gate must be a list of checks, not text"),
    ("approvals = 1", "approvals = -1", r"\[environments.production\] approvals must not be negative"),
    ("approvals = 1", 'approvals = "one"', r"\[environments.production\] approvals: expected int, got str"),
    ("approvals = 1", "approvals = true", r"\[environments.production\] approvals: expected int, got bool"),
    ("approvals = 1", "approvals = 3", r"approvals: 3 cannot come from 2 approvers"),
    ('["rosa", "li"]', '["rosa", "rosa"]', r"approvers names somebody twice"),
    ('["rosa", "li"]', '["rosa", 7]', r"\[environments.production\] approvers\[1\]: expected str, got int"),
    (
        "steps = [5, 50, 100]",
        "steps = [5, 5, 100]",
        r"\[environments.production.rollout\] steps must rise .* end at 100",
    ),
    ("steps = [5, 50, 100]", "steps = [5, 50]", r"steps must rise"),
    ("steps = [5, 50, 100]", "steps = []", r"steps must rise"),
    ("steps = [5, 50, 100]", "steps = [0, 100]", r"steps must rise"),
    ("steps = [5, 50, 100]", "steps = [50, 5.5, 100]", r"production.rollout\] steps\[1\]: expected int, got float"),
    ("alpha = 0.01", "alpha = 1", r"\[environments.production.rollout\] alpha must be above 0 and below 1, not 1"),
    ("alpha = 0.01", "alpha = nan", r"environments.production.rollout.alpha must be a finite number"),
    ("alpha = 0.01", "alfa = 0.01", r"production.rollout\] has an unknown key 'alfa'; did you mean 'alpha'"),
    ("alpha = 0.01", "max_slow_rate = 5", r"max_slow_rate is a share from 0 to 1, not 5"),
    ("alpha = 0.01", "min_requests = -5", r"min_requests must not be negative"),
    ("alpha = 0.01", "min_requests = 99999999999999999999", r"at most 2\^53"),
    ("patience_s = 3600", "patience_s = 0", r"patience_s must be above 0"),
    ("patience_s = 3600", "period_days = 0", r"period_days must be above 0"),
    ("patience_s = 3600", "period_labels = 0", r"period_labels must be above 0"),
    ("patience_s = 3600", "label_lag_days = -1", r"label_lag_days must not be negative"),
    (
        'environment = "production"',
        'environment = "prodction"',
        r"\[deployments.lateness\] environment: .*'production'",
    ),
    ('environment = "production"', "", r"\[deployments.lateness\] lacks 'environment'"),
    ('model = "lateness"', 'model = "x"', r"model: there is no model 'x'; declare \[models.x\]"),
    ('watches = "drift"', 'watches = "drfit"', r"\[monitors.drift\] watches: invalid enum value 'drfit'"),
    ('watches = "drift"', "", r"\[monitors.drift\] lacks 'watches'"),
    (
        'deployment = "lateness"\nwatches',
        'deployment = "x"\nwatches',
        r"\[monitors.drift\] deployment: there is no deploy",
    ),
    ('columns = ["hour"]', "columns = { a = 1 }", r"\[monitors.drift\] columns must be a number, text.* not a table"),
    ('on = "alert"', 'on = "alarm"', r"\[triggers.drifted\] on: invalid enum value 'alarm'"),
    ('on = "alert"', 'on = "person"', r"\[triggers.drifted\] source: a person needs none"),
    ('on = "alert"', 'on = "dataset"', r"\[triggers.drifted\] source: there is no dataset 'drift'"),
    ('source = "drift"', "", r"\[triggers.drifted\] source: there is no monitor ''; declare \[monitors.name\]"),
    ('source = "flights"', 'source = "flight"', r"\[triggers.fresh\] source: .*did you mean 'flights'"),
    ('pipeline = "train"', 'pipeline = "tran"', r"\[triggers.drifted\] pipeline: .*did you mean 'train'"),
    ("cooldown_s = 86400", "cooldown_s = -1", r"\[triggers.drifted\] cooldown_s must not be negative"),
    ("cooldown_s = 86400", 'cooldown_s = "1 day"', r"\[triggers.drifted\] cooldown_s: expected float, got str"),
    ("30 4 * * MON-FRI", "30 4 * *", r"\[triggers.nightly\] source: a cron line has five fields"),
    ("30 4 * * MON-FRI", "61 4 * * *", r"\[triggers.nightly\] source: the minute of a cron line goes from 0 to 59"),
    ("[triggers.fresh]", f"[{'.'.join(['triggers', 'fresh'] + ['a'] * 500)}]", r"nested too deeply"),
]


@pytest.mark.parametrize(("old", "new", "said"), BROKEN, ids=[new[:40] or old[:40] for old, new, _ in BROKEN])
def test_a_mistake_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(BadSettings, match=said):
        read_project(WHOLE.replace(old, new, 1), checks=CHECKS)


def test_without_a_list_any_check_may_be_demanded() -> None:
    assert read_project(WHOLE.replace("beats_champion", "mine")).environments["production"].gate[0].check == "mine"


def test_very_deep_arrays_are_refused() -> None:
    with pytest.raises(BadSettings, match=r"cannot be read|nested too deeply"):
        read_project('[project]\nname = "x"\n[monitors.a]\nb = ' + "[" * 3000 + "]" * 3000)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadSettings):
        read_project(text)


_KEYS = st.sampled_from(
    ["entry", "steps", "params", "gate", "rollout", "approvals", "check", "on", "source", "x", "name"]
)
_VALUES = st.recursive(
    st.sampled_from(["1", "-1", "nan", "true", '"a"', '""', "2020-01-01", '"m:f"', '"alert"', "1e400", "07:32:00"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(_KEYS, inner, max_size=3).map(
            lambda items: f"{{{', '.join(f'{key} = {value}' for key, value in items.items())}}}"
        )
    ),
    max_leaves=5,
)
_SECTIONS = st.sampled_from(
    ["pipelines", "datasets", "models", "environments", "deployments", "monitors", "triggers", "project", "other"]
)


@given(st.lists(st.tuples(_SECTIONS, st.dictionaries(_KEYS, _VALUES, max_size=4)), max_size=4))
def test_any_tables_are_read_or_refused(tables: list[tuple[str, dict[str, str]]]) -> None:
    lines = ['[project]\nname = "x"']
    for place, (section, table) in enumerate(tables):
        lines += [f"[{section}.a{place}]", *(f"{key} = {value}" for key, value in table.items())]
    with suppress(BadSettings):
        read_project("\n".join(lines))


@given(st.integers(0, len(WHOLE)), st.integers(0, 20), st.text(max_size=5))
def test_any_edit_is_read_or_refused(start: int, length: int, new: str) -> None:
    with suppress(BadSettings):
        read_project(WHOLE[:start] + new + WHOLE[start + length :])


@pytest.mark.parametrize(
    "line", ["* * * * *", "*/5 0-6 1,15 jan,Dec sun", "0 0 29 2 *", "59 23 31 12 7", "0 0 1-31/2 * 1-5", "0 0 31 2 1"]
)
def test_cron_lines(line: str) -> None:
    assert cron_mistake(line) == ""


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
     "5-1 * * * *", "5/2 * * * *", "a * * * *", "* * * mon *", ", * * * *", "1, * * * *", "-1 * * * *", "٣ * * * *",
     "0 0 30 2 *", "0 0 31 4,6 *", "1-2-3 * * * *", "@daily"],
)  # fmt: skip
def test_lines_that_are_no_cron_lines(line: str) -> None:
    assert cron_mistake(line)


_FIELD = st.text("0123456789*/-,", min_size=1, max_size=5)


@given(st.tuples(_FIELD, _FIELD, _FIELD, _FIELD, _FIELD).map(" ".join))
def test_what_is_accepted_the_scheduler_takes_too(line: str) -> None:
    if not cron_mistake(line):
        try:
            next(CronSim(line, datetime(2020, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            pytest.fail(f"{line}: {error}")


def test_what_runs_record_by_themselves() -> None:
    said = "[capture]\nsystem = false\nevery_s = 30\n"
    assert read_capture("") == CaptureSpec() == read_project(WHOLE).capture
    assert read_project(WHOLE + said).capture == read_capture(said) == CaptureSpec(system=False, every_s=30.0)
    assert read_capture(said + "[pipelines.x]\nentry = 7") == CaptureSpec(system=False, every_s=30.0)
    for wrong, told in (
        ("every_s = 0.5", "at least 1"),
        ("sistem = true", "did you mean 'system'"),
        ("code = 1", "bool"),
    ):
        with pytest.raises(BadSettings, match=told):
            read_capture(f"[capture]\n{wrong}")

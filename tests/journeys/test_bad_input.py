"""Bad input from outside, to a running server: each a clear error, nothing lost, and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.errors import AlreadyExists, Invalid, NotFound
from headway.kernel.access import Role
from headway.lifecycle.predictions.records import Label
from tests.journeys.table import orders
from tests.journeys.traffic import Traffic, request
from tests.journeys.world import DEPLOYMENT, PROJECT, World

TOML = (PROJECT / "headway.toml").read_text()
BAD_TOML = [
    # the text, a part of the message
    ("[project\n", "headway.toml cannot be read: Expected ']' at the end of a table declaration (at line 1"),
    (TOML + '[projct]\nname = "x"\n', "headway.toml has an unknown key 'projct'; did you mean 'project'?"),
    (TOML.replace("approvals = 1", "aprovals = 1"), "unknown key 'aprovals'; did you mean 'approvals'?"),
    (TOML.replace("max_ece", "max_ec"), "check 'calibration' has no setting 'max_ec'; did you mean 'max_ece'?"),
    (TOML.replace("max_slow_rate", "max_slo_rate"), "unknown key 'max_slo_rate'; did you mean 'max_slow_rate'?"),
    (TOML.replace("min_windows = 20", 'min_windows = "many"'), "min_windows"),
    (TOML.replace("[10, 50, 100]", "[50, 10, 100]"), "[environments.production.rollout] steps"),
    (TOML.replace('model = "lateness"', 'model = "latenes"'), "there is no model 'latenes'; did you mean 'lateness'?"),
    (TOML.replace('source = "inputs"', 'source = "input"'), "did you mean 'inputs'?"),
    (TOML.replace("pipeline:train", "pipeline.train"), "is no entry; write module:function"),
    (TOML + '[pipelines.p]\nentry = "a:b"\nsteps.s.call = "a:b"\n', "not both"),
    (TOML + '[pipelines.p.steps.a]\ncall = "m:a"\nafter = ["c"]\n', "'c'"),
    (
        TOML
        + '[pipelines.p.steps.a]\ncall = "m:a"\nafter = ["b"]\n[pipelines.p.steps.b]\ncall = "m:b"\nafter = ["a"]\n',
        "[pipelines.p.steps]",
    ),
    (TOML + "x = nan\n", "must be a finite number"),
]


@pytest.mark.parametrize(("text", "said"), BAD_TOML, ids=range(len(BAD_TOML)))
def test_a_project_that_cannot_be_is_refused_whole(served: World, text: str, said: str) -> None:
    before = served.owner.project.text()
    with pytest.raises(Invalid) as refusal:
        served.owner.project.apply(text)
    assert said in str(refusal.value)
    assert served.owner.project.text() == before


@pytest.mark.parametrize(("text", "said"), [BAD_TOML[0], BAD_TOML[2]], ids=["no TOML", "unknown key"])
def test_up_says_so_too_and_starts_nothing(served: World, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "headway.toml").write_text(text)
    command = [sys.executable, "-m", "headway.cli", "up", "--home", str(tmp_path / "home"), "--port", "0"]
    done = subprocess.run(
        command, cwd=tmp_path, env=served.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "server.json").exists()


def good() -> dict[str, Any]:
    return request(orders(0, 1, a_day=4))


def changed(**fields: Any) -> dict[str, Any]:
    """A good request with fields of its first input replaced."""
    body = good()
    body["inputs"][0] |= fields
    return body


BAD_REQUESTS = [
    (b"{", 400, "the body is not an inference request"),
    (b"\xff\xfe", 400, "the body is not an inference request"),
    ({"inputs": []}, 400, "distance_km"),
    (changed(data=[1.0, None, 2.0, 3.0]), 422, "distance_km"),
    (json.dumps(changed(data=[1.0, float("nan"), 2.0, 3.0])).encode(), 400, "the body is not an inference request"),
    (changed(data=[1e300, 1.0, 1.0, 1.0]), 400, "distance_km"),
    (changed(data=[-5.0, 1.0, 1.0, 1.0]), 422, "distance_km"),
    (changed(shape=[4, 2]), 400, "has shape [4, 2], but the model takes [-1, 1]"),
    (changed(shape=[5, 1]), 400, "distance_km"),
    (changed(shape=[4, 1], data=[1.0]), 400, "distance_km"),
    (changed(datatype="INT64"), 400, "is INT64, but its data holds float"),
    (changed(name="distance"), 400, "distance"),
    (changed(data=["far"] * 4), 400, "distance_km"),
    (good() | {"parameters": {"prediction_ids": ["a", "a", "b", "c"]}}, 400, "must be 4 different ids"),
    (good() | {"parameters": {"prediction_ids": ["a"]}}, 400, "must be 4 different ids"),
    (good() | {"parameters": {"event_at": "2026-01-01T00:00:00"}}, 400, "event_at"),
    (b'{"inputs":' + b"[" * 100_000, 400, "the body is not an inference request"),
    (b" " * (9 << 20), 413, "the body is larger than 8388608 bytes"),
]


@pytest.mark.parametrize(("body", "status", "said"), BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_a_request_that_does_not_fit_gets_an_answer_and_harms_nobody(
    served: World, body: dict[str, Any] | bytes, status: int, said: str
) -> None:
    traffic = Traffic(served.owner, DEPLOYMENT)
    code, answer = traffic.infer(body)
    assert (code, list(answer)) == (status, ["error"])
    assert said in answer["error"]
    assert "Traceback" not in answer["error"]
    assert traffic.infer(good() | {"parameters": {}})[0] == 200


def test_an_id_that_was_given_before_is_answered_and_keeps_its_first_prediction(served: World) -> None:
    """Twice in different requests: the second is an answer like any other, and labels go to the first."""
    traffic, rows = Traffic(served.owner, DEPLOYMENT), orders(0, 1, a_day=8).head(1)
    traffic.play(rows)
    name = rows["order"][0]
    first = served.owner.predictions.get(name)
    assert first.label == rows["late"][0]
    traffic.play(rows)
    assert traffic.failures == []
    assert served.owner.predictions.get(name) == first


def test_labels_for_nobody_and_labels_twice(served: World) -> None:
    rows = orders(1, 1, a_day=8)
    Traffic(served.owner, DEPLOYMENT).play(rows)
    known = rows["order"][0]
    with pytest.raises(NotFound, match="no prediction 'nobody' was captured"):
        served.owner.predictions.label({"nobody": 1.0})
    answer = served.owner.predictions.label({known: 1.0, "nobody": 1.0})
    assert (answer.joined, answer.repeated, answer.unknown) == (0, 1, ("nobody",))
    with pytest.raises(Invalid, match="two labels in this batch name the same prediction"):
        served.owner.predictions.label([Label(prediction=known, value=1.0), Label(prediction=known, value=0.0)])


def test_a_name_for_two_tokens(served: World) -> None:
    served.owner.tokens.create("twin", Role.READER)
    with pytest.raises(AlreadyExists, match="there is a token named 'twin' already"):
        served.owner.tokens.create("twin", Role.OWNER)
    assert [token.role for token in served.owner.tokens.list() if token.name == "twin"] == [Role.READER]


def test_a_body_that_is_too_large_for_the_control_plane(served: World) -> None:
    token = (served.home / "tokens" / "owner").read_text().strip()
    answer = httpx2.post(
        f"{served.url}/v1/changes", content=b" " * (17 << 20), headers={"authorization": f"Bearer {token}"}, timeout=30
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


BAD_COMMANDS = [
    (["run", "train", "-p", "strength"], 2, "-p takes KEY=VALUE, not 'strength'"),
    (["run", "train", "-p", "strength=1", "-p", "strength=2"], 2, "-p strength=... is there twice"),
    (["run", "train", "-p", "strengt=1"], 2, "did you mean 'strength'?"),
    (["run", "train", "-p", "held_out_days=some"], 2, "param 'held_out_days' takes int, and 'some' is none"),
    (["run", "trian"], 2, "did you mean 'train'?"),
    (["change", "open", "--to", "latenes", "--pipeline", "train"], 2, "no deployment 'latenes'"),
    (["change", "open", "--to", "lateness"], 2, "either a pipeline to run or a model version to ship"),
    (["change", "approve", "999", "--why", "x"], 2, "no change 999"),
    (["ship", "lateness@99"], 2, "no model version 'lateness@99'"),
    (["dataset", "add", "orders", "headway.toml"], 2, "add files under another name"),
    (["dataset", "show", "orders@0"], 2, "after @ comes a version number"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD_COMMANDS, ids=lambda value: str(value)[:40])
def test_a_command_that_cannot_be_says_what_to_do(served: World, arguments: list[str], code: int, said: str) -> None:
    before = served.owner.changes.list()
    command = [sys.executable, "-m", "headway.cli", *arguments, "--home", str(served.home)]
    done = subprocess.run(
        command, cwd=served.project, env=served.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert served.owner.changes.list() == before

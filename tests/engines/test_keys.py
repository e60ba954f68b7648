"""The key changes with what can change the result, and with nothing else."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.pipelines.canonical import canonical
from headway.engines.pipelines.keys import Keys
from headway.engines.pipelines.outputs import Stored, pack
from headway.engines.pipelines.sources import open_project
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.pipeline import Step
from headway.lifecycle.runs.results import Result

Key = Callable[..., str]


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    kept, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    for name in set(sys.modules) - set(kept):
        if name.startswith(("steps", "tools", "settings", "kit")):
            del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Key of `steps.work` called with the arguments, when the files of the project are as given."""

    def of(*args: Any, files: dict[str, str], **kwargs: Any) -> str:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        open_project(tmp_path)
        work: Step = importlib.import_module("steps").work
        arguments = work.signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        return Keys(tmp_path).of(work, arguments)

    return of


STEPS = """
from headway.lifecycle.runs.pipeline import step
import tools
import numpy
from settings import RATE

OFFSET = 3

@step
def work(x, n=10):
    return tools.double(x) * RATE + OFFSET + n
"""
TOOLS = """
LIMIT = {"top": 5}

def double(x):
    return min(triple(x), LIMIT["top"])

def triple(x):
    return 3 * x

def unused(x):
    return x
"""
FILES = {"steps.py": STEPS, "tools.py": TOOLS, "settings.py": "RATE = 2.5\nOTHER = 1\n"}


def edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[file]
    return FILES | {file: FILES[file].replace(old, new)}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("steps.py", "    return tools", "    # why\n    return tools", id="comment"),
        pytest.param("steps.py", "    return tools", '    """Says what it does."""\n    return tools', id="docstring"),
        pytest.param("steps.py", "def work(x, n=10):", "def work(\n    x,\n    n = 10\n):", id="layout"),
        pytest.param("steps.py", "@step\n", "\n\n@step()\n", id="moved down, decorator called"),
        pytest.param("steps.py", "@step\n", '@step(cache=False, name="other")\n', id="decorator's options"),
        pytest.param("steps.py", "OFFSET = 3", "OFFSET = 1 + 2  # three", id="constant of the same value"),
        pytest.param("tools.py", "    return 3 * x", "    'Thrice.'\n    return (3 * x)", id="helper's docstring"),
        pytest.param("tools.py", "def unused(x):\n    return x", "def unused(x):\n    return -x", id="unused helper"),
        pytest.param("settings.py", "OTHER = 1", "OTHER = 2", id="unused constant"),
    ],
)
def test_what_cannot_change_the_result_keeps_the_key(key: Key, file: str, old: str, new: str) -> None:
    assert key(1, files=FILES) == key(1, files=edited(file, old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("steps.py", "+ n", "- n", id="the step"),
        pytest.param("steps.py", "n=10", "n=11", id="default"),
        pytest.param("steps.py", "OFFSET = 3", "OFFSET = 4", id="constant"),
        pytest.param("steps.py", "OFFSET = 3", "OFFSET = 3.0", id="type of a constant"),
        pytest.param("steps.py", "@step\n", '@step(version="2")\n', id="declared version"),
        pytest.param("settings.py", "RATE = 2.5", "RATE = 2.6", id="imported constant"),
        pytest.param("tools.py", "return min", "return max", id="helper"),
        pytest.param("tools.py", "3 * x", "4 * x", id="helper's helper"),
        pytest.param("tools.py", '"top": 5', '"top": 6', id="helper's constant"),
    ],
)
def test_what_can_change_the_result_changes_the_key(key: Key, file: str, old: str, new: str) -> None:
    assert key(1, files=FILES) != key(1, files=edited(file, old, new))


HEAD = "from headway.lifecycle.runs.pipeline import step\n"
PAIRS = {
    "class": ("class Model:\n    k = 1\n@step\ndef work(x):\n    return Model()", "k = 1", "k = 2"),
    "base class": ("class B:\n    k = 1\nclass M(B):\n    pass\n@step\ndef work(x):\n    return M()", "k = 1", "k = 2"),
    "decorator's argument": (
        "from functools import wraps\ndef scaled(k):\n    def outer(f):\n        @wraps(f)\n        def inner(*a):\n"
        "            return k * f(*a)\n        return inner\n    return outer\n"
        "@scaled(2)\ndef f(x):\n    return x\n@step\ndef work(x):\n    return f(x)",
        "@scaled(2)", "@scaled(3)",
    ),
    "decorated below the step": (
        "def scaled(f):\n    def inner(x):\n        return 2 * f(x)\n    return inner\n"
        "@step(name='work')\n@scaled\ndef work(x):\n    return x",
        "return x", "return -x",
    ),
    "cached helper": (
        "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return x + 1\n"
        "@step\ndef work(x):\n    return f(x)",
        "x + 1", "x + 2",
    ),
    "partial": (
        "from functools import partial\ndef f(a, x):\n    return x\ng = partial(f, 1)\n"
        "@step\ndef work(x):\n    return g(x)",
        "(f, 1)", "(f, 2)",
    ),
    "closure": (
        "def make(n):\n    @step(name='work')\n    def inner(x):\n        return x * n\n    return inner\n"
        "work = make(2)",
        "make(2)", "make(3)",
    ),
    "swapped closures": (
        "def make(n):\n    def inner(x):\n        return x * n\n    return inner\na = make(2)\nb = make(3)\n"
        "@step\ndef work(x):\n    return a(x) - b(x)",
        "a = make(2)\nb = make(3)", "a = make(3)\nb = make(2)",
    ),
    "compiled pattern": (
        "import re\nP = re.compile('a')\n@step\ndef work(x):\n    return P.sub('', x)", "compile('a')", "compile('b')",
    ),
    "object made by a call": (
        "class T:\n    def __init__(self, k):\n        self.k = k\nt = T(1)\n"
        "@step\ndef work(x):\n    return t.k", "T(1)",
        "T(2)",
    ),
    "functions in a dict": (
        "def f(x):\n    return 1\nD = {'f': f}\n@step\ndef work(x):\n    return D[x](x)", "return 1", "return 2",
    ),
    "swapped in a dict": (
        "def f(x):\n    return 1\ndef g(x):\n    return 2\nD = {'f': f, 'g': g}\n"
        "@step\ndef work(x):\n    return D[x](x)",
        "{'f': f, 'g': g}", "{'f': g, 'g': f}",
    ),
    "other library function by the same name": (
        "from math import sin as f\n@step\ndef work(x):\n    return f(x)", "import sin", "import cos",
    ),
    "other library class by the same name": (
        "from collections import OrderedDict as C\n@step\ndef work(x):\n    return C()", "OrderedDict", "Counter",
    ),
    "step called by a step": (
        "@step\ndef inner(x):\n    return 1\n@step\ndef work(x):\n    return inner(x)", "return 1", "return 2",
    ),
    "lambda": ("f = lambda x: 1\n@step\ndef work(x):\n    return f(x)", "x: 1", "x: 2"),
    "named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'a b')\n@step\ndef work(x):\n    return P(1, 2)",
        "'a b'", "'b a'",
    ),
    "frame": (
        "import polars\nT = polars.DataFrame({'a': [1]})\n@step\ndef work(x):\n    return T", "[1]", "[2]",
    ),
    "nested function": (
        "def make():\n    def f():\n        return OFFSET\n    return f()\nOFFSET = 1\n"
        "@step\ndef work(x):\n    return make()",
        "OFFSET = 1", "OFFSET = 2",
    ),
    "default of a helper": (
        "N = 1\ndef f(x, n=N):\n    return n\n@step\ndef work(x):\n    return f(x)", "N = 1", "N = 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_code_that_is_reached_is_followed(key: Key, name: str) -> None:
    text, old, new = PAIRS[name]
    assert old in text
    before = key("x", files={"steps.py": HEAD + text})
    assert before == key("x", files={"steps.py": HEAD + text + "\n# a comment"})
    assert before != key("x", files={"steps.py": HEAD + text.replace(old, new)})


@pytest.mark.parametrize(
    "text",
    [
        "from kit.inner import f\n@step\ndef work(x):\n    return f(x)",
        "import kit.inner\n@step\ndef work(x):\n    return kit.inner.f(x)",
        "import kit.inner as ki\n@step\ndef work(x):\n    g = ki\n    return g.f(x)",
        "from kit import *\n@step\ndef work(x):\n    return f(x)",
        "@step\ndef work(x):\n    from kit.inner import f\n    return f(x)",
        "@step\ndef work(x):\n    import kit.inner\n    return kit.inner.f(x)",
        "from kit import P\n@step\ndef work(x):\n    return P.g(x)",
        "from kit import pattern\n@step\ndef work(x):\n    return pattern",
    ],
)
def test_imports_of_the_project_are_followed(key: Key, text: str) -> None:
    inner = "import re\nclass P:\n    k = 5\ndef f(x):\n    return 5\npattern = object.__new__(P), 5\n"
    files = {"steps.py": HEAD + text, "kit/__init__.py": "from .inner import P, f, pattern", "kit/inner.py": inner}
    before = key(1, files=files)
    assert before == key(1, files=files | {"kit/inner.py": "# moved\n" + inner})
    assert before != key(1, files=files | {"kit/inner.py": inner.replace("5", "6")})


def test_an_edit_while_the_module_is_loaded_does_not_count(tmp_path: Path, key: Key) -> None:
    first = key(1, files=FILES)
    work: Step = sys.modules["steps"].work
    (tmp_path / "steps.py").write_text(STEPS.replace("+ n", "- n"))
    arguments = work.signature.bind(1, n=10)
    assert Keys(tmp_path).of(work, arguments) == first


def test_a_second_text_of_the_same_size_and_time_is_seen(key: Key) -> None:
    keys = {key(1, files=edited("steps.py", "OFFSET = 3", f"OFFSET = {digit}")) for digit in range(10)}
    assert len(keys) == 10


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Settings:
    depth: int
    names: tuple[str, ...] = ()


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, -0.0, 0.0, 2**80, 2**53, "1", "", "ü", b"1", b"", [], (), {}, [1], (1,), [1, [2]],
    [[1], 2], {"a": 1}, {"a": 1.0}, {1: "a"}, {"1": "a"}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {1}, frozenset({1}),
    float("nan"), float("inf"), 1j, datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), Path("a"), Path("b"),
    Colour.RED, Colour.BLUE, Settings(1), Settings(2), Settings(1, ("a",)), Settings, Colour, range(3), ...,
    np.array([1]), np.array([1.0]), np.array([[1]]), np.float32(1.5), pl.DataFrame({"a": [1]}),
    pl.DataFrame({"a": [1.0]}), pl.DataFrame({"b": [1]}), ["a", "b"], ["ab"],
]  # fmt: skip


def test_arguments_that_differ_give_keys_that_differ(tmp_path: Path, key: Key) -> None:
    key(1, files=FILES)
    work: Step = sys.modules["steps"].work

    def keys() -> list[str]:
        fresh = Keys(tmp_path)
        return [fresh.of(work, work.signature.bind(value, n=1)) for value in VALUES]

    assert len(set(keys())) == len(VALUES)
    assert keys() == keys()


def test_a_default_that_is_given_is_the_default(key: Key) -> None:
    assert key(1, files=FILES) == key(1, 10, files=FILES) == key(x=1, n=10, files=FILES)
    assert key(1, files=FILES) != key(1, 11, files=FILES)


_ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4)


@settings(max_examples=50)
@given(a=_ANY, b=_ANY)
def test_plain_values_are_told_apart_just_when_they_differ(a: Any, b: Any) -> None:
    def form(value: Any) -> bytes:
        return encode(canonical(value, repr))

    assert (form(a) == form(b)) == (repr(a) == repr(b))


def stored(value: Any, name: str = "before") -> Result:
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        blobs[digest(data)] = data
        return digest(data)

    return Result(name, Stored(pack(value, put), blobs.__getitem__))


def test_a_result_counts_by_its_content_wherever_it_came_from(key: Key) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    assert key(stored(frame), files=FILES) == key(stored(frame.clone(), "other"), files=FILES)
    assert key([stored(frame)], files=FILES) != key(stored(frame), files=FILES)
    assert key(stored(frame), files=FILES) != key(stored(frame.with_columns(a=3)), files=FILES)


def test_a_part_of_a_result_counts_without_its_siblings(key: Key) -> None:
    frame, other = pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})
    one, two = stored((frame, other)), stored((frame, frame))
    assert key(one[0], files=FILES) == key(two[0], files=FILES) == key(stored(frame), files=FILES)
    assert key(one[1], files=FILES) != key(two[1], files=FILES)
    assert key(one, files=FILES) != key(two, files=FILES)
    assert key(stored({"n": 1})["n"], files=FILES) == key(stored({"n": 1, "m": 2})["n"], files=FILES)


def test_a_frame_that_is_still_a_query_counts_by_what_it_gives(key: Key) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    lazy, other = frame.lazy().filter(pl.col("a") > 1), frame.tail(1).lazy()
    assert key(lazy, files=FILES) == key(other, files=FILES) != key(frame.lazy(), files=FILES)


def test_an_argument_without_content_is_named(key: Key) -> None:
    with pytest.raises(BadPipeline, match=r"step 'work', argument 'x': a .*Series.*to_frame"):
        key(pl.Series([1]), files=FILES)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(BadPipeline, match="contains itself"):
        key(loop, files=FILES)


def test_a_closure_without_content_is_named(key: Key) -> None:
    text = (
        "import threading\ndef make():\n    lock = threading.Lock()\n    @step(name='work')\n    def inner(x):\n"
        "        with lock:\n            return x\n    return inner\nwork = make()"
    )
    with pytest.raises(BadPipeline, match=r"step 'work' has no key: lock of make.* is a lock.*cache=False"):
        key(1, files={"steps.py": HEAD + text})


def test_code_of_no_module_is_refused(tmp_path: Path) -> None:
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("def f(x): return x", space)
    work = Step(space["f"])
    with pytest.raises(BadPipeline, match="module of f cannot be found"):
        Keys(tmp_path).of(work, work.signature.bind(1))


def test_code_that_its_file_no_longer_shows_counts_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that was imported in the common way, and edited since: in a notebook, say."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def key_of(text: str, then: str) -> str:
        (tmp_path / "kit_flow.py").write_text(HEAD + text)
        sys.modules.pop("kit_flow", None)
        importlib.invalidate_caches()
        work: Step = importlib.import_module("kit_flow").work
        (tmp_path / "kit_flow.py").write_text(HEAD + then)
        return Keys(tmp_path).of(work, work.signature.bind(1))

    one, two = "@step\ndef work(x):\n    return x + K\nK = 1\n", "@step\ndef work(x):\n    return x - K\nK = 1\n"
    assert key_of(one, then=one) != key_of(two, then=two)
    assert key_of(one, then=two) != key_of(two, then=two)
    assert key_of(one, then=two) != key_of(one.replace("K = 1", "K = 2"), then=two)
    assert key_of(one, then=two) == key_of(one, then=two.replace("x - K", "x * K"))


def test_another_process_gives_the_same_key(tmp_path: Path, key: Key) -> None:
    text = "SET = {'a', 'b', 'c'}\nclass C:\n    pass\n@step\ndef work(x):\n    return x in SET, x in {'d', 'e'}, C"
    here = key({"x", "y", "z"}, files={"steps.py": HEAD + text})
    script = (
        "import sys, importlib, pathlib\n"
        "from headway.engines.pipelines.keys import Keys\nfrom headway.engines.pipelines.sources import open_project\n"
        "folder = pathlib.Path(sys.argv[1])\nopen_project(folder)\nwork = importlib.import_module('steps').work\n"
        "print(Keys(folder).of(work, work.signature.bind({'x', 'y', 'z'})))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", script, str(tmp_path)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == here

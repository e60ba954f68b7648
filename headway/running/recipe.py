"""How a run was started, so that another process can go on with it."""

from __future__ import annotations

import msgspec

from headway.errors import Invalid
from headway.kernel.records import Value, encode
from headway.lifecycle.runs.records import Run

RECIPE, GOES_ON = "headway.recipe", "headway.goes_on_from"
"""Tags of a run: how it was started, and the first run whose finished steps it goes on from."""


class Recipe(Value):
    """How a run was started: the pipeline as it was named, its params as they were typed, and the steps that were to
    run although they are cached."""

    pipeline: str
    params: dict[str, str] = {}
    force: tuple[str, ...] = ()

    @property
    def tag(self) -> dict[str, str]:
        return {RECIPE: encode(self).decode()}


def recipe_of(run: Run) -> Recipe:
    """Raises `Invalid` for a run that was not started from the command line."""
    text = run.tags.get(RECIPE)
    if text is None and run.change:
        return Recipe(pipeline=run.pipeline, params=run.params)
    try:
        return msgspec.json.decode(text or "", type=Recipe)
    except msgspec.MsgspecError:
        raise Invalid(
            f"run {run.id} does not say how it was started; run the pipeline again, what was done comes from the cache"
        ) from None

"""What is kept of a failure: enough to find it, and nothing that should stay secret."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

from headway.engines.pipelines.sources import belongs

_LONGEST = 2_000
_SECRET_NAMES = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE", re.IGNORECASE)
_SECRETS = re.compile(
    r"(?P<before>://[^\s/:@]*:)[^\s/@]+(?=@)"
    r"|(?P<name>\b[\w-]*(?:token|secret|passw\w*|api_?key|authorization)[\"']?\s*[:=]\s*[\"']?(?:bearer\s+)?)[^\s\"',;&]+"
    r"|\bhw_[\w-]{8,}",
    re.IGNORECASE,
)


def told(error: BaseException, folder: Path) -> tuple[str, str]:
    """`error` in a few lines and in one: its type and message, and where in the project in `folder` it came through,
    innermost last."""
    message = without_secrets(f"{type(error).__name__}: {error}")[:_LONGEST]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if belongs(folder, frame.filename)]
    places = [f"{Path(frame.filename).relative_to(folder)}:{frame.lineno} in {frame.name}" for frame in frames]
    short = message.partition("\n")[0] + (f" ({places[-1]})" if places else "")
    return "\n  ".join([message, *places[-10:]]), short


def without_secrets(text: str) -> str:
    """`text` without passwords in addresses, values of names that sound secret, and such values of the environment."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET_NAMES.search(name):
            text = text.replace(value, "***")
    return _SECRETS.sub(lambda found: f"{found['before'] or found['name'] or ''}***", text)

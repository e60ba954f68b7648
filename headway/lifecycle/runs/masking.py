"""Values that look like secrets, taken out of what is kept of a command or of a change to the code."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
_SECRET_NAME = re.compile(
    r"token(?!s|i[sz])|passw|passphrase|pwd|secret|credential|auth(?!or)|api_?-?key|(^|[^a-z])key([^a-z]|$)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[\w.-]+")
_SECRET_SHAPE = re.compile(
    r"\b(?:hw_|sk-|gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-|AKIA|AIza)[\w-]{12,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
)
_IN_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")
_ASSIGNED = re.compile(r"""(?P<name>[\w.-]+)(?P<sign>["']?\s*[:=]\s*)(?P<quote>["'])(?P<value>[^"'\n]+)(?P=quote)""")


def masked_text(text: str) -> str:
    """`text` without quoted values that are given to a name like a secret's, passwords in addresses, and well-known
    shapes of tokens."""
    text = _ASSIGNED.sub(_without_value, text)
    return _SECRET_SHAPE.sub(MASK, _IN_ADDRESS.sub(rf"\g<1>{MASK}\g<2>", text))


def masked_command(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, with the values of options that look secret masked: `--token X`, `--api-key=X`,
    `password=X`."""
    found: list[str] = []
    secret_follows = False
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if secret_follows and not argument.startswith("-"):
            found.append(MASK)
        elif value and _NAME.fullmatch(name) and _SECRET_NAME.search(name):
            found.append(f"{name}={MASK}")
        else:
            found.append(masked_text(argument))
        secret_follows = not sign and argument.startswith("-") and bool(_SECRET_NAME.search(argument))
    return found


def _without_value(found: re.Match[str]) -> str:
    if not _SECRET_NAME.search(found["name"]):
        return found[0]
    return f"{found['name']}{found['sign']}{found['quote']}{MASK}{found['quote']}"

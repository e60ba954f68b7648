"""Where a run comes from: the command, the state of the repository, and what is installed."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from headway.errors import Invalid, NotFound
from headway.lifecycle.runs.capture import (
    BRANCH_TAG,
    COMMAND_TAG,
    COMMIT_TAG,
    DIRTY_TAG,
    HOST_TAG,
    KIND_TAG,
    SCRIPT_TAG,
    USER_TAG,
    PackageLock,
)
from headway.lifecycle.runs.masking import masked_command, masked_text

MOST_DIFF_BYTES = 256 * 1024
_LONGEST_COMMAND = 2000
_GIT_TIMEOUT_S = 3.0
_DIST_INFO = ".dist-info"
_SECRET_FILES = (".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", ".netrc", ".pypirc")


def command_tags(arguments: Sequence[str], script: str) -> dict[str, str]:
    """Command, script, host and user, without values of options that look secret."""
    found = {
        COMMAND_TAG: shlex.join(masked_command(arguments))[:_LONGEST_COMMAND],
        SCRIPT_TAG: script or arguments[0],
        KIND_TAG: "LOCAL",
        HOST_TAG: os.uname().nodename,
    }
    with suppress(OSError, KeyError, ImportError):  # a user whom this machine has no name for
        found[USER_TAG] = _user()
    return found


def _user() -> str:
    """As `getpass` has it, which takes long to import."""
    named = next((os.environ[name] for name in ("LOGNAME", "USER", "LNAME", "USERNAME") if os.environ.get(name)), "")
    return named or pwd.getpwuid(os.getuid()).pw_name


def repository_tags(folder: Path) -> dict[str, str]:
    """Commit, branch, and whether a file that git knows was edited since; nothing outside of a repository."""
    said = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules")
    if said is None:
        return {}
    lines = said.decode(errors="replace").splitlines()
    heads = dict(line[2:].partition(" ")[::2] for line in lines if line.startswith("# "))
    commit, branch = heads.get("branch.oid", ""), heads.get("branch.head", "")
    found = {DIRTY_TAG: str(any(not line.startswith("# ") for line in lines)).lower()}
    if not commit.startswith("("):
        found[COMMIT_TAG] = commit
    if not branch.startswith("("):
        found[BRANCH_TAG] = branch
    return found


def commit_of(folder: Path, revision: str) -> tuple[str, datetime]:
    """The whole name of a commit, and when it was made; raises `NotFound` where there is none."""
    if revision.startswith("-"):
        raise Invalid(f"{revision[:60]!r} names no commit")
    said = _git(folder, "log", "-1", "--no-show-signature", "--format=%H %cI", f"{revision}^{{commit}}", "--")
    found = (said or b"").decode(errors="replace").split()
    if len(found) != 2:
        raise NotFound(f"git knows no commit {revision[:60]!r} in {folder}; fetch it, or name another")
    return found[0], datetime.fromisoformat(found[1])


def edits(folder: Path) -> bytes:
    """What was edited since the commit, of files that git knows and does not ignore, and that hold no keys by their
    names. Quoted values of names like a secret's are masked; cut at `MOST_DIFF_BYTES`, which its last line says."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return b""
    root = Path(os.fsdecode(top.rstrip(b"\n")))
    ignored = _git(root, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard")
    if ignored is None:
        return b""
    apart = [f":(exclude,top,literal){os.fsdecode(name)}" for name in ignored.split(b"\0") if name]
    apart += [f":(exclude,top,glob,icase)**/{name}" for name in _SECRET_FILES]
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules")
    whole = _git(root, "diff", "HEAD", *options, "--", ".", *apart) or b""
    text = masked_text(whole[:MOST_DIFF_BYTES].decode(errors="replace")).encode()
    if len(whole) <= MOST_DIFF_BYTES:
        return text
    return text + f"\n[cut here: {len(whole)} bytes in all]\n".encode()


def package_lock(path: Iterable[str] = ()) -> PackageLock:
    """The distributions that are installed along `path`, by default that of this process, from the names of their
    folders (the binary distribution format): reading the metadata of each takes a hundred times as long."""
    import platform  # noqa: PLC0415

    packages: dict[str, str] = {}
    for place in path or sys.path:
        with suppress(OSError):
            for entry in sorted(os.listdir(place or ".")):
                if entry.endswith(_DIST_INFO):
                    name, _, version = entry.removesuffix(_DIST_INFO).rpartition("-")
                    packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return PackageLock(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()}",
        packages=packages,
    )


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git says, or None when it is missing, slow, or knows no repository here."""
    if not any((place / ".git").exists() for place in (folder, *folder.parents)):
        return None
    import subprocess  # noqa: PLC0415  # not needed where there is no repository

    # No repository's own program is run to watch its files, and no lock is taken.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=_GIT_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None

"""Who may do what at Redis: one user for each process, as `redis_users.acl` has it, and the file that a server reads.

Grants nothing of its own, and puts no password into that file but as its hash.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from cli.files import private_folder, write_private

RULES: Final = Path(__file__).with_name("redis_users.acl")


def users() -> dict[str, str]:
    """Return the rules of each user, by its name."""
    lines = [line.split(" ", 2) for line in RULES.read_text().splitlines() if line.startswith("user ")]
    return {name: rules for _, name, rules in lines}


def keep_passwords(folder: Path) -> dict[str, Path]:
    """Return the file `folder/<name>` with the password of each user, made at its first use."""
    private_folder(folder)
    files = {name: folder / name for name in users()}
    for file in files.values():
        if not file.exists():
            write_private(file, token_urlsafe(24))
    return files


def acl_file(passwords: Mapping[str, str], default: str | None = None) -> str:
    """Return the content of a server's `aclfile`; `default` is the password of the user who may do everything.

    Without one there is no such user: nobody can log in but by name.
    """
    lines = [f"user {name} on {_hash(passwords[name])} {rules}" for name, rules in users().items()]
    everything = f"on {_hash(default)} ~* &* +@all" if default else "off resetpass resetkeys resetchannels -@all"
    return "\n".join([f"user default {everything}", *lines]) + "\n"


def _hash(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()

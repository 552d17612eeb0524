"""Private files and folders: everything the launcher keeps is readable by its owner alone.

A file is replaced in one step, so that a reader or a crash never sees half of one.
"""

import os
import secrets
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Create `path` with mode 0700 (parents too) and return it resolved."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path.resolve()


def write_private(path: Path, content: str | bytes) -> Path:
    """Replace `path` by `content` with mode 0600, durably and in one step."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return path

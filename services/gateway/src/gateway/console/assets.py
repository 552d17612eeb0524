"""Own the page's files and the headers they are served with. Files are read once, by their exact names.

The policy of the page: its own scripts, styles and connections and nothing else. No string ever becomes markup or code.
"""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.responses import Response

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMPORT_MAP: Final = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)


@cache
def pages() -> dict[str, bytes]:
    """Return every file that is served, by its path below `/console/`."""
    found: dict[str, bytes] = {}
    _collect(files("gateway") / "console" / "static", "", found)
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", found)
        elif _kind(entry.name):
            found[prefix + entry.name] = entry.read_bytes()


def _kind(name: str) -> str | None:
    return TYPES.get("." + name.rpartition(".")[2])


@cache
def policy() -> str:
    """Return the Content-Security-Policy. The one inline element, the import map, is allowed by its hash."""
    match = _IMPORT_MAP.search(pages()["index.html"])
    assert match is not None  # noqa: S101  our own page
    digest = base64.b64encode(hashlib.sha256(match[1]).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
            "report-uri /console/reports",
        ]
    )


@cache
def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": policy(),
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)",
    }


def answer(name: str) -> Response | None:
    """Return the file `name` as an answer, None when there is none."""
    content = pages().get(name)
    return None if content is None else Response(content, headers=_headers(), media_type=_kind(name))

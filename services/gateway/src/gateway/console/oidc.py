"""Own the sign-in at the platform's own authorization server: the code flow with PKCE, and nothing kept in between.

State and verifier wait in the browser's cookie. The access token comes straight from the server to the gateway, and is
checked as any other before it becomes a session. No code, verifier or token is ever logged.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from common.errors import Throttled, Unauthenticated, Unavailable
from common.secret import Secret

TIMEOUT_S: Final = 10.0
ANSWER_BYTES: Final = 65_536
AT_ONCE: Final = 8  # a slow server holds up no more than so many sign-ins, and no thread beside them
_REFUSED: Final = "The sign-in was not completed. Begin again."


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that was begun: where the browser goes, and what waits in its cookie."""

    location: str
    waiting: str = field(repr=False)


class CodeFlow:
    """Sign-ins at one authorization server, as one client of it."""

    def __init__(
        self, *, origin: str, authorize_url: str, token_url: str, client_id: str, secret: Secret | None, scope: str
    ) -> None:
        self._redirect = f"{origin}/console/callback"
        self._authorize = authorize_url
        self._token_url = urlsplit(token_url)
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._under_way = 0

    def begin(self) -> Begun:
        """Return where to send the browser, with a fresh state and verifier."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            "scope": self._scope,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(self._authorize).query else "?"
        return Begun(f"{self._authorize}{joint}{urlencode(asked)}", f"{state}.{verifier}")

    async def finish(self, waiting: str, state: str, code: str) -> str:
        """Return the access token for a code; raise Unauthenticated, Throttled or Unavailable."""
        known, _, verifier = waiting.partition(".")
        if not verifier or not code or not secrets.compare_digest(known.encode(), state.encode()):
            raise Unauthenticated("invalid_token", _REFUSED)
        if self._under_way >= AT_ONCE:
            raise Throttled("too_many_requests", "Too many people sign in at this moment.", retry_after=2)
        self._under_way += 1
        try:
            return await asyncio.to_thread(self._redeem, code, verifier)
        finally:
            self._under_way -= 1

    def _redeem(self, code: str, verifier: str) -> str:
        """Exchange the code at the token endpoint."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._client_id,
            "code_verifier": verifier,
        }
        try:
            status, content = self._post(urlencode(form).encode())
            told = json.loads(content) if status == 200 else {}
        except (OSError, http.client.HTTPException):
            raise Unavailable("unavailable", "The sign-in server cannot be reached.", retry_after=5) from None
        except ValueError:
            told = {}
        token = told.get("access_token") if isinstance(told, dict) else None
        if status >= 500:
            raise Unavailable("unavailable", "The sign-in server does not work at the moment.", retry_after=5)
        if not isinstance(token, str) or str(told.get("token_type", "")).lower() != "bearer":
            raise Unauthenticated("invalid_token", _REFUSED)
        return token

    def _post(self, form: bytes) -> tuple[int, bytes]:
        """Send the form; redirects are not followed, and no more than a bounded answer is read."""
        url = self._token_url
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._secret is not None:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret.reveal(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        connection = kind(str(url.hostname), url.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", f"{url.path or '/'}{'?' + url.query if url.query else ''}", form, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_BYTES)
        finally:
            connection.close()

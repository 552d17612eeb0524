"""Own how an answer of Bitget's is read: data or one failure, decided by the body.

Never relays a text that repeats what we sent.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from common import strict_json

from verifier.bitget import codes
from verifier.bitget.codes import ExchangeFailure, Group, Rule

# What is left of this second's calls, despite its name.
REMAINING: Final = "x-mbx-used-remain-limit"
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its code ("" when it could not be read) and body; `remaining` calls in this second, None untold."""

    endpoint: str
    status: int
    code: str
    body: dict[str, Any]
    remaining: int | None
    sent: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """The meaning of what is not a success; the status only counts for what the body leaves open."""
        if not self.code:
            return codes.CODES["429"] if self.status == 429 else codes.UNREACHABLE
        return codes.meaning(self.code, self.status)

    @property
    def throttled(self) -> bool:
        return self.code != codes.OK and self.rule.group is Group.THROTTLED

    @property
    def address(self) -> bool:
        """Tell whether too many requests may be those of our address; the unified table's codes are an account's."""
        return self.throttled and self.code in ("", "429")

    @property
    def untimely(self) -> bool:
        """Tell whether the time of the request was refused."""
        return self.code != codes.OK and self.rule.group is Group.CLOCK

    @property
    def time(self) -> Any:
        """The exchange's own time of the answer, in whatever shape it came; None when it did not tell one."""
        return self.body.get("requestTime")

    def data(self) -> Any:
        """Return the answer's `data`; raise ExchangeFailure for every other answer."""
        if self.code == codes.OK:
            return self.body.get("data")
        message = relayable(self.body.get("msg", self.body.get("message")), self.sent)
        raise ExchangeFailure(self.rule, self.endpoint, self.code, message, codes.address_in(message))


def read(endpoint: str, status: int, content: bytes, remaining: str | None, sent: Sequence[str]) -> Reply:
    """Return the reply in `content`; `sent` are the values that must not come back in a message."""
    try:
        body = strict_json.loads(content)
    except (ValueError, json.JSONDecodeError):
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    known = isinstance(body, dict) and isinstance(code, str) and _CODE.fullmatch(code) is not None
    left = int(remaining) if remaining and re.fullmatch(r"[0-9]{1,5}", remaining) else None
    return Reply(endpoint, status, str(code) if known else "", body if known else {}, left, tuple(sent))


def relayable(text: object, sent: Sequence[str]) -> str:
    """Return the exchange's text if it is short, printable and repeats nothing that we sent; otherwise nothing."""
    if not isinstance(text, str) or len(text) > 200 or not text.isprintable():
        return ""
    lowered = text.lower()
    return "" if any(value.lower() in lowered for value in sent if value) else text

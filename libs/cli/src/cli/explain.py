"""Own the answer to "would this be signed?": the vault service's own table and rules, asked without a service."""

from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import unquote

from common.errors import PolicyRefused
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from vault import policy, trading
from vault.canonical import canonical

SCOPES: Final = {"spot": SCOPE_SPOT, "futures": SCOPE_FUTURES}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a request would be signed for a binding, the rule that decides, what it needs, and why."""

    allowed: bool
    rule: str
    needs: list[str]
    why: str

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def explain(method: str, target: str, body: str, scopes: list[str]) -> Explanation:
    """Return what would happen to a request: `target` is a path, with a query if there is one (percent-encoded)."""
    path, _, query = target.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    request = ExchangeRequest(
        method=method,
        path=path,
        query=[QueryParameter(name=unquote(name), value=unquote(value)) for name, _, value in pairs],
        body=body.encode(),
    )
    try:
        wanted = canonical(request, policy.load().camel_case_paths)
        found = trading.load().decide(wanted, frozenset(SCOPES[name] for name in scopes))
    except PolicyRefused as refused:
        return Explanation(False, refused.extra["rule"], [], trading.why(refused))
    needs = [name for name, scope in SCOPES.items() if scope in found.scopes]
    asked = f"It needs the scope {' and '.join(needs)}." if needs else "It needs no particular scope."
    return Explanation(True, found.rule, needs, asked)

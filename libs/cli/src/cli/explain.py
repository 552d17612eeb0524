"""Own the answer to "would this be signed?": the vault service's own table and rules, asked without a service."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from common import strict_json
from common.errors import PolicyRefused
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from vault import policy, trading, worth
from vault.canonical import Canonical, canonical
from vault.denials import NONE, Denials, unknown_call
from vault.rules import rules_of

SCOPES: Final = {"spot": SCOPE_SPOT, "futures": SCOPE_FUTURES}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a request would be signed for a binding, by which rule and why.

    `capability` is the call's in the table (empty: nobody knows the call), `worth` in USDT what its orders are worth,
    each by itself (None: no cap asks, or the body does not tell), `daily_cap` what all of a day may be worth together
    (None: whatever they are); how much of it is left, only the service knows.
    """

    allowed: bool
    rule: str
    capability: str
    needs: list[str]
    why: str
    worth: list[str] | None = None
    daily_cap: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)

    def text(self) -> str:
        """Return it as lines for a person."""
        call = f"  ({self.capability})" if self.capability not in ("", self.rule) else ""
        told = f"\nWorth in USDT, order by order: {', '.join(self.worth)}." if self.worth else ""
        told += f" They count towards {self.daily_cap} a day." if self.worth and self.daily_cap else ""
        return f"{'allowed' if self.allowed else 'refused'}  {self.rule}{call}\n{self.why}{told}"


def explain(method: str, target: str, body: str, scopes: list[str], denials: Denials = NONE) -> Explanation:
    """Return what would happen to a request: `target` is a path, with a query if there is one (percent-encoded)."""
    path, _, query = target.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    request = ExchangeRequest(
        method=method,
        path=path,
        query=[QueryParameter(name=unquote(name), value=unquote(value)) for name, _, value in pairs],
        body=body.encode(),
    )
    reads, table = policy.load(), trading.load()
    capability = table.calls.get((method, path), "")
    worths, cap = None, denials.max_daily_notional or None
    try:
        wanted = canonical(request, reads.camel_case_paths)
        found = table.decide(wanted, frozenset(SCOPES[name] for name in scopes))
        worths = _worths(denials, wanted, found.rule)
        denials.check(wanted, found.rule, cancels=reads.is_cancel(wanted))
    except PolicyRefused as refused:
        return Explanation(False, refused.extra["rule"], capability, [], trading.why(refused), worths, cap)
    needs = [name for name, scope in SCOPES.items() if scope in found.scopes]
    asked = f"It needs the scope {' and '.join(needs)}." if needs else "It needs no particular scope."
    return Explanation(True, found.rule, capability, needs, asked, worths, cap)


def denials_in(file: Path, tenant: str | None) -> Denials:
    """Return what a file says that a tenant denies: its rules, the tenant as REST answers it, or a file of tenants.

    Raises ValueError or OSError for anything else.
    """
    found = strict_json.loads(file.read_bytes())
    if isinstance(found, list):
        found = next((one for one in found if isinstance(one, dict) and one.get("id") == tenant), None)
        if found is None:
            raise ValueError("this is a file of tenants: name one of them with --tenant")
        found = found.get("rules", {})
    denials = rules_of(_rules(found)).denials
    if strange := unknown_call(denials):
        raise ValueError(f"denied_calls: nobody knows {strange[0]}, like it is {strange[1]}")
    return denials


def _rules(found: Any) -> Any:
    """Return the rules of a tenant as REST answers it; rules are returned as they are."""
    return found["rules"] if isinstance(found, dict) and "rules" in found else found


def _worths(denials: Denials, wanted: Canonical, rule: str) -> list[str] | None:
    """Return what orders are worth, None where no cap asks for it or the body does not tell."""
    try:
        return [worth.usdt(one) for one in denials.worths(wanted, rule)] if denials.capped() else None
    except PolicyRefused:
        return None

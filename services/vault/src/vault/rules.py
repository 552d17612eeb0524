"""Own what a tenant has decided about its bindings: the form of its rules, and what holds where it decided nothing.

Rules are data of the tenants' registry. They give no right to anything; denials take some away.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from common.decidable import DECIDABLE, USUAL_ERRORS
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding, TenantRules

from vault import denials
from vault.denials import Denials, denials_of

ROTATION_DAYS: Final = range(3651)


@dataclass(frozen=True, slots=True)
class Rules:
    """The finding codes that are errors, sorted, the age in days at which a credential is due (0: never), and what is
    denied."""

    errors: tuple[str, ...]
    rotation_days: int
    denials: Denials = denials.NONE

    def document(self) -> dict[str, Any]:
        """Return the rules as the registry keeps them."""
        return {"errors": list(self.errors), "rotation_days": self.rotation_days, **self.denials.document()}

    def message(self) -> TenantRules:
        """Return the rules as a message."""
        return TenantRules(errors=self.errors, rotation_days=self.rotation_days, **self.denials.document())

    def dated(self, binding: Binding) -> Binding:
        """Write into `binding` when its credential is due, if it ever is, and return it."""
        if self.rotation_days and binding.verdict.status != STATUS_REVOKED:
            stored = binding.credential.stored_at.ToMilliseconds()
            age = timedelta(days=self.rotation_days) // timedelta(milliseconds=1)
            binding.credential.rotate_by.FromMilliseconds(stored + age)
        return binding


USUAL: Final = Rules(tuple(sorted(USUAL_ERRORS)), 0)
UNREADABLE: Final = Rules(USUAL.errors, 0, denials.EVERYTHING)  # whatever they denied stays denied


def rules_of(value: object) -> Rules:
    """Return the rules that `{"errors": […], "rotation_days": N, "denied_calls": […], …}` says, any part left out.

    Raises ValueError for another form. Codes are not checked here: see `unknown_codes`.
    """
    if not isinstance(value, dict) or not value.keys() <= {"errors", "rotation_days"} | denials.NAMES:
        raise ValueError(
            f"rules have errors and rotation_days, perhaps {', '.join(sorted(denials.NAMES))}, nothing else"
        )
    errors, days = value.get("errors", list(USUAL.errors)), value.get("rotation_days", USUAL.rotation_days)
    if not isinstance(errors, list) or not all(isinstance(code, str) for code in errors):
        raise ValueError("errors is a list of finding codes")
    if type(days) is not int or days not in ROTATION_DAYS:
        raise ValueError(f"rotation_days is a whole number from 0 to {ROTATION_DAYS[-1]}")
    return Rules(tuple(sorted(set(errors))), days, denials_of(value))


def unknown_codes(rules: Rules) -> list[str]:
    """Return the codes that rules may not decide."""
    return [code for code in rules.errors if code not in DECIDABLE]

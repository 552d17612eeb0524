"""Own how much a tenant may ask: the form of its quotas, and what holds where it has none of its own.

Quotas are data of the tenants' registry. They are kept by whoever lets calls in, and decide no right to anything.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from strongroom.vault.v1.tenants_pb2 import TenantQuotas

MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Quotas:
    """Requests a minute at all gateways, calls under way at once at each process, living bindings; 0 is what is usual.

    Usually the living bindings of a tenant have no limit.
    """

    requests_per_minute: int = 0
    concurrency: int = 0
    bindings: int = 0

    def document(self) -> dict[str, int]:
        """Return what the registry keeps: what is not as usual."""
        return {name: value for name, value in asdict(self).items() if value}

    def message(self) -> TenantQuotas:
        """Return the quotas as a message."""
        return TenantQuotas(**asdict(self))

    @property
    def at_once(self) -> int:
        """How many calls may be under way at once."""
        return self.concurrency or USUAL_CONCURRENCY


USUAL_CONCURRENCY: Final = 128
USUAL: Final = Quotas()


def quotas_of(value: object) -> Quotas:
    """Return the quotas that a mapping says, any of which may be left out; raise ValueError for another form."""
    known = [one.name for one in fields(Quotas)]
    if not isinstance(value, dict) or not value.keys() <= set(known):
        raise ValueError(f"quotas have {', '.join(known)}, nothing else")
    return Quotas(**{name: _number(name, value.get(name, 0)) for name in known})


def _number(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise ValueError(f"{name} is a whole number from 0 to {MOST}")
    return value

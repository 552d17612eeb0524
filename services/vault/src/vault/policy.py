"""Own what may be signed: a table of exchange calls, default deny. The table is data and is reviewed as data."""

from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vault.canonical import Canonical, refuse


class AllowedRead(BaseModel):
    """One call that may be signed, with the query names it may carry and the values each may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET"]
    path: Annotated[str, Field(pattern="^/api/v[0-9]+(/[a-z0-9-]+)+$")]
    query: dict[str, frozenset[str]]


class Policy(BaseModel):
    """The verification reads, the calls that only cancel orders, and the paths with capitals that exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camel_case_paths: frozenset[str]
    cancels: frozenset[str]
    verification_reads: tuple[AllowedRead, ...]

    def check(self, request: Canonical) -> None:
        """Raise PolicyRefused, naming the rule, unless `request` is a verification read."""
        wanted = (request.method, request.path)
        read = next((read for read in self.verification_reads if (read.method, read.path) == wanted), None)
        if read is None:
            raise refuse("not_a_verification_read")
        for name, value in request.query:
            if name not in read.query:
                raise refuse("query_name")
            if value not in read.query[name]:
                raise refuse("query_value")

    def is_cancel(self, request: Canonical) -> bool:
        """Tell whether `request` only cancels orders, which a freeze may let through; it says nothing of a right."""
        return request.method == "POST" and request.path in self.cancels


def load() -> Policy:
    """Return the policy shipped with this package."""
    return Policy.model_validate_json(resources.files("vault").joinpath("policy.json").read_text())

"""Own the names of the durable steps, so that a test can end the process between any two of them."""

from typing import Final, Protocol

BIND: Final = ("bind.intent", "bind.claimed", "bind.imported", "bind.tested", "bind.stored", "bind.recorded")
SEALED_BIND: Final = (*BIND[:2], "bind.sealed", *BIND[2:])  # after the claims of the ciphertext and of the slot
STAGE: Final = (
    "stage.intent",
    "stage.claimed",
    "stage.opened",
    "stage.imported",
    "stage.tested",
    "stage.stored",
    "stage.recorded",
)
SEALED_STAGE: Final = (*STAGE[:3], "stage.sealed", *STAGE[3:])
SETTLE: Final = ("settle.rewritten", "settle.destroyed", "settle.released", "settle.closed")
PROMOTE: Final = ("promote.intent", "promote.recorded", "settle.fenced", "settle.trimmed", *SETTLE)
ABANDON: Final = ("abandon.intent", "abandon.recorded", *SETTLE)
REVOKE: Final = ("revoke.intent", "revoke.recorded", "revoke.fenced", "revoke.destroyed")

# Of ending many at once; each binding takes the steps of a revocation besides.
MANY: Final = ("many.asked", "many.listed", "many.matched", "many.ended", "many.counted", "many.done")


class Steps(Protocol):
    """Told of each durable step once it is done."""

    def reached(self, step: str) -> None: ...


class NoSteps:
    """Listen to nothing; what the product uses."""

    def reached(self, step: str) -> None:
        """Do nothing."""

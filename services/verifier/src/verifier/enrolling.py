"""Own the telling of the vault service whose key a binding has, within one verification.

It begins when the exchange has told whose it is, while balances are still being read. It decides nothing.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from common import logs
from common.errors import BindingRevoked, NotFound, StrongroomError
from strongroom.types.v1.binding_pb2 import Binding, Environment
from strongroom.vault.v1.binding_store_pb2 import EnrollResponse

from verifier import enrolment, verdict
from verifier.enrolment import Enrolment
from verifier.vault_client import Vault


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What is known of the account; `also` are bindings whose verdicts it outdates, `late` asks again soon."""

    enrolment: Enrolment
    also: tuple[str, ...] = ()
    late: bool = False


class Enrolling:
    """The enrolment of one binding; use as an async context manager, which leaves no call behind."""

    def __init__(self, vault: Vault, binding: Binding) -> None:
        self._vault = vault
        self._binding = binding
        self._begun: dict[tuple[str, int], asyncio.Task[EnrollResponse]] = {}

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is still under way."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    def begin(self, uid: str, environment: Environment.ValueType) -> None:
        """Enroll the key as one of the account `uid`, unless it is proven to be another's."""
        if not verdict.of_another(self._binding, uid):
            self._task(uid, environment)

    async def told(self, uid: str, environment: Environment.ValueType) -> Enrolled:
        """Return what the vault service tells of the account `uid` ("": only the rules); without it, what was known.

        Raises BindingRevoked and NotFound.
        """
        try:
            answer = await self._task(uid, environment)
        except (BindingRevoked, NotFound):
            raise
        except StrongroomError as error:
            logs.get().warning("enrolment_put_off", binding=self._binding.id, kind=error.kind, reason=error.reason)
            return Enrolled(enrolment.remembered(self._binding.verdict), late=True)
        return Enrolled(enrolment.told(answer), _joined(answer))

    async def also(self) -> tuple[str, ...]:
        """Return the bindings that what was begun has put out of date, when nothing else of it is wanted."""
        answers = await asyncio.gather(*self._begun.values(), return_exceptions=True)
        return tuple(name for one in answers if isinstance(one, EnrollResponse) for name in _joined(one))

    def _task(self, uid: str, environment: Environment.ValueType) -> "asyncio.Task[EnrollResponse]":
        if (uid, environment) not in self._begun:
            call = self._vault.enroll(self._binding.tenant_id, self._binding.id, uid, environment)
            self._begun[uid, environment] = asyncio.create_task(call)
        return self._begun[uid, environment]


def _joined(answer: EnrollResponse) -> tuple[str, ...]:
    return tuple(answer.siblings) if answer.joined else ()

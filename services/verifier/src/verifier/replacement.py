"""Own one look at a replacement: the reads signed with it, the judgement, and its promotion or the end of it.

The credential in use is neither asked about nor changed by a look that ends in nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.clock import Clock, timestamp
from strongroom.types.v1.binding_pb2 import Binding, Observation, Verdict

from verifier import confirmation, observe, rotation, verdict
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.facts import Facts
from verifier.enrolment import Enrolment
from verifier.rotation import Refused
from verifier.schedule import Schedule
from verifier.vault_client import Vault

Enroll = Callable[[Binding, str, Facts], Awaitable[Enrolment]]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to: the record then, what is to be published, and in how many seconds to look again.

    `again_s` is None once it is decided; `answer` False lets whoever waits go on waiting.
    """

    binding: Binding
    seen: Observation
    again_s: float | None = None
    answer: bool = True


class Replacements:
    """Look at replacements of credentials."""

    def __init__(self, *, vault: Vault, schedule: Schedule, egress: tuple[str, ...], clock: Clock) -> None:
        self._vault = vault
        self._schedule = schedule
        self._egress = egress
        self._clock = clock

    async def judge(
        self,
        binding: Binding,
        answer: Facts | ExchangeFailure,
        before: Observation | None,
        attempt: int,
        enroll: Enroll,
    ) -> Look:
        """Bring the record to what `answer`, which was signed for by the replacement, says of it."""
        if isinstance(answer, Facts):
            return await self._works(binding, answer, before, enroll)
        now, alone, noticed = self._clock.unix(), rotation.seen_alone(binding), rotation.noticed(before)
        if not confirmation.definite(answer):
            if rotation.expired(binding, now):
                return await self._abandon(binding, rotation.unanswered(answer, self._egress), before)
            delay, told = self._schedule.after_failure(attempt), observe.unanswered(noticed, answer, self._egress)
            return Look(binding, self._with(before, told, now + delay), delay)
        if confirmation.counts(alone, answer, noticed, now):
            return await self._abandon(binding, rotation.refused(binding, answer, self._egress), before)
        refusal = confirmation.refusal(alone, answer, noticed, now)
        planned = confirmation.planned(alone, answer, noticed, now)
        delay = planned or self._schedule.after_refusal(alone, confirmation.age_s(refusal, now))
        told = observe.unconfirmed(noticed, confirmation.word(alone, answer), answer, refusal)
        return Look(binding, self._with(before, told, now + delay), delay, answer=False)

    async def _works(self, binding: Binding, facts: Facts, before: Observation | None, enroll: Enroll) -> Look:
        """Promote a key that works, unless it is another account's or worse than what it would replace."""
        if refused := rotation.stranger(binding, facts, self._egress):
            return await self._abandon(binding, refused, before)
        alone, now = rotation.seen_alone(binding), self._clock.unix()
        known = await enroll(binding, verdict.account_id(alone, facts), facts)
        reached: Verdict = verdict.of_facts(alone, facts, known, self._egress, now)
        if refused := rotation.worse(binding, reached):
            return await self._abandon(binding, refused, before)
        version = binding.rotation.credential.version
        promoted = await self._vault.promote(binding.tenant_id, binding.id, binding.revision, version, reached)
        return Look(promoted, observe.judged(None, facts, now))

    async def _abandon(self, binding: Binding, refused: Refused, before: Observation | None) -> Look:
        version = binding.rotation.credential.version
        left = await self._vault.abandon(binding.tenant_id, binding.id, version, refused.reason, refused.findings)
        return Look(left, observe.kept(before))

    def _with(self, before: Observation | None, told: Observation, at: float) -> Observation:
        """Return what was observed of the credential in use, with what was noticed of its replacement."""
        seen = observe.kept(before)
        seen.rotation.CopyFrom(told)
        seen.rotation.next_verification_at.CopyFrom(timestamp(at))
        return seen

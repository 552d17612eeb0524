"""Own one verification from start to end: the record, the exchange, the verdict, the transition, the publication.

Every step can be repeated: a second run of the same job finds the record as it should be and changes nothing.
"""

from typing import Final

from common import logs
from common.clock import Clock, timestamp
from common.errors import Aborted, BindingRevoked, NotFound, PolicyRefused, StrongroomError
from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_UNSPECIFIED,
    STATUS_CONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    STATUS_REVOKED,
    Binding,
    Environment,
    Observation,
    Verdict,
)
from strongroom.types.v1.request_pb2 import ExchangeRequest, SignedRequest

from verifier import confirmation, enrolment, measures, observe, rotation, verdict
from verifier.bitget.budget import Caller
from verifier.bitget.client import BitgetClient
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.facts import Facts
from verifier.bitget.probe import probe
from verifier.bitget.reads import Reads, Told
from verifier.enrolling import Enrolled, Enrolling
from verifier.enrolment import Enrolment
from verifier.jobs import Job, Outcome
from verifier.replacement import Replacements
from verifier.schedule import Schedule
from verifier.status import Draft, Known, Status
from verifier.vault_client import Vault

TRANSITION_TRIES: Final = 3
FROZEN: Final = "frozen"  # the reason of a refusal by an operator's freeze
Answer = Facts | ExchangeFailure


class Verification:
    """Verify bindings, one job at a time; safe to share between jobs."""

    def __init__(
        self,
        *,
        vault: Vault,
        exchange: BitgetClient,
        status: Status,
        schedule: Schedule,
        egress: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self._vault = vault
        self._exchange = exchange
        self._status = status
        self._schedule = schedule
        self._replacements = Replacements(vault=vault, schedule=schedule, egress=egress, clock=clock)
        self._egress = egress
        self._clock = clock

    async def run(self, job: Job, started_ms: int, known: Known) -> Outcome:
        """Verify the job's binding and return how that ended; `known` is what was published of it at `started_ms`.

        What keeps our own services from answering changes no status: it is logged, and the job is tried again later.
        """
        try:
            return await self._verify(job, started_ms, known)
        except BindingRevoked:
            return await self._ended(await self._vault.describe(job.tenant, job.binding))
        except NotFound:
            await self._status.forget(job.tenant, job.binding)
            return Outcome(verified=False)
        except StrongroomError as error:
            measures.VERIFICATIONS.of("put_off").inc()
            logs.get().warning("verification_put_off", binding=job.binding, kind=error.kind, reason=error.reason)
            return self._again(job, verified=False)

    async def _verify(self, job: Job, started_ms: int, known: Known) -> Outcome:
        binding = await self._vault.describe(job.tenant, job.binding)
        if _revoked(binding):
            return await self._ended(binding)
        if rotation.unfinished(binding):
            binding = await self._finished(binding)
        try:
            if rotation.under_way(binding):
                binding, seen, outcome = await self._replaced(job, binding, known.observation)
            else:
                binding, seen, outcome = await self._looked(job, binding, known.observation)
        except PolicyRefused as stopped:
            if stopped.reason != FROZEN:
                raise
            return await self._frozen(job, known)
        if _revoked(binding):
            return await self._ended(binding)
        await self._publish(binding, seen, outcome, started_ms, known)
        return outcome

    async def _looked(
        self, job: Job, binding: Binding, before: Observation | None
    ) -> tuple[Binding, Observation, Outcome]:
        """Look at the credential in use; whose it is, is told to the vault service meanwhile."""
        async with Enrolling(self._vault, binding) as enrolling:
            answer = await self._ask(binding, enrolling.begin, before)
            return await self._judged(job, binding, answer, enrolling, before)

    async def _judged(
        self, job: Job, binding: Binding, answer: Answer, enrolling: Enrolling, before: Observation | None
    ) -> tuple[Binding, Observation, Outcome]:
        """Judge what is definite; what is not, or not yet, leaves the record as it is."""
        now = self._clock.unix()
        if isinstance(answer, ExchangeFailure):
            if not confirmation.definite(answer):
                outcome = self._again(job, verified=False, also=await enrolling.also())
                return binding, observe.unanswered(before, answer, self._egress), outcome
            if not confirmation.counts(binding, answer, before, now):
                refused = confirmation.refusal(binding, answer, before, now)
                seen = observe.unconfirmed(before, confirmation.word(binding, answer), answer, refused)
                return binding, seen, self._look_again(binding, answer, before, now)
        first, enrolled = binding.verdict.status == STATUS_PENDING, await self._enrolled(binding, answer, enrolling)
        binding = await self._record(job, binding, answer, enrolled.enrolment)
        outcome = self._planned(job, binding, answer, enrolled, first=first)
        return binding, observe.judged(before, self._own(binding, answer), now), outcome

    async def _finished(self, binding: Binding) -> Binding:
        """Have a promotion finished that was cut short: the version it put into use is promoted again."""
        version, told = binding.credential.version, binding.verdict
        return await self._vault.promote(binding.tenant_id, binding.id, binding.revision, version, told)

    async def _replaced(
        self, job: Job, binding: Binding, before: Observation | None
    ) -> tuple[Binding, Observation, Outcome]:
        """Look at the replacement of a credential; the credential in use is left as it is."""
        answer = await self._ask(binding, _nobody, None, binding.rotation.credential.version)
        look = await self._replacements.judge(binding, answer, before, job.attempt, self._enrol_replacement)
        if look.again_s is None:
            outcome = Outcome(verified=True, next_s=self._schedule.after_verdict(look.binding, self._clock.unix()))
        else:
            outcome = Outcome(verified=False, next_s=look.again_s, attempt=job.attempt + 1, reply=look.answer)
        return look.binding, look.seen, outcome

    async def _enrol_replacement(self, binding: Binding, uid: str, answer: Facts) -> Enrolment:
        """Tell the vault service whose key the replacement is, and return what it knows; it must be asked for that."""
        version = binding.rotation.credential.version
        return enrolment.told(await self._vault.enroll(binding.tenant_id, binding.id, uid, answer.environment, version))

    async def _ask(self, binding: Binding, told: Told, before: Observation | None, version: int = 0) -> Answer:
        """Ask the exchange by the credential in use or by the `version` that is to replace it."""

        async def sign(request: ExchangeRequest, demo: bool, offset_ms: int) -> tuple[SignedRequest, int]:
            return await self._vault.sign(binding.tenant_id, binding.id, request, demo, offset_ms, version)

        caller = Caller(binding.tenant_id, binding.verdict.account.uid or binding.id)
        reads = Reads(self._exchange, caller, sign, self._clock, self._schedule.uniform, told=told)
        recorded = binding.verdict
        mode = recorded.account.mode if _answering(binding, before) else ACCOUNT_MODE_UNSPECIFIED
        try:
            return await probe(reads, set(binding.scopes), recorded.environment, mode)
        except ExchangeFailure as failure:
            if failure.unpublished(self._egress):
                logs.get().error("egress_unpublished", binding=binding.id, address=failure.address)
            return failure
        finally:
            await reads.end()

    async def _enrolled(self, binding: Binding, answer: Answer, enrolling: Enrolling) -> Enrolled:
        """Return what the vault service knows of the account; of a key that is refused or another's, what was known."""
        if isinstance(answer, ExchangeFailure) or verdict.another_account(binding, answer):
            return Enrolled(enrolment.remembered(binding.verdict), await enrolling.also())
        return await enrolling.told(verdict.account_id(binding, answer), answer.environment)

    async def _record(self, job: Job, binding: Binding, answer: Answer, known: Enrolment) -> Binding:
        """Bring the record to the verdict by check-and-set; when it changed meanwhile, judge again on what it says."""
        for _ in range(TRANSITION_TRIES):
            reached = self._judge(binding, answer, known)
            if _revoked(binding) or binding.verdict == reached:
                return binding
            try:
                return await self._vault.transition(job.tenant, job.binding, binding.revision, reached)
            except Aborted:
                binding = await self._vault.describe(job.tenant, job.binding)
        raise Aborted()

    def _judge(self, binding: Binding, answer: Answer, known: Enrolment) -> Verdict:
        if isinstance(answer, ExchangeFailure):
            return verdict.of_failure(binding, answer, self._egress)
        if verdict.another_account(binding, answer):
            return verdict.of_another_account(binding, answer)
        return verdict.of_facts(binding, answer, known, self._egress, self._clock.unix())

    def _own(self, binding: Binding, answer: Answer) -> Facts | None:
        """Return the facts of a key that works for the account it was proven for."""
        return None if isinstance(answer, ExchangeFailure) or verdict.another_account(binding, answer) else answer

    def _again(self, job: Job, *, verified: bool, also: tuple[str, ...] = ()) -> Outcome:
        """Plan the next try; whoever waits for a verdict hears of a failure only when the second try has failed too."""
        delay, told = self._schedule.after_failure(job.attempt), verified or job.attempt > 0
        return Outcome(verified, delay, job.attempt + 1, reply=told, also=also)

    def _look_again(
        self, binding: Binding, failure: ExchangeFailure, before: Observation | None, now: float
    ) -> Outcome:
        """Plan the look that may confirm a refusal; one that is planned already is not put off by looking early."""
        age_s = confirmation.age_s(confirmation.refusal(binding, failure, before, now), now)
        delay = confirmation.planned(binding, failure, before, now) or self._schedule.after_refusal(binding, age_s)
        return Outcome(verified=False, next_s=delay, attempt=1, reply=False)

    def _planned(self, job: Job, binding: Binding, answer: Answer, enrolled: Enrolled, *, first: bool) -> Outcome:
        """Plan the next verification; soon, if something is still to be had."""
        if enrolled.late or (isinstance(answer, Facts) and answer.hiccup):
            return self._again(job, verified=True, also=enrolled.also)
        delay = self._schedule.after_verdict(binding, self._clock.unix(), first=first)
        return Outcome(verified=True, next_s=delay, also=enrolled.also)

    async def _frozen(self, job: Job, known: Known) -> Outcome:
        """Publish the record under an operator's freeze: status and what was observed stand. Look again later."""
        binding, delay = await self._vault.describe(job.tenant, job.binding), self._schedule.after_failure(job.attempt)
        if known.observation:
            known.observation.next_verification_at.CopyFrom(timestamp(self._clock.unix() + delay))
        await self._status.publish([Draft(binding, known.observation, known.started_ms)])
        measures.VERIFICATIONS.of("frozen").inc()
        logs.get().info("verification_frozen", tenant=binding.tenant_id, binding=binding.id)
        return Outcome(verified=False, next_s=delay, attempt=job.attempt + 1)

    async def _ended(self, binding: Binding) -> Outcome:
        await self._status.recorded(binding)
        measures.VERIFICATIONS.of("ended").inc()
        return Outcome(verified=False)

    async def _publish(
        self, binding: Binding, seen: Observation, outcome: Outcome, started_ms: int, known: Known
    ) -> None:
        seen = observe.with_clock(seen, self._exchange.time.skew_s)
        seen.next_verification_at.CopyFrom(timestamp(self._clock.unix() + (outcome.next_s or 0.0)))
        changed = await self._status.observed(binding, seen, started_ms, known)
        ended = "stale" if seen.stale else "verdict" if outcome.reply else "unconfirmed"
        measures.verified(binding.verdict, ended)
        logs.get().info(
            "verified",
            tenant=binding.tenant_id,
            binding=binding.id,
            revision=binding.revision,
            state=binding_pb2.Status.Name(binding.verdict.status),
            reason=binding_pb2.Reason.Name(binding.verdict.reason),
            outcome=ended,
            count=int(changed),
        )


def _answering(binding: Binding, before: Observation | None) -> bool:
    """Tell whether the exchange answered for this key when it was last asked: it surely will for all that is wanted."""
    works = binding.verdict.status in (STATUS_CONNECTED, STATUS_LIMITED)
    return works and before is not None and not before.stale and not before.HasField("refused")


def _nobody(uid: str, environment: Environment.ValueType) -> None:
    """Tell nobody whose key a replacement is, before it is known to be the right one's."""


def _revoked(binding: Binding) -> bool:
    return binding.verdict.status == STATUS_REVOKED

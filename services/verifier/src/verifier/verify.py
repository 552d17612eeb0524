"""Own one verification from start to end: the record, the exchange, the verdict, the transition, the publication.

Every step can be repeated: a second run of the same job finds the record as it should be and changes nothing.
"""

from typing import Final

from common import logs
from common.clock import Clock, timestamp
from common.errors import Aborted, BindingRevoked, NotFound, StrongroomError
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding, Observation, Verdict
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, SignResponse

from verifier import verdict
from verifier.bitget.client import BitgetClient
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.probe import Facts, probe
from verifier.bitget.reads import Reads
from verifier.jobs import Job, Outcome
from verifier.schedule import Schedule
from verifier.status import Status
from verifier.vault_client import Vault

TRANSITION_TRIES: Final = 3
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
        self._egress = egress
        self._clock = clock

    async def run(self, job: Job, started_ms: int) -> Outcome:
        """Verify the job's binding and return how that ended.

        What keeps our own services from answering changes no status: it is logged, and the job is tried again later.
        """
        try:
            return await self._verify(job, started_ms)
        except NotFound:
            await self._status.forget(job.tenant, job.binding)
            return Outcome(verified=False)
        except StrongroomError as error:
            logs.get().warning("verification_put_off", binding=job.binding, kind=error.kind, reason=error.reason)
            delay = self._schedule.after_failure(job.attempt)
            return Outcome(verified=False, next_s=delay, attempt=job.attempt + 1)

    async def _verify(self, job: Job, started_ms: int) -> Outcome:
        binding = await self._vault.describe(job.tenant, job.binding)
        if _revoked(binding):
            return await self._ended(binding)
        try:
            answer = await self._ask(binding)
        except BindingRevoked:
            return await self._ended(await self._vault.describe(job.tenant, job.binding))
        if isinstance(answer, ExchangeFailure) and not verdict.definite(binding, answer, job.attempt):
            return await self._not_told(job, binding, answer, started_ms)
        binding = await self._record(job, binding, answer)
        if _revoked(binding):
            return await self._ended(binding)
        delay = self._schedule.after_verdict(binding, self._clock.unix())
        observation = await self._observation(binding, answer, delay)
        await self._publish(binding, observation, started_ms)
        return Outcome(verified=True, next_s=delay)

    async def _ask(self, binding: Binding) -> Answer:
        async def sign(request: ExchangeRequest, demo: bool) -> SignResponse:
            return await self._vault.sign(binding.tenant_id, binding.id, request, demo)

        reads = Reads(self._exchange, sign, self._clock, self._schedule.uniform, demo=False)
        try:
            return await probe(reads, set(binding.scopes), binding.verdict.environment)
        except ExchangeFailure as failure:
            return failure

    async def _record(self, job: Job, binding: Binding, answer: Answer) -> Binding:
        """Bring the record to the verdict by check-and-set; when it changed meanwhile, judge again on what it says."""
        for _ in range(TRANSITION_TRIES):
            reached = self._judge(binding, answer)
            if _revoked(binding) or binding.verdict == reached:
                return binding
            try:
                return await self._vault.transition(job.tenant, job.binding, binding.revision, reached)
            except Aborted:
                binding = await self._vault.describe(job.tenant, job.binding)
        raise Aborted()

    def _judge(self, binding: Binding, answer: Answer) -> Verdict:
        if isinstance(answer, ExchangeFailure):
            return verdict.of_failure(binding, answer, self._egress)
        return verdict.of_facts(binding, answer, self._egress)

    async def _observation(self, binding: Binding, answer: Answer, delay: float) -> Observation:
        """Return what was observed; balances that could not be read for a passing reason stay as they were."""
        now = self._clock.unix()
        observation = Observation(last_verified_at=timestamp(now), next_verification_at=timestamp(now + delay))
        if isinstance(answer, ExchangeFailure):
            return observation
        if answer.hiccup:
            known = (await self._status.read(binding.tenant_id, binding.id)).observation
            if known is not None and known.HasField("balances"):
                observation.balances.CopyFrom(known.balances)
        elif answer.balances is not None:
            observation.balances.CopyFrom(answer.balances)
            observation.balances.as_of.CopyFrom(timestamp(now))
        return observation

    async def _not_told(self, job: Job, binding: Binding, failure: ExchangeFailure, started_ms: int) -> Outcome:
        """Publish that the exchange could not be asked: the status stays, the observation is stale."""
        delay = self._schedule.after_failure(job.attempt)
        known = (await self._status.read(binding.tenant_id, binding.id)).observation
        observation = known or Observation()
        observation.stale = True
        observation.stale_finding.CopyFrom(failure.finding(", ".join(self._egress)))
        observation.next_verification_at.CopyFrom(timestamp(self._clock.unix() + delay))
        await self._publish(binding, observation, started_ms)
        return Outcome(verified=False, next_s=delay, attempt=job.attempt + 1)

    async def _ended(self, binding: Binding) -> Outcome:
        await self._status.recorded(binding)
        return Outcome(verified=False)

    async def _publish(self, binding: Binding, observation: Observation, started_ms: int) -> None:
        changed = await self._status.observed(binding, observation, started_ms)
        logs.get().info(
            "verified",
            tenant=binding.tenant_id,
            binding=binding.id,
            revision=binding.revision,
            state=binding.verdict.status,
            reason=binding.verdict.reason,
            outcome="stale" if observation.stale else "verdict",
            count=int(changed),
        )


def _revoked(binding: Binding) -> bool:
    return binding.verdict.status == STATUS_REVOKED

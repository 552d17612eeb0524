"""Own one verification from start to end: the record, the exchange, the verdict, the transition, the publication.

Every step can be repeated: a second run of the same job finds the record as it should be and changes nothing.
"""

from typing import Final

from common import logs
from common.clock import Clock, timestamp
from common.errors import Aborted, BindingRevoked, NotFound, StrongroomError
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding, Observation, Verdict
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, SignResponse

from verifier import verdict
from verifier.bitget.budget import Caller
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
            return self._again(job, verified=False)

    async def _verify(self, job: Job, started_ms: int) -> Outcome:
        binding = await self._vault.describe(job.tenant, job.binding)
        if _revoked(binding):
            return await self._ended(binding)
        try:
            answer = await self._ask(binding)
        except BindingRevoked:
            return await self._ended(await self._vault.describe(job.tenant, job.binding))
        before = (await self._status.read(job.tenant, job.binding)).observation
        if isinstance(answer, ExchangeFailure) and not verdict.definite(binding, answer, before):
            outcome = self._again(job, verified=False)
            observation = self._unanswered(before, answer, outcome)
        else:
            binding = await self._record(job, binding, answer)
            if _revoked(binding):
                return await self._ended(binding)
            outcome = self._planned(job, binding, answer)
            observation = self._observation(before, answer, outcome)
        await self._publish(binding, observation, started_ms)
        return outcome

    async def _ask(self, binding: Binding) -> Answer:
        async def sign(request: ExchangeRequest, demo: bool) -> SignResponse:
            return await self._vault.sign(binding.tenant_id, binding.id, request, demo)

        caller = Caller(binding.tenant_id, binding.verdict.account.uid or binding.id)
        reads = Reads(self._exchange, caller, sign, self._clock, self._schedule.uniform, demo=False)
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

    def _again(self, job: Job, *, verified: bool) -> Outcome:
        return Outcome(verified, self._schedule.after_failure(job.attempt), job.attempt + 1)

    def _planned(self, job: Job, binding: Binding, answer: Answer) -> Outcome:
        """Plan the next verification; soon, if balances are still to be had."""
        if isinstance(answer, Facts) and answer.hiccup:
            return self._again(job, verified=True)
        return Outcome(verified=True, next_s=self._schedule.after_verdict(binding, self._clock.unix()))

    def _observation(self, before: Observation | None, answer: Answer, outcome: Outcome) -> Observation:
        """Return what was observed; balances that could not be read for a passing reason stay as they were."""
        now = self._clock.unix()
        observation = Observation(last_verified_at=timestamp(now), next_verification_at=self._next(outcome))
        if isinstance(answer, ExchangeFailure):
            return observation
        if answer.balances is not None:
            observation.balances.CopyFrom(answer.balances)
            observation.balances.as_of.CopyFrom(timestamp(now))
        elif answer.hiccup and before is not None and before.HasField("balances"):
            observation.balances.CopyFrom(before.balances)
        return observation

    def _unanswered(self, before: Observation | None, failure: ExchangeFailure, outcome: Outcome) -> Observation:
        """Return what was observed before, as stale, with what kept the exchange from answering."""
        observation = Observation()
        if before is not None:
            observation.CopyFrom(before)
        observation.stale = True
        observation.stale_finding.CopyFrom(failure.finding(", ".join(self._egress)))
        observation.next_verification_at.CopyFrom(self._next(outcome))
        return observation

    def _next(self, outcome: Outcome) -> Timestamp:
        return timestamp(self._clock.unix() + (outcome.next_s or 0.0))

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
            state=binding_pb2.Status.Name(binding.verdict.status),
            reason=binding_pb2.Reason.Name(binding.verdict.reason),
            outcome="stale" if observation.stale else "verdict",
            count=int(changed),
        )


def _revoked(binding: Binding) -> bool:
    return binding.verdict.status == STATUS_REVOKED

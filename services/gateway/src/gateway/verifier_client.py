"""Own the gateway's way to the verifier: ask for a verdict, read what was last observed. Ids only, no credentials."""

from collections.abc import Sequence
from typing import Final

import grpc
from common import logs
from common.errors import StrongroomError
from common.rpc.client import call
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1 import verification_service_pb2 as messages
from strongroom.verifier.v1.verification_service_pb2_grpc import VerificationServiceStub

from gateway.resource import number

READ_S: Final = 2.0

# A record and what was last observed of it, if anything.
Seen = tuple[pb.Binding, pb.Observation | None]


class VerifierClient:
    """Submit and read. What is observed is a convenience: the reads answer None instead of failing."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = VerificationServiceStub(channel)

    async def submit(
        self, authorization: str, binding_id: str, wait_s: int = 0, *, only_publish: bool = False
    ) -> messages.SubmitResponse:
        """Queue a verification and wait up to `wait_s` seconds; return if there was a verdict, and what was seen.

        `only_publish` tells of the record as it is and has nothing verified.
        """
        request = messages.SubmitRequest(binding_id=binding_id, wait_seconds=wait_s, only_publish=only_publish)
        answer = await call(self._stub.Submit, request, timeout_s=wait_s + READ_S, authorization=authorization)
        told: messages.SubmitResponse = answer
        return told

    async def try_submit(
        self, authorization: str, binding_id: str, wait_s: int = 0, *, only_publish: bool = False
    ) -> messages.SubmitResponse:
        """Submit where nothing depends on it: the verifier finds the binding by itself later."""
        try:
            return await self.submit(authorization, binding_id, wait_s, only_publish=only_publish)
        except StrongroomError as error:
            _missed("submit", error)
            return messages.SubmitResponse()

    async def get(self, authorization: str, binding_id: str) -> pb.Observation | None:
        """Return what was last observed of one binding, None when that cannot be asked."""
        request = messages.GetRequest(binding_id=binding_id)
        try:
            answer = await call(self._stub.Get, request, timeout_s=READ_S, authorization=authorization)
        except StrongroomError as error:
            _missed("get", error)
            return None
        observation: pb.Observation = answer.observation
        return observation

    async def get_many(self, authorization: str, binding_ids: Sequence[str]) -> list[pb.Observation | None]:
        """Return what was last observed of each binding, in the order asked; None where that cannot be asked."""
        request = messages.ListRequest(binding_ids=binding_ids)
        try:
            answer = await call(self._stub.List, request, timeout_s=READ_S, authorization=authorization)
        except StrongroomError as error:
            _missed("list", error)
            return [None] * len(binding_ids)
        return list(answer.observations)

    async def page(
        self, authorization: str, *, status: str | None, subject: str, after: str, limit: int
    ) -> tuple[list[Seen], str] | None:
        """Return up to `limit` published bindings after the id `after`, and the next `after` (empty on the last page).

        None when that cannot be asked, or what is published may lack some: then only the vault service can tell.
        """
        wanted = number(pb.Status, status or "unspecified")
        request = messages.PageRequest(status=wanted, subject=subject, after=after, limit=limit)
        try:
            answer = await call(self._stub.Page, request, timeout_s=READ_S, authorization=authorization)
        except StrongroomError as error:
            _missed("page", error)
            return None
        found = [(one.binding, one.observation if one.HasField("observation") else None) for one in answer.entries]
        return found, answer.next_after


def _missed(operation: str, error: StrongroomError) -> None:
    logs.get().warning("verifier_not_asked", operation=operation, kind=error.kind, reason=error.reason)

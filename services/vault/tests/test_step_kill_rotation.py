"""The process is killed at each durable step of a rotation; afterwards one credential is in use, and nothing left."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, Account, Binding, Verdict
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import BindRequest, Credential, PromoteRequest, StageRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import steps
from vault.actor import Actor
from vault.asked import asked

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
WORKS = Verdict(status=STATUS_CONNECTED, account=Account(uid="7"))
LONG = 40
Request = Callable[..., BindRequest]


class Case:
    """One proven binding, and the credential that is to replace its own."""

    def __init__(self, parts: Any, actor: Actor, request: BindRequest, other: Credential, clock: Any = None) -> None:
        self.parts, self.actor, self.request, self.clock = parts, actor, request, clock
        self.name = asked(actor.tenant, request).binding_id
        self.other = StageRequest(binding_id=self.name, idempotency_key=secrets.token_hex(8), credential=other)

    async def prove(self) -> Binding:
        made, _ = await self.parts.bindings.bind(self.actor, asked(self.actor.tenant, self.request))
        return (await self.parts.bindings.transition(self.actor, made.id, made.revision, WORKS))[0]

    async def staged(self) -> tuple[Binding, int]:
        binding, attempt = await self.parts.rotations.stage(self.actor, self.other)
        return binding, attempt.version

    async def in_use(self) -> str:
        """Return the API key that signs, and make sure that its signature is that of its own version."""
        answer = await self.parts.signer.sign(self.actor, SignRequest(binding_id=self.name, requests=[INFO]))
        headers = {header.name: header.value for header in answer.signed[0].headers}
        return headers["ACCESS-KEY"]

    async def check(self, version: int, *, replaced: bool) -> None:
        """Hold what is there against what must be: one record, one version of everything, and no orphan."""
        request = self.other if replaced else self.request
        assert await self.in_use() == request.credential.api_key
        record = await self.parts.bindings.records.load(self.actor.tenant, self.name)
        assert (record.staged, record.left) == (None, None)
        assert record.binding.credential.version == version
        document = await self.parts.documents.read(self.actor.tenant, "credentials", self.name)
        assert list(document.data["versions"]) == [str(version)]
        assert document.data["versions"][str(version)]["api_key"] == request.credential.api_key
        key_type = record.binding.credential.key_type
        for older in range(1, version):
            assert await self.parts.keys.sign(self.actor.tenant, self.name, key_type, [b"x"], older) is None
        free = self.request if replaced else self.other
        rebound = BindRequest()
        rebound.CopyFrom(self.request)
        rebound.idempotency_key = secrets.token_hex(8)
        rebound.credential.CopyFrom(self.request.credential)
        rebound.credential.api_key = free.credential.api_key
        made, created = await self.parts.bindings.bind(self.actor, asked(self.actor.tenant, rebound))
        assert created
        await self.parts.bindings.revoke(self.actor, made.id)


async def killed_stage(kill: Any, case: Case, step: str, back: Any = None) -> None:
    """Kill a staging at `step`; the old key signs; a repeat completes it, or the reconciler of `back` gives it up."""
    actor = case.actor
    await case.prove()
    assert kill(actor.tenant, step, stage=json_format.MessageToDict(case.other)) == 137
    assert await case.in_use() == case.request.credential.api_key
    if back and step not in ("stage.intent", "stage.claimed", "stage.recorded"):
        case.clock.ahead += 46
        await back.reconciler.round()
        await case.check(1, replaced=False)
        return
    binding, version = await case.staged()
    assert (await case.staged()) == (binding, version)
    assert await case.in_use() == case.request.credential.api_key
    await case.parts.settlements.promote(actor, case.name, binding.revision, version, WORKS)
    await case.check(version, replaced=True)


async def killed_promote(kill: Any, case: Case, step: str, back: Any = None) -> None:
    """Kill a promotion at `step` and finish it by a repeat or by the first round of `back`."""
    actor = case.actor
    await case.prove()
    binding, version = await case.staged()
    order = PromoteRequest(binding_id=case.name, expected_revision=binding.revision, version=version, verdict=WORKS)
    assert kill(actor.tenant, step, promote=json_format.MessageToDict(order, preserving_proto_field_name=True)) == 137
    replaced = step != "promote.intent"
    assert await case.in_use() == (case.other if replaced else case.request).credential.api_key
    if back and replaced:
        await back.reconciler.round()
    elif step != "settle.closed":
        await case.parts.settlements.promote(actor, case.name, binding.revision, version, WORKS)
    await case.check(version, replaced=True)


async def killed_abandon(kill: Any, case: Case, step: str, back: Any = None) -> None:
    """Kill the giving up of a version at `step` and finish it by a repeat or by the first round of `back`."""
    actor = case.actor
    await case.prove()
    _, version = await case.staged()
    assert kill(actor.tenant, step, abandon=case.name, version=version) == 137
    assert await case.in_use() == case.request.credential.api_key
    if step == "abandon.intent":
        await case.parts.settlements.abandon(actor, case.name, version, "invalid_secret", [])
    elif back:
        await back.reconciler.round()
    else:
        await case.staged()  # the same request again is told what became of it
    await case.check(1, replaced=False)


KILLED = {
    **dict.fromkeys(steps.STAGE, killed_stage),
    **{f"{step} of a sealed one": killed_stage for step in steps.SEALED_STAGE},
    **dict.fromkeys(steps.PROMOTE, killed_promote),
    **{f"{step} of a failed one": killed_abandon for step in steps.ABANDON},
}


@pytest.fixture
def case(parts: Any, actor: Actor, request_of: Request, sealed_request_of: Any, clock: Any) -> Callable[[str], Any]:
    """Return a maker of cases, awaited; a sealed one brings a secret that nobody here can read."""

    async def make_one(name: str = "") -> Case:
        other = await sealed_request_of() if "sealed" in name else request_of()
        return Case(parts, actor, request_of(), other.credential, clock)

    return make_one


async def killed(kill: Any, case: Case, name: str, back: Any = None) -> None:
    await KILLED[name](kill, case, name.partition(" ")[0], back)


@pytest.mark.bar(31)
@pytest.mark.parametrize("name", KILLED)
async def test_a_rotation_killed_at_a_step_leaves_one_credential_in_use_and_nothing_behind(
    kill: Any, make: Any, case: Callable[[str], Any], name: str
) -> None:
    for back in (None, await make()):
        await killed(kill, await case(name), name, back)


async def test_a_rotation_killed_again_and_again_at_later_steps_is_still_one(
    kill: Any, parts: Any, actor: Actor, request_of: Request
) -> None:
    case = Case(parts, actor, request_of(), request_of().credential)
    await case.prove()
    for step in steps.STAGE:
        assert kill(actor.tenant, step, stage=json_format.MessageToDict(case.other)) == 137
    binding, version = await case.staged()
    await parts.settlements.promote(actor, case.name, binding.revision, version, WORKS)
    await case.check(version, replaced=True)


async def test_a_binding_revoked_after_a_killed_rotation_leaves_nothing(
    kill: Any, parts: Any, actor: Actor, request_of: Request
) -> None:
    for step in steps.STAGE[2:]:
        case = Case(parts, actor, request_of(), request_of().credential)
        await case.prove()
        assert kill(actor.tenant, step, stage=json_format.MessageToDict(case.other)) == 137
        await parts.bindings.revoke(actor, case.name)
        assert (actor.tenant, case.name) not in await parts.directory.keys()
        assert (await parts.documents.read(actor.tenant, "credentials", case.name)).data is None


@pytest.mark.bar(31)
@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KILLED)
async def test_forty_kills_at_each_step_of_a_rotation(
    kill: Any, make: Any, case: Callable[[str], Any], name: str
) -> None:
    for number in range(LONG):
        await killed(kill, await case(name), name, None if number % 4 else await make())

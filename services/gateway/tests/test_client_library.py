"""The client library against a whole gateway: the same calls, blocking and asynchronous."""

from collections.abc import Iterator
from typing import Any

import pytest
from cli.tokens import TokenIssuer
from strongroom_client import (
    AsyncStrongroom,
    Conflict,
    Credential,
    NotFound,
    Reset,
    Strongroom,
    StrongroomError,
    Unauthenticated,
    Unavailable,
)

from services.gateway.tests.conftest import Served
from services.gateway.tests.world import World


@pytest.fixture
def room(served: Served, issuer: TokenIssuer, tenant: str) -> Iterator[Strongroom]:
    with Strongroom(served.url, lambda: issuer.issue(tenant)) as made:
        yield made


@pytest.fixture
def key(body: dict[str, Any]) -> Credential:
    return Credential(**body["credential"])


def test_a_key_is_bound_read_changed_and_revoked(room: Strongroom, key: Credential) -> None:
    bound = room.bind(key, plain=True, label="Main", wait=5)
    assert (bound.status, bound.label) == ("connected", "Main")
    read = room.get(bound.id)
    assert read.etag
    changed = room.update(bound.id, label="Other", etag=read.etag)
    assert changed.label == "Other"
    with pytest.raises(Conflict):
        room.update(bound.id, label="Third", etag=read.etag)
    room.revoke(bound.id)


def test_a_key_that_is_bound_already_is_a_conflict_that_names_the_binding(room: Strongroom, key: Credential) -> None:
    bound = room.bind(key, plain=True)
    with pytest.raises(Conflict) as told:
        room.bind(key, plain=True)
    assert (told.value.binding_id, len(told.value.idempotency_key or "")) == (bound.id, 32)
    assert key.secret_key not in repr(key) + str(told.value)


def test_a_list_goes_through_every_page(room: Strongroom, world: World, tenant: str) -> None:
    ids = sorted(world.put(tenant).id for _ in range(103))
    assert [one.id for one in room.list()] == ids


def test_what_is_not_there_and_what_is_not_allowed_are_errors_of_their_own(room: Strongroom, served: Served) -> None:
    with pytest.raises(NotFound) as told:
        room.get("0" * 32)
    assert told.value.request_id
    with Strongroom(served.url, "nothing") as stranger, pytest.raises(Unauthenticated):
        stranger.get("0" * 32)


def test_a_token_goes_to_no_unsafe_address_and_silence_is_an_error() -> None:
    with pytest.raises(StrongroomError, match="https://"):
        Strongroom("http://192.0.2.1", "token")
    with Strongroom("http://127.0.0.1:1", "token") as room, pytest.raises(Unavailable):
        room.get("0" * 32)


async def test_the_asynchronous_client_does_the_same(
    served: Served, issuer: TokenIssuer, tenant: str, world: World, key: Credential
) -> None:
    async def token() -> str:
        return issuer.issue(tenant)

    async with AsyncStrongroom(served.url, token) as room:
        bound = await room.bind(key, plain=True, wait=5)
        assert (await room.get(bound.id)).status == "connected"
        assert [one.id async for one in room.list()] == [bound.id]
        stream = room.events()
        assert await anext(stream) == Reset("opened")
        await stream.aclose()  # type: ignore[attr-defined]

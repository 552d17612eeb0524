"""Sealed binds on a real server: what is imported, what is refused, and that a ciphertext serves one binding."""

import asyncio
import base64
import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import AlreadyExists, IdempotencyMismatch, InvalidArgument, NotFound
from common.secret import Secret
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from strongroom.types.v1.binding_pb2 import KEY_TYPE_HMAC, KEY_TYPE_RSA
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import BindRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked, asked
from vault.material import HmacSecret, rsa_private_key
from vault.store import Applied
from vault.wrapped import sealed_secret

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
Request = Callable[..., BindRequest]
Seal = Callable[..., str]


def encrypted(public_key: Any, secret: bytes, aes_bytes: int = 32) -> bytes:
    """Encrypt as the contract says; written here by itself, as a stranger would."""
    key = os.urandom(aes_bytes)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return bytes(public_key.encrypt(key, oaep)) + aes_key_wrap_with_padding(key, secret)


@pytest.fixture
async def public_key(parts: Any) -> Any:
    return serialization.load_pem_public_key((await parts.bindings.wrapping_key()).pem.encode())


@pytest.fixture
def seal(public_key: Any) -> Seal:
    return lambda secret, **how: base64.b64encode(encrypted(public_key, secret, **how)).decode()


@pytest.fixture
def sealed(tenant: str, request_of: Request) -> Callable[..., Asked]:
    """Return a maker of checked sealed binds of the test's tenant."""

    def make_one(wrapped: str, key: str = "", **credential: Any) -> Asked:
        return asked(tenant, request_of(key, secret_key="", wrapped_secret=wrapped, **credential))

    return make_one


async def refused(parts: Any, actor: Actor, wanted: Asked) -> str:
    """Bind what cannot be bound, make sure that nothing is there, and return why."""
    with pytest.raises(InvalidArgument) as error:
        await parts.bindings.bind(actor, wanted)
    with pytest.raises(NotFound):
        await parts.bindings.records.load(actor.tenant, wanted.binding_id)
    assert not await parts.keys.exists(actor.tenant, wanted.binding_id)
    assert await parts.documents.read(actor.tenant, "credentials", wanted.binding_id) is None
    return f"{error.value.extra['field'].removeprefix('credential.')}: {error.value.reason}"


async def signature(parts: Any, actor: Actor, name: str, key_type: int, text: bytes) -> str:
    (made,) = await parts.keys.sign(actor.tenant, name, key_type, [text], 1)
    return str(made.value)


async def test_a_sealed_secret_signs_as_the_secret_that_nobody_here_saw(
    parts: Any, actor: Actor, sealed: Any, seal: Seal
) -> None:
    plain = secrets.token_hex(32)
    wanted = sealed(seal(plain.encode()))
    binding, created = await parts.bindings.bind(actor, wanted)
    assert (created, binding.credential.sealed, binding.credential.key_type) == (True, True, KEY_TYPE_HMAC)
    made = await signature(parts, actor, binding.id, KEY_TYPE_HMAC, b"some text")
    assert plain not in str(wanted)
    assert HmacSecret(Secret(plain)).made(made, b"some text")
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, requests=[INFO]))
    assert await parts.bindings.bind(actor, wanted) == (binding, False)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
async def test_a_sealed_rsa_key_of_each_size_signs(
    parts: Any, actor: Actor, sealed: Any, seal: Seal, rsa_key: Any, pem: Any, bits: int
) -> None:
    der = rsa_key(bits).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    binding, _ = await parts.bindings.bind(actor, sealed(seal(der), key_type=KEY_TYPE_RSA))
    made = await signature(parts, actor, binding.id, KEY_TYPE_RSA, b"some text")
    assert rsa_private_key(pem(rsa_key(bits))).made(made, b"some text")


async def test_what_vault_can_make_no_key_of_is_refused_and_leaves_nothing(
    parts: Any, actor: Actor, sealed: Any, seal: Seal, public_key: Any
) -> None:
    foreign = rsa.generate_private_key(65537, 4096).public_key()
    good = base64.b64decode(seal(b"s" * 64))
    unreadable = [
        os.urandom(len(good)),
        encrypted(foreign, b"s" * 64),
        good[:-8] + bytes(8),
        good[:-8],
        encrypted(public_key, b"s" * 64, aes_bytes=16),
        bytes([good[0] ^ 1]) + good[1:],
    ]
    for raw in unreadable:
        why = await refused(parts, actor, sealed(base64.b64encode(raw).decode()))
        assert why == "wrapped_secret: wrapped_secret_unreadable"
    # Of the right length, and no key: 31 bytes look like 32 when wrapped; an HMAC secret is no RSA key.
    for wanted in (sealed(seal(b"s" * 31)), sealed(seal(b"s" * 1216), key_type=KEY_TYPE_RSA)):
        assert await refused(parts, actor, wanted) == "wrapped_secret: wrapped_secret_no_key"


async def test_after_a_refusal_the_same_key_is_bound_at_once_under_the_same_and_under_another_name(
    parts: Any, actor: Actor, sealed: Any, seal: Seal
) -> None:
    for again in ("first", "another"):
        api_key = "bg_" + secrets.token_hex(16)
        await refused(parts, actor, sealed(seal(b"s" * 31), "first" + api_key, api_key=api_key))
        wanted = sealed(seal(b"s" * 64), again + api_key, api_key=api_key)
        assert (await parts.bindings.bind(actor, wanted))[1]


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_ciphertext_serves_one_binding_and_neither_another_of_its_tenant_nor_of_a_foreign_one(
    server: Any, parts: Any, actor: Actor, request_of: Request, seal: Seal, foreign: bool
) -> None:
    wrapped = seal(b"s" * 64)
    other = Actor(server.tenant() if foreign else actor.tenant, "gateway")
    await parts.bindings.bind(actor, asked(actor.tenant, request_of("one", secret_key="", wrapped_secret=wrapped)))
    again = asked(other.tenant, request_of("two", secret_key="", wrapped_secret=wrapped))
    assert await refused(parts, other, again) == "wrapped_secret: wrapped_secret_used"
    fresh = request_of("two", api_key=again.api_key.reveal(), secret_key="", wrapped_secret=seal(b"s" * 64))
    assert (await parts.bindings.bind(other, asked(other.tenant, fresh)))[1]


async def test_a_ciphertext_stays_used_when_its_binding_has_ended(
    parts: Any, actor: Actor, sealed: Any, seal: Seal
) -> None:
    wrapped = seal(b"s" * 64)
    binding, _ = await parts.bindings.bind(actor, sealed(wrapped))
    await parts.bindings.revoke(actor, binding.id)
    assert await refused(parts, actor, sealed(wrapped)) == "wrapped_secret: wrapped_secret_used"


async def test_an_altered_ciphertext_with_the_same_content_is_refused_by_the_server(
    parts: Any, actor: Actor, sealed: Any, seal: Seal, public_key: Any
) -> None:
    modulus = public_key.public_numbers().n
    while True:  # the one way to write the same number differently needs room below 2**4096
        raw = base64.b64decode(seal(b"s" * 64))
        same = int.from_bytes(raw[:512], "big") + modulus
        if same < 1 << 4096:
            break
    altered = base64.b64encode(same.to_bytes(512, "big") + raw[512:]).decode()
    assert await refused(parts, actor, sealed(altered)) == "wrapped_secret: wrapped_secret_unreadable"


async def test_a_sealed_bind_sent_twenty_times_at_once_makes_one_binding(
    parts: Any, actor: Actor, sealed: Any, seal: Seal
) -> None:
    wanted = sealed(seal(b"s" * 64))
    answers = await asyncio.gather(*(parts.bindings.bind(actor, wanted) for _ in range(20)))
    assert sum(created for _, created in answers) == 1
    assert len({binding.SerializeToString(deterministic=True) for binding, _ in answers}) == 1


async def test_one_key_and_many_ciphertexts_make_one_binding(parts: Any, actor: Actor, sealed: Any, seal: Seal) -> None:
    asks = [sealed(seal(b"s" * 64), api_key="bg_everybody_wants_me") for _ in range(10)]
    answers = await asyncio.gather(*(parts.bindings.bind(actor, ask) for ask in asks), return_exceptions=True)
    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyExists) for answer in answers) == 9


async def test_an_unfinished_bind_of_one_kind_is_not_completed_by_one_of_the_other(
    parts: Any, actor: Actor, sealed: Any, seal: Seal, wanted: Any
) -> None:
    plain = wanted("plain-first")
    assert await parts.keys.import_key(actor.tenant, plain.binding_id, plain.material) == Applied(None)
    with pytest.raises(IdempotencyMismatch):
        await parts.bindings.bind(actor, sealed(seal(b"s" * 64), "plain-first"))
    assert (await parts.bindings.bind(actor, plain))[1]
    first = sealed(seal(b"s" * 64), "sealed-first")
    await parts.bindings.records.seal(actor.tenant, first.binding_id, "0" * 64, cas=0)
    for other in (wanted("sealed-first"), first):  # the slot is kept for another ciphertext
        with pytest.raises(IdempotencyMismatch):
            await parts.bindings.bind(actor, other)
    assert not await parts.keys.exists(actor.tenant, first.binding_id)


async def test_a_ciphertext_that_names_its_wrapping_key_is_told_when_that_is_another_one(
    parts: Any, actor: Actor, sealed: Any, seal: Seal
) -> None:
    present = (await parts.bindings.wrapping_key()).fingerprint
    why = await refused(parts, actor, sealed(seal(b"s" * 64), wrapping_key_fingerprint="0" * 64))
    assert why == "wrapping_key_fingerprint: wrapping_key_changed"
    assert (await parts.bindings.bind(actor, sealed(seal(b"s" * 64), wrapping_key_fingerprint=present)))[1]


@pytest.mark.parametrize(
    ("inside", "key_type", "transit_type"),
    [
        *((size, KEY_TYPE_HMAC, "hmac") for size in (32, 33, 64, 511, 512)),
        *((size, KEY_TYPE_RSA, "rsa-2048") for size in (1214, 1219)),
        *((size, KEY_TYPE_RSA, "rsa-3072") for size in (1790, 1796)),
        *((size, KEY_TYPE_RSA, "rsa-4096") for size in (2370, 2376)),
    ],
)
def test_the_length_of_a_ciphertext_tells_what_transit_is_asked_to_import(
    inside: int, key_type: int, transit_type: str
) -> None:
    raw = bytes(512) + aes_key_wrap_with_padding(bytes(32), bytes(inside))
    assert sealed_secret(base64.b64encode(raw).decode(), key_type).transit_type == transit_type
    with pytest.raises(InvalidArgument, match="wrapped_length"):
        sealed_secret(base64.b64encode(raw + b"0").decode(), key_type)
    other = KEY_TYPE_RSA if key_type == KEY_TYPE_HMAC else KEY_TYPE_HMAC
    with pytest.raises(InvalidArgument, match="wrapped_length"):
        sealed_secret(base64.b64encode(raw).decode(), other)


GOOD = base64.b64encode(bytes(512 + 72)).decode()


@pytest.mark.parametrize(
    ("credential", "why"),
    [
        ({"wrapped_secret": GOOD[:-1]}, "wrapped_secret not_base64"),
        ({"wrapped_secret": GOOD[:-3] + "B=="}, "wrapped_secret not_base64"),
        ({"wrapped_secret": GOOD[:64] + "\n" + GOOD[64:]}, "wrapped_secret not_base64"),
        ({"wrapped_secret": GOOD.replace("A", "-")}, "wrapped_secret not_base64"),
        ({"wrapped_secret": base64.b64encode(bytes(512 + 32)).decode()}, "wrapped_secret wrapped_length"),
        ({"wrapped_secret": base64.b64encode(bytes(512 + 536)).decode()}, "wrapped_secret wrapped_length"),
        ({"wrapped_secret": "A" * 8192}, "wrapped_secret wrapped_length"),
        ({"wrapped_secret": GOOD, "secret_key": "s" * 64}, "secret_key secret_twice"),
        ({"wrapped_secret": GOOD, "key_type": 0}, "key_type invalid_field"),
        ({"wrapped_secret": GOOD, "wrapping_key_fingerprint": "A" * 64}, "wrapping_key_fingerprint malformed"),
        ({"secret_key": "s" * 64, "wrapping_key_fingerprint": "0" * 64}, "wrapping_key_fingerprint not_sealed"),
        ({}, "secret_key invalid_field"),
    ],
)
def test_a_wrapped_secret_that_cannot_be_one_is_refused_by_field_and_reason(
    tenant: str, request_of: Request, credential: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        asked(tenant, request_of(**{"secret_key": "", **credential}))
    assert f"{error.value.extra['field'].removeprefix('credential.')} {error.value.reason}" == why


def test_a_hint_of_a_sealed_credential_never_shows_what_may_be_the_secret(sealed: Any) -> None:
    assert sealed(GOOD, api_key="bg_" + "1" * 32).hint() == "bg_11…1111"
    assert sealed(GOOD, api_key="5" * 64).hint() == "…"

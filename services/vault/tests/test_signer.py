"""The oracle on a real Transit: golden vectors, the headers, and everything for which nothing is signed."""

import asyncio
import base64
import hashlib
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from common.errors import BindingRevoked, InvalidArgument, NotFound, PolicyRefused, Unavailable
from common.secret import Secret
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from strongroom.types.v1.binding_pb2 import KEY_TYPE_HMAC, KEY_TYPE_RSA
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import policy
from vault.actor import Actor
from vault.asked import Asked
from vault.canonical import canonical
from vault.material import HmacSecret, rsa_private_key
from vault.store import Applied

GOLDEN = json.loads(Path(__file__).with_name("bitget_vectors.json").read_text())
CAMEL = policy.load().camel_case_paths
ANY_KEY = "0" * 32
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")


def as_request(vector: dict[str, str]) -> ExchangeRequest:
    """Return the vector's request with its query in reverse order: sorting is the signer's work."""
    pairs = [pair.split("=", 1) for pair in vector["query_raw"].split("&") if pair]
    query = [QueryParameter(name=name, value=value) for name, value in reversed(pairs)]
    return ExchangeRequest(method=vector["method"], path=vector["path"], query=query, body=vector["body"].encode())


@pytest.mark.bar(23)
@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: vector["id"])
async def test_transit_signs_the_golden_vectors_byte_for_byte(parts: Any, tenant: str, vector: dict[str, str]) -> None:
    assert await parts.keys.import_key(tenant, ANY_KEY, HmacSecret(Secret(GOLDEN["secret"]))) == Applied(None)
    made = canonical(as_request(vector), CAMEL)
    prehash = made.prehash(int(vector["timestamp"]))
    assert prehash.decode() == vector["prehash"]
    assert made.target() == vector["path"] + ("?" + vector["query_wire"] if vector["query_wire"] else "")
    [signature] = await parts.keys.sign(tenant, ANY_KEY, KEY_TYPE_HMAC, [prehash], 1)
    assert signature.value == vector["signature"]


async def test_transit_reproduces_an_answer_known_from_outside(parts: Any, tenant: str) -> None:
    known = GOLDEN["outside"]
    # Transit takes 32 bytes at least; HMAC-SHA256 fills a key up with zeros to 64, so these change nothing.
    padded = known["secret"] + "\0" * (32 - len(known["secret"]))
    assert await parts.keys.import_key(tenant, ANY_KEY, HmacSecret(Secret(padded))) == Applied(None)
    [signature] = await parts.keys.sign(tenant, ANY_KEY, KEY_TYPE_HMAC, [known["prehash"].encode()], 1)
    assert signature.value == known["signature"]


@pytest.mark.bar(29)
async def test_transit_signs_the_golden_rsa_vector_byte_for_byte(parts: Any, tenant: str) -> None:
    known = GOLDEN["rsa"]
    assert await parts.keys.import_key(tenant, ANY_KEY, rsa_private_key(known["private_key"])) == Applied(None)
    [signature] = await parts.keys.sign(tenant, ANY_KEY, KEY_TYPE_RSA, [known["prehash"].encode()], 1)
    assert signature.value == known["signature"]


async def test_an_rsa_binding_is_signed_by_its_key_and_never_by_pss(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    known = GOLDEN["rsa"]
    made, _ = await parts.bindings.bind(worker, wanted(key_type=KEY_TYPE_RSA, secret_key=known["private_key"]))
    assert made.credential.key_type == KEY_TYPE_RSA
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    [signed] = answer.signed
    headers = {header.name: header.value for header in signed.headers}
    public = load_pem_public_key(known["public_key"].encode())
    prehash = (headers["ACCESS-TIMESTAMP"] + "GET" + signed.target).encode()
    public.verify(base64.b64decode(headers["ACCESS-SIGN"], validate=True), prehash, PKCS1v15(), SHA256())
    stored = server.admin.read(f"transit/keys/{worker.tenant}.{made.id}")["data"]
    assert (stored["type"], stored["exportable"]) == ("rsa-2048", False)
    await parts.bindings.revoke(worker, made.id)
    with pytest.raises(BindingRevoked):
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))


async def test_the_answer_carries_the_bytes_that_were_signed_and_all_headers(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], clock: Any
) -> None:
    asked = wanted()
    made, _ = await parts.bindings.bind(worker, asked)
    query = [QueryParameter(name="productType", value="USDT-FUTURES")]
    request = ExchangeRequest(method="GET", path="/api/v2/mix/account/accounts", query=query)
    before = clock.unix()
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[request], demo=True))
    [signed] = answer.signed
    headers = {header.name: header.value for header in signed.headers}
    assert signed.target == "/api/v2/mix/account/accounts?productType=USDT-FUTURES"
    assert (signed.method, signed.body, answer.credential_version) == ("GET", b"", 1)
    assert before - 0.01 <= int(headers["ACCESS-TIMESTAMP"]) / 1000 <= clock.unix()
    prehash = (headers["ACCESS-TIMESTAMP"] + "GET" + signed.target).encode()
    [expected] = await parts.keys.sign(worker.tenant, made.id, KEY_TYPE_HMAC, [prehash], 1)
    assert headers == {
        "ACCESS-KEY": asked.api_key.reveal(),
        "ACCESS-SIGN": expected.value,
        "ACCESS-TIMESTAMP": headers["ACCESS-TIMESTAMP"],
        "ACCESS-PASSPHRASE": asked.passphrase.reveal(),
        "Content-Type": "application/json",
        "locale": "en-US",
        "paptrading": "1",
    }
    plain = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    assert "paptrading" not in {header.name for header in plain.signed[0].headers}


@pytest.mark.parametrize("offset", [-86_400_000, -7_000, 7_000, 86_400_000])
async def test_a_corrected_clock_is_signed_told_and_kept_in_the_audit(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], clock: Any, offset: int
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    before = int(clock.unix() * 1000)
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO], clock_offset_ms=offset))
    [signed] = answer.signed
    assert before + offset <= answer.stamped_at_ms <= int(clock.unix() * 1000) + offset
    headers = {header.name: header.value for header in signed.headers}
    assert headers["ACCESS-TIMESTAMP"] == str(answer.stamped_at_ms)
    [expected] = await parts.keys.sign(
        worker.tenant, made.id, KEY_TYPE_HMAC, [f"{answer.stamped_at_ms}GET{signed.target}".encode()], 1
    )
    assert headers["ACCESS-SIGN"] == expected.value
    intent = next(line for line in reversed(_lines(parts)) if line["phase"] == "intent")
    assert intent["clock_offset_ms"] == offset


async def test_an_uncorrected_stamp_is_told_too_and_leaves_the_audit_as_it_was(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], clock: Any
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    before = int(clock.unix() * 1000)
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    assert before <= answer.stamped_at_ms <= int(clock.unix() * 1000)
    assert not any("clock_offset_ms" in line for line in _lines(parts))


@pytest.mark.parametrize("offset", [-86_400_001, 86_400_001, 2**63 - 1, -(2**63)])
async def test_a_correction_beyond_a_day_is_refused_and_nothing_is_signed(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], offset: int
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    lines = len(_lines(parts))
    with pytest.raises(InvalidArgument) as refused:
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO], clock_offset_ms=offset))
    assert refused.value.extra == {"field": "clock_offset_ms"}
    assert not any(line["action"] == "sign" for line in _lines(parts)[lines - 1 :])


@pytest.mark.parametrize("kind", ["hmac", "rsa"])
async def test_eight_requests_are_signed_by_one_call_each_with_its_own_record_and_signature(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], server: Any, kind: str
) -> None:
    rsa = {"key_type": KEY_TYPE_RSA, "secret_key": GOLDEN["rsa"]["private_key"]} if kind == "rsa" else {}
    made, _ = await parts.bindings.bind(worker, wanted(**rsa))
    queries = [[QueryParameter(name="productType", value=value)] for value in ("USDT-FUTURES", "COIN-FUTURES")]
    requests = [ExchangeRequest(method="GET", path="/api/v2/mix/account/accounts", query=query) for query in queries]
    requests = [*requests * 3, INFO, INFO]
    log, path = server.bao.home / "audit.log", f"{worker.tenant}.{made.id}/sha2-256"
    asked_before, lines_before = log.read_text().count(path), len(_lines(parts))
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=requests))
    assert log.read_text().count(path) - asked_before == 2, "a request to Vault and its answer"
    intents = [line for line in _lines(parts)[lines_before:] if line["phase"] == "intent"]
    digests = [hashlib.sha256(f"GET{signed.target}".encode()).hexdigest() for signed in answer.signed]
    assert [line["request_digest"] for line in intents] == digests
    assert [signed.target for signed in answer.signed[::-1]][:3] == [INFO.path, INFO.path, answer.signed[1].target]
    messages = [f"{answer.stamped_at_ms}GET{signed.target}".encode() for signed in answer.signed]
    key_type = KEY_TYPE_RSA if rsa else KEY_TYPE_HMAC
    for signed, message in zip(answer.signed, messages, strict=True):
        [expected] = await parts.keys.sign(worker.tenant, made.id, key_type, [message], 1)
        assert [header.value for header in signed.headers if header.name == "ACCESS-SIGN"] == [expected.value]


@pytest.mark.bar(30)
async def test_one_refused_request_leaves_all_the_others_unsigned(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    log = server.bao.home / "audit.log"
    mentions = log.read_text().count(made.id)
    trade = ExchangeRequest(method="POST", path="/api/v3/trade/place-order", body=b"{}")
    with pytest.raises(PolicyRefused):
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO, trade, INFO]))
    assert log.read_text().count(made.id) == mentions
    assert [line["phase"] for line in _lines(parts) if line["action"] == "sign"] == ["refused"]


@pytest.mark.parametrize("count", [0, 9])
async def test_a_call_has_one_to_eight_requests(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], count: int
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    with pytest.raises(InvalidArgument) as refused:
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO] * count))
    assert refused.value.extra == {"field": "requests"}


async def test_the_audit_tells_who_had_what_signed_and_keeps_no_secret(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], told: Any
) -> None:
    asked = wanted()
    made, _ = await parts.bindings.bind(worker, asked)
    answer = await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    [signed] = answer.signed
    await asyncio.wait_for(_until(lambda: _lines(parts)[-1]["phase"] == "outcome"), 5)
    intent, outcome = _lines(parts)[-2:]
    assert (intent["action"], intent["phase"], intent["rule"]) == ("sign", "intent", "verification_read")
    assert (intent["tenant"], intent["binding"], intent["service"]) == (worker.tenant, made.id, "worker")
    assert (outcome["outcome"], outcome["request_digest"]) == ("done", intent["request_digest"])
    assert len(outcome["vault_request_id"]) == 36
    text = parts.audit_file.read_text()
    signature = next(header.value for header in signed.headers if header.name == "ACCESS-SIGN")
    values = (asked.api_key.reveal(), asked.material.content().decode(), asked.passphrase.reveal(), signature)
    assert not any(value in text for value in values)
    assert told(parts.audit_file.parent) == _lines(parts)


@pytest.mark.bar(56)
async def test_without_a_record_on_disk_nothing_is_signed(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    log = server.bao.home / "audit.log"
    path = f"transit/hmac/{worker.tenant}.{made.id}/sha2-256"
    asked_before = log.read_text().count(path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (parts.audit_file.stat().st_size, limit[1]))
    try:
        with pytest.raises(Unavailable) as refused:
            await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert refused.value.reason == "audit_unavailable"
    assert log.read_text().count(path) == asked_before
    assert await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))


async def test_a_refused_call_reaches_neither_vault_nor_the_key(
    parts: Any, worker: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    log = server.bao.home / "audit.log"
    mentions = log.read_text().count(made.id)
    trade = ExchangeRequest(method="POST", path="/api/v3/trade/place-order", body=b"{}")
    with pytest.raises(PolicyRefused):
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[trade]))
    assert mentions > 0
    assert log.read_text().count(made.id) == mentions


async def test_after_a_revocation_and_for_an_unknown_id_nothing_is_signed(
    parts: Any, worker: Actor, wanted: Callable[..., Asked]
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    await parts.bindings.revoke(worker, made.id)
    with pytest.raises(BindingRevoked):
        await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
    for unknown in ("f" * 32, "", "../" + made.id):
        with pytest.raises(NotFound):
            await parts.signer.sign(worker, SignRequest(binding_id=unknown, requests=[INFO]))


async def test_no_signature_that_begins_after_a_revocation_succeeds(
    parts: Any, worker: Actor, wanted: Callable[..., Asked]
) -> None:
    made, _ = await parts.bindings.bind(worker, wanted())
    revoked_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def sign_until_refused() -> list[float]:
        begun = []
        while True:
            started = loop.time()
            try:
                await parts.signer.sign(worker, SignRequest(binding_id=made.id, requests=[INFO]))
            except BindingRevoked:
                return begun
            begun.append(started)

    async def revoke() -> None:
        await asyncio.sleep(0.1)  # signatures are under way by then
        await parts.bindings.revoke(worker, made.id)
        revoked_at.append(loop.time())

    *rounds, _ = await asyncio.gather(*(sign_until_refused() for _ in range(8)), revoke())
    begun = [moment for one in rounds for moment in one]
    assert begun
    assert max(begun) < revoked_at[0]


def _lines(parts: Any) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in parts.audit_file.read_text().splitlines()]
    return [line for line in lines if "phase" in line]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)

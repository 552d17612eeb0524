"""What a real Transit signs for callers: a thousand random requests beside a local HMAC, RSA by one padding alone, and
every forbidden call in every spelling, for which nothing is signed and Vault is asked nothing."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from common.errors import PolicyRefused
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter, SignedRequest
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, PURPOSE_SIGN, SignRequest
from vault import trading
from vault.actor import Actor
from vault.asked import Asked

CALLS = sorted(trading.load().calls.items())
LETTERS = "aZ09-_.~%+/ '\"\\;:,#@!$*()[]{}|^`<>äßñ€中文🚀\u2028"  # what a library likes to rewrite, and 1 to 4 bytes
ORDERS = [call for call, rule in CALLS if call[0] == "POST" and rule in ("spot_trade", "futures_trade", "trade_by_id")]
READS = [call for call, rule in CALLS if call[0] == "GET" and rule in ("read", "public")]
FORBIDDEN = [call for call, rule in CALLS if rule in ("withdraw", "transfer", "key_admin")]
PER_CALL = 8


def some(chance: random.Random, letters: str, most: int) -> str:
    return "".join(chance.choices(letters, k=chance.randint(0, most)))


def a_request(chance: random.Random) -> ExchangeRequest:
    """Return a request that may be signed: a read with any query, or an order whose body has any text in any layout."""
    if chance.random() < 0.4:
        _, path = chance.choice(READS)
        names = chance.sample(
            ["symbol", "productType", "limit", "idLessThan", "Z", "a", "a-b", "a_b"], chance.randint(0, 6)
        )
        query = [QueryParameter(name=name, value=some(chance, LETTERS, 30)) for name in names]
        return ExchangeRequest(method="GET", path=path, query=query)
    _, path = chance.choice(ORDERS)
    order = {
        "symbol": "BTCUSDT",
        "clientOid": some(chance, LETTERS + "&=?", 60),
        some(chance, LETTERS, 5): chance.random(),
    }
    body = json.dumps(
        order,
        ensure_ascii=chance.random() < 0.3,
        indent=chance.choice([None, None, 0, 2]),
        sort_keys=chance.random() < 0.5,
    )
    return ExchangeRequest(method="POST", path=path, body=body.encode())


def text_of(request: ExchangeRequest, stamp: int) -> bytes:
    """Return what the exchange documents as the text to sign, from what was asked."""
    query = "&".join(f"{one.name}={one.value}" for one in sorted(request.query, key=lambda one: one.name))
    return f"{stamp}{request.method}{request.path}{'?' if query else ''}{query}".encode() + request.body


def text_on_the_wire(signed: SignedRequest, stamp: int) -> bytes:
    """Return the same text as the exchange makes it from the request that it gets."""
    return f"{stamp}{signed.method}{unquote(signed.target)}".encode() + signed.body


def header(signed: SignedRequest, name: str) -> str:
    [value] = [one.value for one in signed.headers if one.name == name]
    return value


async def connected(parts: Any, actor: Actor, asked: Asked) -> str:
    """Bind a key and record that it works; return the binding's id."""
    made, _ = await parts.bindings.bind(actor, asked)
    await parts.bindings.transition(actor, made.id, 1, types.Verdict(status=types.STATUS_CONNECTED))
    return str(made.id)


@pytest.mark.bar(23, 24)
async def test_transit_signs_a_thousand_random_requests_as_a_local_hmac_over_the_bytes_that_are_sent(
    parts: Any, actor: Actor, wanted: Callable[..., Asked]
) -> None:
    asked, chance = wanted(), random.Random(20_23)
    binding, secret = await connected(parts, actor, asked), asked.material.content()
    requests = [a_request(chance) for _ in range(1000)]
    assert len({request.SerializeToString(deterministic=True) for request in requests}) > 950
    assert sum(not request.body.isascii() for request in requests) > 100
    for begin in range(0, len(requests), PER_CALL):
        batch = requests[begin : begin + PER_CALL]
        answer = await parts.signer.sign(actor, SignRequest(binding_id=binding, requests=batch, purpose=PURPOSE_SIGN))
        for request, signed in zip(batch, answer.signed, strict=True):
            text = text_of(request, answer.stamped_at_ms)
            assert text_on_the_wire(signed, answer.stamped_at_ms) == text
            assert (signed.body, header(signed, "ACCESS-TIMESTAMP")) == (request.body, str(answer.stamped_at_ms))
            local = hmac.new(secret, text, hashlib.sha256).digest()
            assert base64.b64decode(header(signed, "ACCESS-SIGN"), validate=True) == local


@pytest.mark.bar(24, 29)
async def test_an_rsa_key_signs_random_requests_with_the_padding_of_the_exchange_and_no_other(
    parts: Any, actor: Actor, wanted: Callable[..., Asked], rsa_key: Any, pem: Callable[..., str]
) -> None:
    key, chance = rsa_key(2048), random.Random(29)
    binding = await connected(parts, actor, wanted(key_type=types.KEY_TYPE_RSA, secret_key=pem(key)))
    requests = [a_request(chance) for _ in range(PER_CALL)]
    asked = SignRequest(binding_id=binding, requests=requests, purpose=PURPOSE_SIGN)
    answer = await parts.signer.sign(actor, asked)
    for request, signed in zip(requests, answer.signed, strict=True):
        signature, text = base64.b64decode(header(signed, "ACCESS-SIGN")), text_of(request, answer.stamped_at_ms)
        key.public_key().verify(signature, text, PKCS1v15(), SHA256())
        with pytest.raises(InvalidSignature):
            key.public_key().verify(signature, text, PSS(MGF1(SHA256()), PSS.AUTO), SHA256())


def spellings(method: str, path: str) -> Iterator[ExchangeRequest]:
    """Yield a call in ways that some reader could take for it: the call itself is the first."""
    head, last = path.rsplit("/", 1)
    version = path[: len("/api/v2")]
    rest = path[len(version) :]
    yield ExchangeRequest(method=method, path=path)
    for ending in ("/", "//", "/.", "/..", "/../" + last, ";a=b", "?a=1", "#a", "%20", "%00", "%2f", "%3f", " ", "\n",
                   "\r\nX: y", "\t", "\0", ".", "\\", ".json", "\u200b", "\u0301"):  # fmt: skip
        yield ExchangeRequest(method=method, path=path + ending)
    for way in (
        *("/" + path, "/." + path, "/x/.." + path, " " + path, path[1:], "https://api.bitget.com" + path),
        *(
            "//api.bitget.com" + path,
            "https://user@api.bitget.com" + path,
            path.upper(),
            path.title(),
            "/API" + path[4:],
        ),
        *(head + "//" + last, head + "/./" + last, head + "/x/../" + last, head + "\\" + last, head + "%2f" + last),
        *(
            f"{head}/%{ord(last[0]):02x}{last[1:]}",
            f"{head}/%25{ord(last[0]):02x}{last[1:]}",
            head + "/" + last.upper(),
        ),
        *(
            path.replace("a", "\u0430"),
            path.replace("i", "\u0131"),
            path.replace("/", "\u2215"),
            path.replace("/", "\uff0f"),
        ),
        *(
            "/api/v1" + rest,
            "/api/v4" + rest,
            "/api" + rest,
            "/api/spot/v1" + rest,
            "/api/mix/v1" + rest,
            "/api/V2" + rest,
        ),
        *(version + "/public" + rest, version + "/../v2" + rest, path.replace("-", "_"), path.replace("e", "%65")),
    ):
        if way != path:
            yield ExchangeRequest(method=method, path=way)
    for verb in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "", " POST", "POST ",
                 method.lower(), method.title(), method + "\r\n", method + " " + path, "P\u039fST"):  # fmt: skip
        if verb != method:
            yield ExchangeRequest(method=verb, path=path)
    yield ExchangeRequest(method=method, path=path, query=[QueryParameter(name="a", value="1")])
    yield ExchangeRequest(method=method, path=path, body=b'{"category":"SPOT"}')


@pytest.mark.bar(22, 25)
@pytest.mark.parametrize("purpose", [PURPOSE_EXECUTE, PURPOSE_SIGN])
async def test_no_spelling_of_a_forbidden_call_is_signed_or_asks_anything_of_vault(
    parts: Any, actor: Actor, wanted: Callable[..., Asked], server: Any, purpose: Any
) -> None:
    binding = await connected(parts, actor, wanted())
    fills = ExchangeRequest(method="GET", path="/api/v2/spot/trade/fills")
    await parts.signer.sign(actor, SignRequest(binding_id=binding, requests=[fills], purpose=purpose))
    log, asked = server.bao.home / "audit.log", 0
    size, lines = log.stat().st_size, len(parts.audit_file.read_text().splitlines())

    async def rule_of(request: ExchangeRequest) -> str:
        """Ask for the call hidden behind a good one; return the rule that stops it."""
        with pytest.raises(PolicyRefused) as refused:
            await parts.signer.sign(actor, SignRequest(binding_id=binding, requests=[fills, request], purpose=purpose))
        return str(refused.value.extra["rule"])

    for method, path in FORBIDDEN:
        spelled = list(spellings(method, path))
        assert len({(one.method, one.path) for one in spelled}) >= 60
        rules = await asyncio.gather(*map(rule_of, spelled))
        assert rules[0] in ("withdraw", "transfer", "key_admin")
        known = {"path_grammar", "method", "unknown_call", "old_api", "query_on_post", "body_on_get", rules[0]}
        assert set(rules) <= known, [one for one, rule in zip(spelled, rules, strict=True) if rule not in known]
        asked += len(spelled)
    assert log.stat().st_size == size, "Vault was asked"
    told = [json.loads(line) for line in parts.audit_file.read_text().splitlines()[lines:]]
    mine = [line["phase"] for line in told if "phase" in line and line["action"] == "sign"]
    assert [phase for phase in mine if phase != "outcome"].count("refused") == asked
    assert "intent" not in mine

"""Who may call: the token variants that were once accepted somewhere, and the scopes of each route."""

import base64
import hmac
import json
import re
from pathlib import Path

import httpx
import pytest
from cli.tokens import TokenIssuer
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

ID = "0" * 32
READS = ["/v1/bindings", f"/v1/bindings/{ID}", f"/v1/bindings/{ID}/balances", "/v1/events", f"/v1/bindings/{ID}/events"]

# What the description of REST says of every operation.
OPERATIONS = [
    (method.upper(), re.sub(r"\{\w+\}", ID, path), operation["security"][0]["token"][0])
    for path, methods in json.loads((Path(__file__).parents[1] / "openapi.json").read_text())["paths"].items()
    for method, operation in methods.items()
]


def _segment(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _headed(issuer, tenant, header):
    """Return a good token with another header in front."""
    return ".".join([_segment(header), *issuer.issue(tenant).split(".")[1:]])


def _by_hmac(issuer, tenant):
    """Return a token "signed" with HS256 and the text of the public key, which joserfc itself refuses to make."""
    head = _segment({"alg": "HS256", "typ": "at+jwt", "kid": issuer._key.kid})
    signed = f"{head}.{issuer.issue(tenant).split('.')[1]}"
    mac = hmac.digest(issuer._key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{_segment(mac)}"


def _signed(issuer, payload):
    """Return a token whose payload is these bytes, signed by the real key."""
    from joserfc import jws

    return jws.serialize_compact({"alg": "ES256", "typ": "at+jwt", "kid": issuer._key.kid}, payload, issuer._key)


def _foreign(tenant, issuer, key, algorithm, **header):
    claims = json.loads(base64.urlsafe_b64decode(issuer.issue(tenant).split(".")[1] + "=="))
    return jwt.encode(
        {"alg": algorithm, "typ": "at+jwt", "kid": issuer._key.kid, **header}, claims, key, algorithms=[algorithm]
    )


VARIANTS = {
    "no algorithm": lambda i, t: ".".join(
        [_segment({"alg": "none", "typ": "at+jwt", "kid": i._key.kid}), i.issue(t).split(".")[1], ""]
    ),
    "HS256 with the public key": _by_hmac,
    "another key under the same id": lambda i, t: _foreign(t, i, ECKey.generate_key("P-256"), "ES256"),
    "a key of its own in the header": lambda i, t: _foreign(
        t, i, (k := ECKey.generate_key("P-256")), "ES256", kid="own", jwk=k.as_dict(private=False)
    ),
    "an algorithm that is not the key's": lambda i, t: _foreign(t, i, RSAKey.generate_key(2048), "RS256"),
    "no exp": lambda i, t: i.issue(t, claims={"exp": None}),
    "no sub": lambda i, t: i.issue(t, claims={"sub": None}),
    "no iat": lambda i, t: i.issue(t, claims={"iat": None}),
    "no jti": lambda i, t: i.issue(t, claims={"jti": None}),
    "no client": lambda i, t: i.issue(t, claims={"client_id": None}),
    "no audience": lambda i, t: i.issue(t, claims={"aud": None}),
    "another audience": lambda i, t: i.issue(t, claims={"aud": "other"}),
    "a list of audiences": lambda i, t: i.issue(t, claims={"aud": ["strongroom", "other"]}),
    "another issuer": lambda i, t: i.issue(t, claims={"iss": "https://elsewhere"}),
    "no issuer": lambda i, t: i.issue(t, claims={"iss": None}),
    "issued in the future": lambda i, t: i.issue(t, claims={"iat": 4_000_000_000, "exp": 4_000_000_100}),
    "expired": lambda i, t: i.issue(t, ttl=-60),
    "exp as a text": lambda i, t: i.issue(t, claims={"exp": "4000000000"}),
    "exp as a float": lambda i, t: i.issue(t, claims={"exp": 4_000_000_000.5}),
    "not yet valid": lambda i, t: i.issue(t, claims={"nbf": 4_000_000_000}),
    "a plain JWT": lambda i, t: i.issue(t, header={"typ": "JWT"}),
    "no type": lambda i, t: i.issue(t, header={"typ": None}),
    "an unknown critical header": lambda i, t: _headed(
        i, t, {"alg": "ES256", "typ": "at+jwt", "kid": i._key.kid, "crit": ["x"], "x": 1}
    ),
    "no tenant": lambda i, t: i.issue(t, claims={"tenant": None}),
    "a list of tenants": lambda i, t: i.issue(t, claims={"tenant": [t]}),
    "an empty tenant": lambda i, t: i.issue(t, claims={"tenant": ""}),
    "a tenant that is a pattern": lambda i, t: i.issue(t, claims={"tenant": "*"}),
    "a tenant that is a path": lambda i, t: i.issue(t, claims={"tenant": ".."}),
    "a tenant that is too long": lambda i, t: i.issue(t, claims={"tenant": t + "a"}),
    "two tenants": lambda i, t: _signed(
        i, base64.urlsafe_b64decode(i.issue(t).split(".")[1] + "==")[:-1] + b',"tenant":"' + b"b" * 26 + b'"}'
    ),
    "bound to a certificate": lambda i, t: i.issue(t, claims={"cnf": {"x5t#S256": "x" * 43}}),
    "claims that are a list": lambda i, _: _signed(i, b"[1]"),
    "a header that is a list": lambda i, t: _headed(i, t, [1]),
    "no key id": lambda i, t: i.issue(t, header={"kid": None}),
    "a key id that is a list": lambda i, t: _headed(i, t, {"alg": "ES256", "typ": "at+jwt", "kid": [1]}),
    "a cut signature": lambda i, t: i.issue(t)[:-4],
    "three dots": lambda i, t: i.issue(t) + ".x",
    "no token at all": lambda i, t: "x",
}


@pytest.mark.bar(46, 47, 49)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_token_that_proves_nothing_is_refused(served, issuer, tenant, variant):
    token = VARIANTS[variant](issuer, tenant)
    answer = httpx.get(f"{served.url}/v1/bindings", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert token not in answer.text


def test_the_same_token_unchanged_is_accepted(served, issuer, tenant):
    answer = httpx.get(f"{served.url}/v1/bindings", headers={"Authorization": f"bearer {issuer.issue(tenant)}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [*READS, "/v1/exchanges/bitget"])
def test_without_a_token_nothing_is_shown(served, path):
    answer = httpx.get(served.url + path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value", ["Basic abc", "Bearer", "Bearer a b", "Bearer é.é.é".encode(), "Bearer  x.y.z", "x.y.z"]
)
def test_only_one_bearer_token_is_read(served, value):
    assert httpx.get(f"{served.url}/v1/bindings", headers={"Authorization": value}).status_code == 401


def test_a_token_of_another_issuer_with_the_same_name_is_refused(served, tenant, tmp_path):
    other = TokenIssuer.create(tmp_path)
    answer = httpx.get(f"{served.url}/v1/bindings", headers={"Authorization": f"Bearer {other.issue(tenant)}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
def test_each_route_needs_its_scope_and_no_other(served, issuer, tenant, method, path, scope):
    everything = {"bindings:read", "bindings:write", "requests:execute", "requests:sign", "audit:read", "admin"}
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, sorted(everything - {scope}))}"}
    answer = httpx.request(method, served.url + path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


def test_the_token_is_asked_for_before_the_body_is_looked_at(served):
    assert httpx.post(f"{served.url}/v1/bindings", content=b"{").status_code == 401

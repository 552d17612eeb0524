"""A token is the caller's proof, or nothing (the variants of RFC 9068 that libraries let through)."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from cli.tokens import TokenIssuer
from common.clock import SystemClock
from common.errors import PermissionDenied, Unauthenticated
from common.tokens import LIMIT, TokenVerifier
from joserfc import jws
from joserfc.jwk import ECKey

TENANT = "a" * 26
NOW = int(time.time())


@pytest.fixture
def verifier(issuer: TokenIssuer) -> TokenVerifier:
    return TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_proper_token_names_tenant_subject_and_scopes(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    caller = verifier.verify("Bearer " + issuer.issue(TENANT, ["bindings:read", "not:ours"], "svc"))
    assert (caller.tenant, caller.subject, caller.scopes) == (TENANT, "svc", frozenset(["bindings:read"]))
    caller.require("bindings:read")
    with pytest.raises(PermissionDenied):
        caller.require("bindings:write")


CLAIMS: dict[str, dict[str, Any]] = {
    "no exp": {"exp": None},
    "no sub": {"sub": None},
    "no iat": {"iat": None},
    "no aud": {"aud": None},
    "no iss": {"iss": None},
    "no tenant": {"tenant": None},
    "no scope": {"scope": None},
    "no client": {"client_id": None},
    "exp is text": {"exp": str(NOW + 3600)},
    "exp is a float": {"exp": NOW + 3600.5},
    "exp is true": {"exp": True},
    "exp is no time": {"exp": 10**400},
    "issued before time": {"iat": -(10**400)},
    "expired": {"exp": NOW - 31},
    "issued in the future": {"iat": NOW + 3600, "exp": NOW + 7200},
    "not yet": {"nbf": NOW + 3600},
    "another issuer": {"iss": "https://elsewhere.example"},
    "another audience": {"aud": "strongroom-vault"},
    "audience list that contains us": {"aud": ["strongroom", "other"]},
    "tenant is a list": {"tenant": [TENANT]},
    "tenant is empty": {"tenant": ""},
    "tenant is a wildcard": {"tenant": "*"},
    "tenant walks": {"tenant": ".."},
    "tenant is too long": {"tenant": TENANT + "a"},
    "subject is a number": {"sub": 7},
    "bound to a certificate": {"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}},
    "bound to a key": {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
}


@pytest.mark.bar(46, 47, 49)
@pytest.mark.parametrize("name", CLAIMS)
def test_a_token_with_a_wrong_or_missing_claim_is_refused(name: str, issuer, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify("Bearer " + issuer.issue(TENANT, claims=CLAIMS[name]))


@dataclass
class StoppedClock(SystemClock):
    """A clock that stands still, so many seconds from the issuer's."""

    off: int

    def unix(self) -> float:
        return NOW + self.off


@pytest.mark.bar(45)
@pytest.mark.parametrize(
    ("off", "good"),
    [
        (-3600, False),
        (-31, False),
        (-20, True),
        (0, True),
        (20, True),
        (60 + 20, True),
        (60 + 31, False),
        (3600, False),
    ],
)
def test_a_clock_that_is_off_is_forgiven_thirty_seconds_and_no_more(off: int, good: bool, issuer: TokenIssuer) -> None:
    token = issuer.issue(TENANT, claims={"iat": NOW, "nbf": NOW, "exp": NOW + 60})
    verifier = TokenVerifier(issuer.issuer, issuer.jwks_file, StoppedClock(off))
    if good:
        assert verifier.verify(f"Bearer {token}").tenant == TENANT
    else:
        with pytest.raises(Unauthenticated):
            verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": None}, {"kid": "other"}, {"kid": None}, {"crit": ["b64"], "b64": True}], ids=str
)
def test_a_token_with_another_header_is_refused(header, issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify("Bearer " + issuer.issue(TENANT, header=header))


def test_no_algorithm_but_ours_is_believed(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    head, body, _ = issuer.issue(TENANT).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    none = _b64(json.dumps({**header, "alg": "none"}).encode())
    confused = _b64(json.dumps({**header, "alg": "HS256"}).encode())
    mac = hmac.digest(issuer.jwks_file.read_bytes(), f"{confused}.{body}".encode(), hashlib.sha256)
    for token in (f"{none}.{body}.", f"{confused}.{body}.{_b64(mac)}"):
        with pytest.raises(Unauthenticated):
            verifier.verify("Bearer " + token)


def test_a_claim_that_stands_twice_is_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    head, _, _ = issuer.issue(TENANT).split(".")
    claims = json.loads(base64.urlsafe_b64decode(issuer.issue(TENANT).split(".")[1] + "=="))
    text = json.dumps(claims)[:-1] + f', "tenant": "{"b" * 26}"}}'
    body = _b64(text.encode())
    r_and_s = issuer._key.get_op_key("sign")  # the test forges with the real key: only the duplicate is wrong
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    r, s = utils.decode_dss_signature(r_and_s.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    signature = _b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    with pytest.raises(Unauthenticated):
        verifier.verify(f"Bearer {head}.{body}.{signature}")


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a.b", "Bearer ....", "Bearer " + "a" * (LIMIT + 1)]
)
def test_what_is_no_token_at_all_is_refused(value, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(value)


def test_a_changed_signature_or_body_is_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    head, body, signature = issuer.issue(TENANT).split(".")
    other = issuer.issue("b" * 26).split(".")[1]
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[:-6]}AAAAAA", f"{head}.{body}."):
        with pytest.raises(Unauthenticated):
            verifier.verify("Bearer " + token)


def test_a_key_that_the_issuer_added_later_is_found(issuer: TokenIssuer, tmp_path) -> None:
    verifier = TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock())
    fresh = TokenIssuer.create(tmp_path / "fresh")
    with pytest.raises(Unauthenticated):
        verifier.verify("Bearer " + fresh.issue(TENANT))
    issuer.jwks_file.write_bytes(fresh.jwks_file.read_bytes())
    assert verifier.verify("Bearer " + fresh.issue(TENANT)).tenant == TENANT


def test_claims_in_another_encoding_are_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    key = ECKey.import_key((issuer.jwks_file.parent / "issuer.key").read_bytes())
    key.ensure_kid()
    head, body, _ = issuer.issue(TENANT).split(".")
    claims = base64.urlsafe_b64decode(body + "==").decode()
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    for encoding in ("utf-16", "utf-8-sig"):
        token = jws.serialize_compact(header, claims.encode(encoding), key, algorithms=["ES256"])
        with pytest.raises(Unauthenticated):
            verifier.verify("Bearer " + token)


def test_a_token_that_is_remembered_ends_when_it_expires(issuer: TokenIssuer) -> None:
    clock = StoppedClock(0)
    token = "Bearer " + issuer.issue(TENANT, claims={"iat": NOW, "exp": NOW + 60})
    verifier = TokenVerifier(issuer.issuer, issuer.jwks_file, clock)
    assert verifier.verify(token) is verifier.verify(token)
    clock.off = 60 + 31
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_nothing_but_the_very_token_is_remembered(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    token = issuer.issue(TENANT)
    verifier.verify("Bearer " + token)
    head, body, signature = token.split(".")
    for other in (f"{head}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA", token + "=", token + "\ud800"):
        with pytest.raises(Unauthenticated):
            verifier.verify("Bearer " + other)


def test_keys_that_are_read_again_are_asked_again(issuer: TokenIssuer, tmp_path) -> None:
    verifier, token = TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock()), "Bearer " + issuer.issue(TENANT)
    verifier.verify(token)
    other = TokenIssuer.create(tmp_path / "other")
    issuer.jwks_file.write_bytes(other.jwks_file.read_bytes())
    verifier.verify("Bearer " + other.issue(TENANT))  # its unknown key has the file read again
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_a_token_is_known_once_it_was_checked_and_until_it_expires(issuer: TokenIssuer) -> None:
    clock = StoppedClock(0)
    value = "Bearer " + issuer.issue(TENANT, claims={"iat": NOW, "exp": NOW + 60})
    verifier = TokenVerifier(issuer.issuer, issuer.jwks_file, clock)
    assert verifier.known(value) is None
    caller = verifier.verify(value)
    assert verifier.known(value) is caller
    for other in ("", value[:-1], value + "A", value.replace("Bearer", "Basic"), "Bearer " + "A" * (LIMIT + 1)):
        assert verifier.known(other) is None
    clock.off = 60 + 31
    assert verifier.known(value) is None

"""Tokens: RFC 9068 claims, a key that is kept, and nothing private in the JWKS file."""

import json
from pathlib import Path

import pytest
from cli.tokens import TokenIssuer
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

TENANT = "abcdefghijklmnopqrstuvwxy7"


def keys(issuer: TokenIssuer) -> KeySet:
    return KeySet.import_key_set(json.loads(issuer.jwks_file.read_text()))


def test_a_token_carries_the_claims_of_an_access_token(tmp_path: Path) -> None:
    issuer = TokenIssuer.ensure(tmp_path)
    read = jwt.decode(issuer.issue(TENANT, ["audit:read", "admin"], "someone", 60), keys(issuer), ["ES256"])
    assert read.header["typ"] == "at+jwt"
    assert read.header["kid"]
    assert read.claims["tenant"] == TENANT
    assert read.claims["scope"] == "audit:read admin"
    assert (read.claims["sub"], read.claims["client_id"], read.claims["aud"]) == ("someone", "someone", "strongroom")
    assert read.claims["exp"] - read.claims["iat"] == 60


def test_the_key_survives_a_restart_and_its_private_half_is_not_published(tmp_path: Path) -> None:
    token = TokenIssuer.ensure(tmp_path).issue(TENANT)
    again = TokenIssuer.ensure(tmp_path)
    assert jwt.decode(token, keys(again), ["ES256"]).claims["tenant"] == TENANT
    assert "d" not in json.loads(again.jwks_file.read_text())["keys"][0]


def test_another_issuer_is_not_believed(tmp_path: Path) -> None:
    ours, theirs = TokenIssuer.ensure(tmp_path / "a"), TokenIssuer.ensure(tmp_path / "b")
    kid = json.loads(ours.jwks_file.read_text())["keys"][0]["kid"]
    with pytest.raises(BadSignatureError):
        jwt.decode(theirs.issue(TENANT, header={"kid": kid}), keys(ours), ["ES256"])


def test_a_test_can_replace_and_remove_claims(tmp_path: Path) -> None:
    issuer = TokenIssuer.ensure(tmp_path)
    read = jwt.decode(issuer.issue(TENANT, claims={"aud": "other", "jti": None}), keys(issuer), ["ES256"])
    assert read.claims["aud"] == "other"
    assert "jti" not in read.claims

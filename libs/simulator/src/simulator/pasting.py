"""What a customer holds after creating a key, and what comes of it on the way into the form. Invented keys only."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PKCS8, PKCS1 = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


@dataclass(frozen=True, slots=True)
class Credential:
    """The three values of a key, as Bitget showed them."""

    api_key: str
    secret_key: str = field(repr=False)
    passphrase: str = field(repr=False)
    key_type: str = "hmac"

    def form(self) -> dict[str, str]:
        """Return them as a bind request has them."""
        return {
            "api_key": self.api_key,
            "secret_key": self.secret_key,
            "passphrase": self.passphrase,
            "key_type": self.key_type,
        }


def created(name: str, kind: str = "hmac", passphrase: str = "") -> Credential:
    """Return the credential of the key `name`; `kind` is hmac or rsa-<bits>. The same name gives the same values, but
    for RSA, of which each process has its own keys."""
    made = hashlib.sha256(name.encode()).hexdigest()
    key_type, _, bits = kind.partition("-")
    secret = pem(rsa_key(int(bits))) if bits else hashlib.sha256(made.encode()).hexdigest()
    return Credential("bg_" + made[:32], secret, passphrase or "Pass" + made[-12:], key_type)


def pasted(credential: Credential, mistakes: Mapping[str, str]) -> Credential:
    """Return what arrives in the form; `mistakes` names, for each field, a mistake of MISTAKES or the key type."""
    changed = {
        name: how if name == "key_type" else MISTAKES[how](getattr(credential, name), credential)
        for name, how in mistakes.items()
    }
    return replace(credential, **changed)


@cache
def rsa_key(bits: int) -> RSAPrivateKey:
    """Return a key of so many bits, made once for each number (or twice, when two threads ask at the same moment)."""
    return generate_private_key(65537, bits)


@cache
def foreign_rsa_key() -> RSAPrivateKey:
    """Return a key that no account of this process has."""
    return generate_private_key(65537, 2048)


def pem(key: RSAPrivateKey, form: PrivateFormat = PKCS8) -> str:
    """Return a private key as PEM, unencrypted."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def _another(value: str, _: Credential) -> str:
    """Return another value of the same shape."""
    made = hashlib.sha256(f"another {value}".encode()).hexdigest()
    return ("bg_" + made)[: len(value)] if value.startswith("bg_") else made[: len(value)]


def _read(value: str) -> RSAPrivateKey:
    key = load_pem_private_key(value.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("not an RSA key")
    return key


def _public_key(value: str, _: Credential) -> str:
    form = PublicFormat.SubjectPublicKeyInfo
    return _read(value).public_key().public_bytes(Encoding.PEM, form).decode()


def _encrypted(value: str, _: Credential) -> str:
    return _read(value).private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"invented")).decode()


MISTAKES: Final[dict[str, Callable[[str, Credential], str]]] = {
    "wrong": _another,
    "cut": lambda value, _: value[:-1],
    "half": lambda value, _: value[: len(value) // 3],
    "nothing": lambda _, __: "",
    "spaces": lambda value, _: f"  {value}\t\r\n",
    "invisible": lambda value, _: f"\ufeff{value[:5]}\u200b{value[5:]}",
    "space_inside": lambda value, _: f"{value[:9]} {value[9:]}",
    "other_case": lambda value, _: value.swapcase(),
    "the_api_key": lambda _, credential: credential.api_key,
    "the_secret_key": lambda _, credential: credential.secret_key,
    "the_passphrase": lambda _, credential: credential.passphrase,
    "pkcs1": lambda value, _: pem(_read(value), PKCS1),
    "one_line": lambda value, _: " ".join(value.split("\n")).strip(),
    "another_private_key": lambda _, __: pem(foreign_rsa_key()),
    "first_line": lambda value, _: value.splitlines()[1],
    "public_key": _public_key,
    "encrypted": _encrypted,
}

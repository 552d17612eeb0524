"""Certificates of one machine: a CA, leaf certificates with SPIFFE ids, and the vault service's login key pair.

For the embedded stack, compose and tests; in production cert-manager issues. Keys are EC P-256, files have mode 0600.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from cli.files import private_folder, write_private

TRUST_DOMAIN = "strongroom.internal"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
CA_LIFETIME = dt.timedelta(days=3650)
LEAF_LIFETIME = dt.timedelta(days=30)
SKEW = dt.timedelta(minutes=5)  # a certificate made now must already hold on a clock that is a little late


@dataclass(frozen=True)
class Leaf:
    """Where a certificate, its key and the CA that proves others are kept (PEM)."""

    cert_file: Path
    key_file: Path
    ca_file: Path


def spiffe_id(name: str, trust_domain: str = TRUST_DOMAIN) -> str:
    """Return the SPIFFE id of the service account `name`."""
    return f"spiffe://{trust_domain}/ns/strongroom/sa/{name}"


class Authority:
    """A certificate authority kept in one folder as `ca.pem` and `ca.key`."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a new authority in `folder`, replacing one that was there."""
        folder, key = private_folder(folder), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom local CA")])
        now = dt.datetime.now(dt.UTC)
        builder = _builder(name, name, key.public_key(), now - SKEW, now + CA_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        write_private(folder / "ca.key", private_pem(key))
        write_private(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the authority of `folder`; raises FileNotFoundError when there is none."""
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("ca.key is not an EC key")
        return cls(folder, key, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()))

    @classmethod
    def ensure(cls, folder: Path) -> Self:
        """Open the authority of `folder`, made at its first use."""
        return cls.load(folder) if (folder / "ca.pem").exists() else cls.create(folder)

    def issue(
        self,
        name: str,
        folder: Path | None = None,
        *,
        uris: Sequence[str] | None = None,
        hosts: Sequence[str] = (),
        valid_from: dt.datetime | None = None,
        lifetime: dt.timedelta = LEAF_LIFETIME,
        usages: Sequence[ObjectIdentifier] = (CLIENT, SERVER),
    ) -> Leaf:
        """Write `<name>.pem` and `<name>.key` for the service account `name` into `folder` (by default its own).

        Tests vary `uris` (its own SPIFFE id), further DNS `hosts`, `valid_from` (UTC), `lifetime` and `usages`.
        """
        folder, key = private_folder(folder or self.folder), ec.generate_private_key(ec.SECP256R1())
        start = valid_from or dt.datetime.now(dt.UTC) - SKEW
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._certificate.subject, key.public_key(), start, start + lifetime)
        for extension, critical in self._extensions(name, uris, hosts, usages):
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        write_private(folder / f"{name}.key", private_pem(key))
        write_private(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
        return Leaf(folder / f"{name}.pem", folder / f"{name}.key", self.ca_file)

    def _extensions(
        self, name: str, uris: Sequence[str] | None, hosts: Sequence[str], usages: Sequence[ObjectIdentifier]
    ) -> list[tuple[x509.ExtensionType, bool]]:
        """Return the extensions of a leaf, each with whether it is critical."""
        identities: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri) for uri in (uris if uris is not None else [spiffe_id(name)])
        ]
        identities += [x509.DNSName(host) for host in dict.fromkeys(["localhost", name, *hosts])]
        identities.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return [
            (x509.SubjectAlternativeName(identities), False),
            (x509.ExtendedKeyUsage(usages), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(signs_certificates=False), True),
            (issuer, False),
        ]


def ensure_login_key(folder: Path) -> tuple[Path, Path]:
    """Return the vault service's login key pair (`login.key`, `login.pub`, PEM, P-256), made at its first use."""
    folder = private_folder(folder)
    private, public = folder / "login.key", folder / "login.pub"
    if not (private.exists() and public.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        write_private(private, private_pem(key))
        write_private(public, key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return private, public


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

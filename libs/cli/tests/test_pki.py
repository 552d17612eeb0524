"""Certificates: what a peer that checks them accepts and refuses."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cli.pki import CLIENT, Authority, Leaf, ensure_login_key, spiffe_id
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


def handshake(server: Leaf, client: Leaf, host: str = "localhost") -> str:
    """Shake hands in memory with both sides checking; return the client's SPIFFE id as the server sees it."""
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(server.ca_file))
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(server.cert_file, server.key_file)
    theirs = ssl.create_default_context(cafile=str(client.ca_file))
    theirs.load_cert_chain(client.cert_file, client.key_file)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [theirs.wrap_bio(down, up, server_hostname=host), ours.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen = sides[1].getpeercert() or {}
    names: list[tuple[str, str]] = list(seen["subjectAltName"])  # type: ignore[arg-type]
    return next(value for kind, value in names if kind == "URI")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca")


def test_services_of_one_authority_know_each_other_by_spiffe_id(authority: Authority) -> None:
    assert handshake(authority.issue("vault"), authority.issue("gateway")) == spiffe_id("gateway")


def test_a_loaded_authority_issues_what_the_first_one_proves(authority: Authority) -> None:
    server = authority.issue("vault")
    assert handshake(server, Authority.load(authority.folder).issue("worker")) == spiffe_id("worker")


def test_a_further_host_name_is_accepted_and_an_unknown_one_refused(authority: Authority) -> None:
    server, client = authority.issue("vault", hosts=["vault.example"]), authority.issue("gateway")
    assert handshake(server, client, "vault.example") == spiffe_id("gateway")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "elsewhere.example")


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    late = authority.issue("late", valid_from=past, lifetime=dt.timedelta(days=1))
    with pytest.raises(ssl.SSLError, match="certificate has expired"):
        handshake(late, authority.issue("gateway"))


def test_a_certificate_for_clients_cannot_serve(authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        handshake(authority.issue("vault", usages=[CLIENT]), authority.issue("gateway"))


def test_a_certificate_of_a_foreign_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "foreign").issue("gateway")
    liar = Leaf(foreign.cert_file, foreign.key_file, authority.ca_file)
    with pytest.raises(ssl.SSLError):
        handshake(authority.issue("vault"), liar)


def test_a_certificate_can_carry_another_identity(authority: Authority) -> None:
    leaf = authority.issue("odd", uris=["spiffe://elsewhere/ns/x/sa/gateway"])
    certificate = x509.load_pem_x509_certificate(leaf.cert_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://elsewhere/ns/x/sa/gateway"]


def test_every_file_is_private(authority: Authority) -> None:
    authority.issue("vault")
    ensure_login_key(authority.folder)
    assert {path.stat().st_mode & 0o777 for path in authority.folder.iterdir()} == {0o600}
    assert authority.folder.stat().st_mode & 0o777 == 0o700


def test_the_login_key_pair_fits_and_is_kept(tmp_path: Path) -> None:
    private, public = ensure_login_key(tmp_path / "login")
    key = load_pem_private_key(private.read_bytes(), None)
    assert key.public_key() == load_pem_public_key(public.read_bytes())
    before = private.read_bytes()
    assert ensure_login_key(tmp_path / "login")[0].read_bytes() == before

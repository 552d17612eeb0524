"""Certificates are replaced under load: no call fails, and the new ones are what is shown and believed."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from cli.pki import Authority, Leaf
from common import errors
from common.rpc import client, renewal, server
from common.rpc.tls import Fetcher, Files, Identity
from cryptography import x509
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2_grpc as rpc

SERVICE = pb.DESCRIPTOR.services_by_name["BindingStore"]
CALLERS = {f"/{SERVICE.full_name}/{method.name}": frozenset(["gateway"]) for method in SERVICE.methods}


class Store(rpc.BindingStoreServicer):
    """Answers with the serial number of the certificate that the caller showed."""

    async def Describe(self, request, context):
        shown = x509.load_pem_x509_certificate(context.auth_context()["x509_pem_cert"][0])
        return pb.DescribeResponse(binding={"id": str(shown.serial_number)})


def put(leaf: Leaf, folder: Path, *, ca: bytes) -> Identity:
    """Replace the files of an identity one by one, each at once, as a deployment does."""
    folder.mkdir(exist_ok=True)
    made = Identity(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
    (folder / "next.ca").write_bytes(ca)
    for source, target in ((folder / "next.ca", made.ca_file), (leaf.cert_file, made.cert_file)):
        shutil.copy(source, folder / "next")
        (folder / "next").replace(target)
    shutil.copy(leaf.key_file, folder / "next")
    (folder / "next").replace(made.key_file)
    return made


def serial(identity: Identity) -> str:
    return str(x509.load_pem_x509_certificate(identity.cert_file.read_bytes()).serial_number)


@dataclass
class Load:
    """Calls without a pause over one channel; what each was answered, and what failed."""

    target: str
    who: Identity
    seen: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def run(self, stopping: asyncio.Event) -> None:
        async with client.channel(self.target, "vault", self.who) as channel:
            stub = rpc.BindingStoreStub(channel)

            async def calls() -> None:
                while not stopping.is_set():
                    try:
                        answer = await client.call(stub.Describe, pb.DescribeRequest(), timeout_s=20)
                        self.seen.append(answer.binding.id)
                    except Exception as error:  # noqa: BLE001  whatever fails is what is counted
                        self.failed.append(repr(error))

            await asyncio.gather(*(calls() for _ in range(8)))


@pytest.fixture
async def served(authority: Authority, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """A server, and the folder of its files."""
    folder = tmp_path / "server"
    mine = put(authority.issue("vault", tmp_path / "s0"), folder, ca=authority.ca_file.read_bytes())
    built = grpc.aio.server(interceptors=[server.Edge(CALLERS, "strongroom.internal")])
    rpc.add_BindingStoreServicer_to_server(Store(), built)
    port = built.add_secure_port("127.0.0.1:0", mine.server())
    await built.start()
    yield port, folder
    await built.stop(0)


async def shown_by(port: int, who: Identity) -> str:
    """Return the serial number of what the server shows in a handshake now."""
    context = ssl.create_default_context(cafile=str(who.ca_file))
    context.load_cert_chain(who.cert_file, who.key_file)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="vault")
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return str(x509.load_der_x509_certificate(raw).serial_number)


async def until_seen(load: Load, wanted: str) -> None:
    async with asyncio.timeout(30):
        while wanted not in load.seen[-8:]:
            assert not load.failed
            await asyncio.sleep(0.05)


@pytest.mark.bar(48)
async def test_certificates_and_the_authority_are_replaced_under_load_and_no_call_fails(
    served: tuple[int, Path], authority: Authority, tmp_path: Path
) -> None:
    port, server_folder = served
    new = Authority.create(tmp_path / "new")
    old_ca, new_ca = authority.ca_file.read_bytes(), new.ca_file.read_bytes()
    first = put(authority.issue("gateway", tmp_path / "c0"), tmp_path / "client", ca=old_ca)
    stranger = put(authority.issue("gateway", tmp_path / "c9"), tmp_path / "stranger", ca=new_ca)
    load, stopping = Load(f"127.0.0.1:{port}", first), asyncio.Event()
    running = asyncio.create_task(load.run(stopping))
    await until_seen(load, serial(first))
    steps = [
        (authority, old_ca),  # the same authority: a renewal
        (authority, old_ca + new_ca),  # both are believed
        (new, old_ca + new_ca),
        (new, new_ca),  # the old one is no longer believed
    ]
    for number, (issuer, ca) in enumerate(steps, 1):
        served_now = put(issuer.issue("vault", tmp_path / f"s{number}"), server_folder, ca=ca)
        mine = put(issuer.issue("gateway", tmp_path / f"c{number}"), tmp_path / "client", ca=ca)
        await until_seen(load, serial(mine))
        assert await shown_by(port, mine) == serial(served_now)
    stopping.set()
    await running
    assert load.failed == []
    assert len(set(load.seen)) == len(steps) + 1
    print(f"{len(load.seen)} calls over {len(steps)} replacements, {len(load.failed)} failed")
    async with client.channel(f"127.0.0.1:{port}", "vault", stranger) as channel:
        with pytest.raises(errors.Unavailable):
            await client.call(rpc.BindingStoreStub(channel).Describe, pb.DescribeRequest(), timeout_s=5)


def test_a_server_is_told_of_its_certificate_when_it_has_changed_and_only_then(
    authority: Authority, tmp_path: Path
) -> None:
    ca = authority.ca_file.read_bytes()
    mine = put(authority.issue("vault", tmp_path / "a"), tmp_path / "now", ca=ca)
    fetcher = Fetcher(Files(mine))
    assert fetcher() is None
    put(authority.issue("vault", tmp_path / "b"), tmp_path / "now", ca=ca)
    assert fetcher() is not None
    assert fetcher() is None


SERVER = """
import asyncio, sys
from pathlib import Path
import grpc
from common.rpc.tls import Identity

async def main():
    served = grpc.aio.server()
    port = served.add_secure_port("127.0.0.1:0", Identity(*map(Path, sys.argv[1:])).server())
    await served.start()
    print(port, flush=True)
    await served.wait_for_termination()

asyncio.run(main())
"""


@pytest.mark.bar(48)
def test_thousands_of_handshakes_at_once_beside_renewals_do_not_end_a_server(
    authority: Authority, tmp_path: Path
) -> None:
    ca = authority.ca_file.read_bytes()
    leaf = authority.issue("vault", tmp_path / "a")
    mine = put(leaf, tmp_path / "now", ca=ca)
    context = ssl.create_default_context(cafile=str(mine.ca_file))  # no certificate of its own: refused, but later
    context.set_alpn_protocols(["h2"])
    command = [sys.executable, "-c", SERVER, str(mine.cert_file), str(mine.key_file), str(mine.ca_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ThreadPoolExecutor(16) as pool:
        assert process.stdout is not None
        port = int(process.stdout.readline())

        def shake(_: int) -> bool:
            with (
                socket.create_connection(("127.0.0.1", port), 10) as plain,
                context.wrap_socket(plain, server_hostname="vault") as shaken,
            ):
                return shaken.selected_alpn_protocol() == "h2"

        try:
            for _ in range(10):
                assert all(pool.map(shake, range(200)))
                put(leaf, tmp_path / "now", ca=ca)
            assert process.poll() is None
        finally:
            process.kill()


def test_files_that_do_not_belong_together_are_waited_out(authority: Authority, tmp_path: Path) -> None:
    ca = authority.ca_file.read_bytes()
    mine = put(authority.issue("vault", tmp_path / "a"), tmp_path / "now", ca=ca)
    files = Files(mine)
    before = files.pem()
    assert files.pem() is before
    other = authority.issue("vault", tmp_path / "b")
    shutil.copy(other.cert_file, mine.cert_file)
    assert files.pem() is before, "a certificate whose key has not come yet"
    shutil.copy(other.key_file, mine.key_file)
    after = files.pem()
    assert (after.cert, after.key) == (other.cert_file.read_bytes(), other.key_file.read_bytes())
    mine.key_file.unlink()
    assert files.pem() is after
    mine.cert_file.write_text("rubbish")
    assert files.pem() is after
    with pytest.raises(OSError):  # noqa: PT011  whatever the system says
        Files(mine)


async def test_files_are_looked_at_once_in_a_while_and_not_at_every_call(authority: Authority, tmp_path: Path) -> None:
    mine = put(authority.issue("gateway", tmp_path / "a"), tmp_path / "now", ca=authority.ca_file.read_bytes())
    looks: list[int] = []

    class Counting(Files):
        def pem(self):
            looks.append(1)
            return super().pem()

    files = Counting(mine)
    options = [("grpc.ssl_target_name_override", "vault")]
    async with renewal.RenewingChannel(
        files, lambda pem: grpc.aio.secure_channel("127.0.0.1:1", pem.channel(), options=options)
    ) as channel:
        made = [channel.current() for _ in range(100)]
    assert len(looks) == 2
    assert len(set(map(id, made))) == 1

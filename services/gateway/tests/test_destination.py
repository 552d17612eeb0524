"""Where a webhook may go: no spelling of a private address is a URL, no answer of DNS leads inside, no second look."""

import asyncio
import ssl
from typing import Any

import pytest
from cli.pki import Authority
from gateway.destination import Refused, parse, pinned, public
from gateway.posting import Failed, Poster

from services.gateway.tests.receiver import Receiver

SPELLINGS = [
    "https://127.0.0.1/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://127.0.0.1./",
    "https://127.0.0.0x1/",
    "https://192.168.000.001/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://localhost/",
    "https://localhost./",
    "https://redis/",
    "https://vault.strongroom.svc.cluster.local/",
    "https://metadata.google.internal/",
    "https://hooks.example.com@127.0.0.1/",
    "https://user:word@hooks.example.com/",
    "https://127.0.0.1#.example.com/",
    "https://127.0.0.1\\.example.com/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://ｌocalhost.example.com/",
    "https://%31%32%37.0.0.1/",
    "https://hooks.example.com.:443/",
    "https:///hooks.example.com/",
    "https:hooks.example.com/",
    "http://hooks.example.com/",
    "HTTPS://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:6379/",
    "https://hooks.example.com:0443/a\r\nhost: x",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/#a",
    " https://hooks.example.com/",
    "https://hooks.example.com/\n",
]
CLOSED = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00::1", "fe80::1"),
    *("fec0::1", "ff02::1", "fe80::1%eth0", "2606:4700::1%eth0", "5f00::1", "no address", ""),
]
OPEN = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("url", SPELLINGS)
def test_no_spelling_of_an_address_inside_is_taken(url: str) -> None:
    with pytest.raises(Refused):
        parse(url)


@pytest.mark.parametrize(
    ("url", "port", "target"),
    [
        ("https://hooks.example.com", 443, "/"),
        ("https://hooks.example.com/a/b?c=d%20e", 443, "/a/b?c=d%20e"),
        ("https://hooks.example.com:8443/x", 8443, "/x"),
        ("https://hooks.example.com?x=1", 443, "/?x=1"),
        ("https://xn--bcher-kva.example/", 443, "/"),
    ],
)
def test_a_public_name_is_taken_apart(url: str, port: int, target: str) -> None:
    found = parse(url)
    assert (found.port, found.target, found.tls) == (port, target, True)


def test_loopback_is_taken_only_where_it_was_switched_on() -> None:
    assert parse("http://127.0.0.1:9000/x", loopback=True).tls is False
    for url in ("http://127.0.0.1:9000/x", "http://127.0.0.2:9000/", "http://localhost:9000/", "https://127.0.0.1/"):
        with pytest.raises(Refused):
            parse(url, loopback=url.startswith("http://127.0.0.2"))


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_public_or_leads_to_another_is_not_called(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", OPEN)
def test_a_public_address_is_called(address: str) -> None:
    assert public(address)


async def test_one_answer_inside_refuses_the_name_whatever_the_others_are() -> None:
    for answers in (["8.8.8.8", "127.0.0.1"], ["::ffff:10.0.0.1"], []):

        async def resolve(_: str, answers: list[str] = answers) -> list[str]:
            return answers

        with pytest.raises(Refused, match="not_public"):
            await pinned(parse("https://hooks.example.com/"), resolve)


async def test_a_name_is_asked_for_once_and_the_connection_goes_to_that_answer_alone() -> None:
    asked: list[str] = []
    called: list[tuple[str, int]] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]  # as a name that is bound anew

    async def connect(address: str, port: int, **_: Any) -> Any:
        called.append((address, port))
        raise ConnectionRefusedError

    poster = Poster(resolve=resolve, connect=connect)
    with pytest.raises(Failed, match="unreachable"):
        await poster.post("https://hooks.example.com/", {}, b"{}")
    with pytest.raises(Failed, match="not_public"):
        await poster.post("https://hooks.example.com/", {}, b"{}")
    assert asked == ["hooks.example.com"] * 2
    assert called == [("93.184.216.34", 443)]


async def test_tls_proves_the_name_and_not_the_address(authority: Authority) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = authority.issue("receiver", hosts=["hooks.example.com"])
    served.load_cert_chain(leaf.cert_file, leaf.key_file)
    trusting = ssl.create_default_context(cafile=str(leaf.ca_file))
    async with Receiver(served) as receiver:

        async def resolve(_: str) -> list[str]:
            return ["93.184.216.34"]

        async def connect(address: str, port: int, **tls: Any) -> Any:
            assert (address, port) == ("93.184.216.34", 443)
            return await asyncio.open_connection("127.0.0.1", receiver.port, **tls)

        poster = Poster(resolve=resolve, context=trusting, connect=connect)
        assert await poster.post("https://hooks.example.com/x", {"webhook-id": "1"}, b"{}") == 200
        assert receiver.got[0][1]["host"] == "hooks.example.com"
        with pytest.raises(Failed, match="tls"):
            await poster.post("https://other.example.com/x", {}, b"{}")
        with pytest.raises(Failed, match="tls"):
            await Poster(resolve=resolve, connect=connect).post("https://hooks.example.com/x", {}, b"{}")
        assert len(receiver.got) == 1


async def test_no_redirect_is_followed_and_an_endless_answer_takes_neither_memory_nor_time() -> None:
    async with Receiver() as receiver, Receiver() as inside:
        poster, url = Poster(loopback=True, timeout_s=5), f"http://127.0.0.1:{receiver.port}/"
        receiver.raw = f"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:{inside.port}/\r\n\r\n".encode()
        assert await poster.post(url, {}, b"{}") == 307
        assert inside.got == []
        receiver.raw = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20)
        assert await poster.post(url, {}, b"{}") == 200
        for raw in (b"HTTP/1.1 200 OK\r\nx: " + b"x" * (1 << 17), b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\n"):
            receiver.raw = raw
            with pytest.raises(Failed, match="no_http"):
                await poster.post(url, {}, b"{}")


async def test_a_receiver_that_says_nothing_is_given_up_in_time() -> None:
    released = asyncio.Event()

    async def silent(_: Any, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Failed, match="timed_out"):
            await Poster(loopback=True, timeout_s=0.2).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        released.set()

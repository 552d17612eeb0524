"""A call that is never signed, in every spelling that some server or client takes for the same, sent from outside to
the whole stack: byte for byte to the base URL, and as JSON. The exchange sees nothing of the key's."""

import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.conftest import Driver
from tests.integration.test_proxy import Bound

FORBIDDEN = {
    "withdraw": "/api/v3/account/withdrawal",
    "transfer": "/api/v2/spot/wallet/transfer",
    "key_admin": "/api/v3/user/create-sub-api",
    "sub_accounts": "/api/v2/user/create-virtual-subaccount",
    "account_mode": "/api/v3/account/switch",
}


def spellings(path: str) -> list[str]:
    """Return a path as it is not written; each is sent as it stands here, in UTF-8."""
    head, _, last = path.rpartition("/")
    _, api, version, *rest = path.split("/")
    tail = "/".join(rest)
    return [
        path + "/",
        path + "//",
        path + "/.",
        path + "/..",
        path + "/x/..",
        path + ";x=1",
        path + ".json",
        path + "#x",
        path + "?",
        path + "?a=b",
        path + "%20",
        path + "%09",
        path + "%00",
        path + "%0d%0aX-A:%20b",
        path + "%23x",
        path + "%3fa=b",
        path + " ",
        path + "\t",
        path + "\x00",
        path + "\u200b",
        path.upper(),
        path.title(),
        f"/{path}",
        f"/%2f{path}",
        f"//evil.example{path}",
        f"/http://evil.example{path}",
        f"{head}//{last}",
        f"{head}/./{last}",
        f"{head}/x/../{last}",
        f"{head}/%2e/{last}",
        f"{head}/x/%2e%2e/{last}",
        f"{head}%2f{last}",
        f"{head}%252f{last}",
        f"{head}%5c{last}",
        f"{head}\\{last}",
        f"{head}/{last[:-1]}%{ord(last[-1]):02x}",
        f"{head}/{chr(ord(last[0]) + 0xFEE0)}{last[1:]}",  # the same letter, twice as wide
        f"{head}/{last}\u00ad",
        f"/{api}/v1/{tail}",
        f"/{api}/V{version[1:]}/{tail}",
        f"/{api}/{version}/spot/../{tail}",
        f"/{api}/{version}/account/assets/..;/../../{tail}",
    ]


def sent(bound: Bound, target: str, method: str = "POST") -> int:
    """Write a request with `target` as it stands, and return the status of its answer."""
    place = urlsplit(bound.base)
    body = b"{}" if method == "POST" else b""
    head = [
        f"{method} {place.path}/proxy{target} HTTP/1.1",
        f"Host: {place.netloc}",
        f"ACCESS-KEY: {bound.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=30) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        answer = connection.makefile("rb").read()
    return int(answer.split(b" ", 2)[1])


def came(bound: Bound, after: int) -> tuple[list[Any], int]:
    """Return what the exchange received for the key since its request number `after`, and the number of its last."""
    control = bound.driver.facts["simulator_control_url"]
    told = httpx.get(f"{control}/requests", params={"after": after}, trust_env=False).json()
    return [one for one in told["requests"] if one["account"] == bound.account["api_key"]], told["received"]


@pytest.fixture(scope="module")
def bound(running: Driver) -> Bound:
    return Bound(running)


@pytest.mark.bar(22, 25)
@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_spelling_of_a_forbidden_call_gets_through_from_outside(bound: Bound, rule: str) -> None:
    path = FORBIDDEN[rule]
    spelled = spellings(path)
    assert len(set(spelled) - {path}) == len(spelled) >= 40
    _, before = came(bound, 0)
    as_it_is = bound.execute(method="POST", path=path, body={})
    assert (as_it_is.status_code, as_it_is.json()["rule"]) == (403, rule)
    assert sent(bound, path) == 403
    for one in spelled:
        for method in ("POST", "GET"):
            assert sent(bound, one, method) in (400, 403), (method, one)
        refused = bound.execute(method="POST", path=one, body={})
        assert refused.status_code in (400, 403, 422), (one, refused.text)
        assert refused.json()["code"] != "00000"
    found, _ = came(bound, before)
    assert not found
    # The way to the exchange was open all the while.
    assert sent(bound, "/api/v3/account/assets", "GET") == 200
    found, _ = came(bound, before)
    assert [one["target"] for one in found] == ["/api/v3/account/assets"]

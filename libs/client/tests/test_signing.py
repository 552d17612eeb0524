"""What a signing service that is not there is to its caller: a read can be asked again, what was sent is not known."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cli.pki import Authority
from cli.processes import free_port
from strongroom_client import OutcomeUnknown, Unavailable
from strongroom_client.signing import Asked, Signing


@pytest.fixture
def signing(tmp_path: Path) -> Callable[[], Signing]:
    leaf = Authority.ensure(tmp_path).issue("client")
    files = {"cert_file": leaf.cert_file, "key_file": leaf.key_file, "ca_file": leaf.ca_file}
    return lambda: Signing(f"127.0.0.1:{free_port()}", "token", **files, timeout=5)


async def test_only_a_call_that_changes_nothing_is_called_safe_to_repeat(signing: Callable[[], Signing]) -> None:
    async with signing() as nobody:
        for call in (nobody.execute, nobody.sign):
            with pytest.raises(Unavailable):
                await call(Asked("b", "GET", "/api/v2/x"))
        with pytest.raises(Unavailable):
            await nobody.sign(Asked("b", "POST", "/api/v2/x", body={}))
        with pytest.raises(Unavailable):
            _ = [one async for one in nobody.sign_stream([Asked("b", "GET", "/api/v2/x")])]
        with pytest.raises(OutcomeUnknown):
            await nobody.execute(Asked("b", "POST", "/api/v2/x", body={}))


async def test_it_is_entered_before_it_is_used(signing: Callable[[], Signing]) -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        await signing().sign(Asked("b", "GET", "/api/v2/x"))

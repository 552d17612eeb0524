"""The Python in the client library's documents, run as it stands there against a stack of its own."""

import asyncio
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(text, id=f"{name}-{number}")
    for name in ("libs/client/README.md", "docs/client.md")
    for number, text in enumerate(FENCE.findall((ROOT / name).read_text()))
]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return what the documents take for granted: addresses, a token, a binding, a certificate, and a key to bind."""
    with Stack(LaunchSettings(tmp_path_factory.mktemp("snippets"), free_port(), None, "127.0.0.1"), str) as stack:
        stack.start()
        facts = stack.description
        token = facts["tenants"][0]["token"]
        known, key = ({name: one[name] for name in ("api_key", "secret_key", "passphrase")} for one in _samples(facts))
        headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=30"}
        with httpx.Client(base_url=facts["gateway_url"], headers=headers, timeout=40, trust_env=False) as http:
            wanted = {"exchange": "bitget", "scopes": ["spot", "futures"], "credential": known}
            bound = http.post("/v1/bindings", json=wanted).json()
            assert bound["status"] == "connected", bound
            files = {name: facts[f"client_{name}"] for name in ("cert_file", "key_file")}
            yield {
                **key, **files, "ca_file": facts["ca_file"], "url": facts["gateway_url"], "token": token,
                "target": facts["verifier_target"], "binding_id": bound["id"],
            }  # fmt: skip


@pytest.fixture
def free_key(names: dict[str, Any]) -> Iterator[None]:
    """Leave the key unbound, so that the next snippet can bind it."""
    yield
    headers = {"Authorization": f"Bearer {names['token']}"}
    with httpx.Client(base_url=names["url"], headers=headers, timeout=40, trust_env=False) as http:
        for one in http.get("/v1/bindings").json()["items"]:
            if one["id"] != names["binding_id"]:
                http.delete(f"/v1/bindings/{one['id']}")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_the_documents_show_runs(names: dict[str, Any], free_key: None, snippet: str, capsys: Any) -> None:
    told = {name: value for name, value in names.items() if re.search(rf"\b{name}\b", snippet)}
    function = f"async def shown({', '.join(told)}):\n{textwrap.indent(snippet, '    ')}"
    made: dict[str, Any] = {}
    exec(compile(function, "snippet", "exec"), made)
    assert inspect.iscoroutinefunction(made["shown"])
    asyncio.run(made["shown"](**told))
    printed = capsys.readouterr().out
    assert printed.strip()
    assert names["secret_key"] not in printed


def _samples(facts: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = ("unified-trader", "classic-trader")
    return [next(one for one in facts["sample_keys"] if one["name"] == name) for name in wanted]

"""Bind sample keys of the simulator at a stack of docker compose and say whether each got the verdict it should.

Takes the gateway's address and the file of tokens that the stack made; ends with 0 when all are as they should be.
"""

import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx
from cli.stack import sample_keys

PATIENCE_S: Final = 60.0
# The lists of the others name the address from which the embedded stack asks; two of these have none, one has another.
KEYS: Final = ("unified-demo", "unified-sub", "unified-other-ip")
SETTLED: Final = ("connected", "limited", "rejected", "disconnected")


def verdict(http: httpx.Client, key: dict[str, str]) -> str:
    """Bind one sample key and return the status it gets."""
    credential = {name: key[name] for name in ("api_key", "secret_key", "passphrase")}
    body: dict[str, Any] = {
        "exchange": "bitget",
        "label": key["name"],
        "subject": "demo",
        "scopes": ["spot", "futures"],
    }
    headers = {"Idempotency-Key": secrets.token_hex(8), "Prefer": "wait=30"}
    answer = http.post("/v1/bindings", json={**body, "credential": credential}, headers=headers)
    answer.raise_for_status()
    name, deadline = answer.json()["id"], time.monotonic() + PATIENCE_S
    while (status := str(http.get(f"/v1/bindings/{name}").json()["status"])) not in SETTLED:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return status


def main(url: str, tokens: Path) -> int:
    """Return 0 when every key has the status that its scenario expects."""
    token = json.loads(tokens.read_text())["tenants"][0]["token"]
    wrong = 0
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=40, trust_env=False) as http:
        for key in (key for key in sample_keys("hmac") if key["name"] in KEYS):
            status = verdict(http, key)
            wrong += status != key["expect"]
            sys.stdout.write(f"{key['name']}: {status}{'' if status == key['expect'] else ', not ' + key['expect']}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))

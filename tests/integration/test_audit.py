"""The trail of a whole stack: what a tenant reads of it over REST, and what the command line checks and tells."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Driver, eventually


def audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", "audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def trail_of(driver: Driver, tenant: int, **query: str) -> list[dict[str, Any]]:
    """Return all that a tenant reads of the trail, the newest first."""
    found: list[dict[str, Any]] = []
    with driver.client(tenant) as http:
        cursor = ""
        while cursor is not None:
            page = http.get("/v1/audit", params={**query, "limit": "7"} | ({"cursor": cursor} if cursor else {})).json()
            found += page["items"]
            cursor = page["next_cursor"]
    return found


def test_a_tenant_reads_what_was_done_with_its_key_and_nobody_else_does(driver: Driver) -> None:
    mine = driver.bind(driver.account()).json()["id"]
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{mine}").status_code == 204

    def read() -> list[dict[str, Any]]:
        lines = trail_of(driver, 0, binding=mine)
        return lines if ("revoke", "done") in [(one["action"], one["outcome"]) for one in lines] else []

    lines = eventually(read)
    assert {one["binding_id"] for one in lines} == {mine}
    assert [one["sequence"] for one in lines] == sorted((one["sequence"] for one in lines), reverse=True)
    assert (lines[-1]["action"], lines[-1]["phase"], lines[-1]["subject"]) == ("bind", "intent", "acme")
    signed = [one for one in lines if (one["action"], one["outcome"]) == ("sign", "done")]
    assert "/api/v3/account/info" in {one["path"] for one in signed}
    assert all(one["vault_request_id"] and one["request_digest"] for one in signed)
    assert trail_of(driver, 1, binding=mine) == trail_of(driver, 1, binding="f" * 32) == []
    assert mine not in json.dumps(trail_of(driver, 1))


@pytest.mark.bar(57)
def test_the_command_line_checks_a_running_stacks_trail_by_its_vault_and_tells_who_used_a_key(
    driver: Driver, tmp_path: Path
) -> None:
    mine = driver.bind(driver.account()).json()["id"]
    home, folder = driver.stack.home, driver.stack.home / "audit"
    vault = driver.child("vault")
    vault.stop()  # so that its last head is written
    try:
        told = audit("report", folder, "--binding", mine, "--action", "sign", "--json")
        assert told.returncode == 0, told.stderr
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        assert {row["outcome"] for row in rows} == {"done"}
        if (home / "openbao" / "init.json").exists():  # the servers of the wheels
            checked = audit("verify", folder, "--home", home, "--json")
            assert checked.returncode == 0, checked.stdout + checked.stderr
            [chain] = json.loads(checked.stdout)["chains"]
            assert chain["signed_to"] == chain["last"] - 1
            cut = tmp_path / "cut"
            cut.mkdir()
            for path in folder.iterdir():
                lines = path.read_bytes().splitlines(keepends=True)
                (cut / path.name).write_bytes(b"".join(lines[:-1]))
            assert "cut after this line" in audit("verify", cut, "--home", home).stdout
    finally:
        vault.start()

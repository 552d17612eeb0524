"""`strongroom audit` on trails that the service's own parts wrote, with heads that a real Transit signed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.audit import app
from click.testing import Result
from common.errors import PolicyRefused
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from typer.testing import CliRunner
from vault.actor import Actor
from vault.heads import Heads

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
TRADE = ExchangeRequest(method="POST", path="/api/v3/trade/place-order", body=b"{}")


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@dataclass
class Written:
    """A closed trail: two keys bound, three signatures by a worker, a refusal, a revocation."""

    folder: Path
    path: Path
    bindings: list[str]
    parts: Any
    access: list[str]  # options with which an auditor asks Vault


@pytest.fixture
async def trail(server: Any, parts: Any, tenant: str, wanted: Any, tmp_path: Path, clock: Any) -> Written:
    heads = Heads(parts.audit, parts.keys, parts.own, clock)
    person, worker = Actor(tenant, "gateway", "ann\x1b[2J", "desk", "https://issuer"), Actor(tenant, "worker")
    bound = [(await parts.bindings.bind(person, wanted()))[0].id for _ in range(2)]
    for name in (*bound, bound[0]):
        await parts.signer.sign(worker, SignRequest(binding_id=name, requests=[INFO]))
    with pytest.raises(PolicyRefused):
        await parts.signer.sign(worker, SignRequest(binding_id=bound[0], requests=[TRADE]))
    await parts.bindings.revoke(person, bound[1])
    await parts.audit.append({"action": "close"}, last=True)
    await parts.signer.sign(worker, SignRequest(binding_id=bound[0], requests=[INFO]))
    await parts.audit.append({"action": "test"})
    await heads.close()
    token = server.admin.auth.token.create(policies=["strongroom-auditor"], no_default_policy=True, ttl="5m")
    token_file = tmp_path / "auditor.token"
    token_file.write_text(token["auth"]["client_token"] + "\n")
    access = ["--vault", server.connection.url, "--token-file", str(token_file)]
    return Written(parts.audit.path.parent, parts.audit.path, bound, parts, access)


@pytest.mark.bar(57)
def test_a_whole_trail_holds_by_the_keys_and_heads_that_an_auditor_reads_at_vault(
    trail: Written, tmp_path: Path
) -> None:
    told = audit("verify", trail.folder, *trail.access)
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, "The trail holds.")
    assert "signed up to line" in told.stdout
    assert "Note: signatures" not in told.stdout
    assert "Note: the end" not in told.stdout
    anchors = tmp_path / "anchors.json"
    anchors.write_text(audit("heads", *trail.access).stdout)
    document = json.loads(anchors.read_text())
    document["heads"]["f" * 16] = {"sequence": 1, "hash": "0" * 64}
    anchors.write_text(json.dumps(document))
    told = audit("verify", trail.folder, "--public-key", anchors, "--heads", anchors)
    assert (told.exit_code, "f" * 16 in told.stdout) == (0, True), "a trail of another process is a remark"
    assert audit("verify", trail.folder, "--public-key", anchors, "--heads", anchors, "--all").exit_code == 1
    document["heads"] = {trail.parts.audit.end.instance: document["heads"][trail.parts.audit.end.instance]}
    anchors.write_text(json.dumps(document))
    told = audit("verify", trail.folder, "--public-key", anchors, "--heads", anchors, "--json")
    assert (told.exit_code, json.loads(told.stdout)["holds"], json.loads(told.stdout)["notes"]) == (0, True, [])
    told = audit("verify", *sorted(trail.folder.iterdir())[::-1])
    assert told.exit_code == 0
    assert told.stdout.count("Note:") == 2, "what was not checked is said"


@pytest.mark.bar(57)
@pytest.mark.parametrize("change", ["edit", "delete", "reorder", "truncate", "file"])
def test_a_changed_trail_does_not_hold_and_the_place_is_named(trail: Written, change: str) -> None:
    first = min(trail.folder.iterdir())
    lines, last = first.read_bytes().splitlines(keepends=True), trail.path.read_bytes().splitlines(keepends=True)
    changed = {
        "edit": (first, [*lines[:4], lines[4].replace(b'"gateway"', b'"somebody"'), *lines[5:]], 6),
        "delete": (first, lines[:4] + lines[5:], 5),
        "reorder": (first, [*lines[:4], lines[5], lines[4], *lines[6:]], 5),
        "truncate": (trail.path, last[:2], 2),
    }
    if change == "file":
        first.unlink()
        place = f"{trail.path}:1: beginning_missing"
    else:
        path, put, line = changed[change]
        assert path.read_bytes() != b"".join(put)
        path.write_bytes(b"".join(put))
        place = f"{path}:{line}: "
    told = audit("verify", trail.folder, *trail.access)
    assert told.exit_code == 1
    assert place in told.stdout
    assert "The trail does NOT hold" in told.stdout


async def test_what_is_younger_than_the_last_head_is_told(trail: Written) -> None:
    end = trail.parts.audit.end.sequence
    assert "the chain alone protects" not in audit("verify", trail.folder, *trail.access).stdout
    await trail.parts.audit.append({"action": "test"})
    told = audit("verify", trail.folder, *trail.access)
    assert told.exit_code == 0
    assert f"{trail.parts.audit.end.instance} from line {end}: the chain alone protects it" in told.stdout


def test_another_public_key_proves_no_head(trail: Written, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    public = Ed25519PrivateKey.generate().public_key()
    other.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    told = audit("verify", trail.folder, "--public-key", other, "--json")
    assert told.exit_code == 1
    assert {fault["code"] for fault in json.loads(told.stdout)["faults"]} == {"signature"}


def test_what_cannot_be_checked_ends_with_two_and_one_line(trail: Written, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("{}")
    (tmp_path / "empty").mkdir()
    for arguments in (
        [tmp_path / "nothing.jsonl"],
        [tmp_path / "empty"],
        [trail.folder, "--public-key", rubbish],
        [trail.folder, "--vault", "http://127.0.0.1:1", "--token-file", rubbish],
        [trail.folder, "--vault", "http://127.0.0.1:1"],
        [trail.folder, "--home", tmp_path],
        [trail.folder, *trail.access[:-1], rubbish],
    ):
        told = audit("verify", *arguments)
        assert told.exit_code == 2, arguments
        assert told.stderr.startswith("strongroom: ")
        assert len(told.stderr.splitlines()) == 1


def rows(*arguments: object) -> list[dict[str, Any]]:
    told = audit("report", *arguments, "--json")
    assert told.exit_code == 0
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_a_report_tells_who_used_a_key_when_and_what_was_signed_between_two_times(trail: Written, tenant: str) -> None:
    used = rows(trail.folder, "--binding", trail.bindings[0], "--action", "sign")
    assert [row["outcome"] for row in used] == ["done", "done", "refused", "done"]
    assert {row["service"] for row in used} == {"worker"}
    assert used[0]["begun"] <= used[0]["time"]
    assert len({row["vault_request_id"] for row in used if row["outcome"] == "done"}) == 3
    bound = rows(trail.folder, "--tenant", tenant, "--action", "bind")
    assert [(row["subject"], row["issuer"]) for row in bound] == [("ann\x1b[2J", "https://issuer")] * 2
    since = used[1]["time"]
    later = rows(trail.folder, "--action", "sign", "--from", since, "--to", used[-1]["time"])
    assert [row["sequence"] for row in later] == [
        row["sequence"] for row in rows(trail.folder, "--action", "sign") if since <= row["time"] < used[-1]["time"]
    ]
    assert rows(trail.folder, "--tenant", "x" * 26) == []
    assert audit("report", trail.folder, "--from", "yesterday").exit_code == 2


def test_the_table_is_for_people_and_obeys_nothing_that_stands_in_a_line(trail: Written) -> None:
    told = audit("report", trail.folder, "--binding", trail.bindings[1])
    lines = told.stdout.splitlines()
    assert lines[0].split()[:5] == ["TIME", "ACTION", "OUTCOME", "WHO", "WHAT"]
    assert [line.split()[1:3] for line in lines[1:-1]] == [["bind", "done"], ["sign", "done"], ["revoke", "done"]]
    assert "GET /api/v3/account/info" in lines[2]
    assert "\x1b" not in told.stdout
    assert lines[-1].startswith("3 actions in ")


def test_an_action_without_an_outcome_is_told_as_unknown_and_a_broken_chain_is_told_too(trail: Written) -> None:
    lines = trail.path.read_bytes().splitlines(keepends=True)
    cut = next(at for at, line in enumerate(lines) if b'"phase":"outcome"' in line)
    trail.path.write_bytes(b"".join(lines[:cut]))
    assert [row["outcome"] for row in rows(trail.folder, "--action", "sign")][-1] == "unknown"
    first = min(trail.folder.iterdir())
    first.write_bytes(first.read_bytes().replace(b'"worker"', b'"gateway"', 1))
    told = audit("report", trail.folder)
    assert told.exit_code == 1
    assert "the chain does not hold" in told.stderr

"""A record comes back as it was written, and one that a newer version wrote as far as this version knows it."""

from dataclasses import asdict
from typing import Any

import pytest
from common.errors import NotFound
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1 import binding_pb2 as pb
from vault.records import Attempt, Head, Record, _quickly

NAME = "a" * 32
SCOPES = frozenset([pb.SCOPE_SPOT, pb.SCOPE_FUTURES])
FULL = pb.Verdict(
    status=pb.STATUS_LIMITED,
    reason=pb.REASON_POLICY_VIOLATION,
    environment=pb.ENVIRONMENT_DEMO,
    account=pb.Account(uid="1", parent_uid="2", mode=pb.ACCOUNT_MODE_UNIFIED, keys_bound=3, keys_limit=10),
    permissions=pb.Permissions(read=pb.ANSWER_YES, withdraw=pb.ANSWER_UNKNOWN, unknown_tokens=["x"], tokens=["x", "é"]),
    ip_whitelist=pb.IpWhitelist(bound=True, addresses=["1.2.3.4"], missing=["5.6.7.8"]),
    findings=[
        pb.Finding(
            code="withdraw_enabled",
            severity=pb.SEVERITY_ERROR,
            title="“t”",
            actor=pb.ACTOR_CUSTOMER,
            evidence=pb.Evidence(endpoint="GET /x", exchange_code="0"),
        ),
        pb.Finding(),
    ],
    strategies=[pb.Strategy(id="spot_trading", available=True, reasons=["a", "b"])],
)


def binding(tenant: str, verdict: pb.Verdict) -> pb.Binding:
    return pb.Binding(
        id=NAME,
        tenant_id=tenant,
        exchange=pb.EXCHANGE_BITGET,
        label="龙虾",
        scopes=[pb.SCOPE_SPOT, pb.SCOPE_FUTURES],
        created_at=Timestamp(seconds=1_800_000_000, nanos=123_000_000),
        updated_at=Timestamp(seconds=1_800_000_001),
        credential=pb.CredentialInfo(
            version=1, key_type=pb.KEY_TYPE_RSA, stored_at=Timestamp(seconds=1_800_000_000), clues=["a_clue"]
        ),
        verdict=verdict,
        whitespace_removed=["api_key"],
        proven=True,
    )


@pytest.mark.parametrize("verdict", [FULL, pb.Verdict(status=pb.STATUS_PENDING)], ids=["full", "pending"])
async def test_a_record_comes_back_as_it_was_written(parts: Any, tenant: str, verdict: pb.Verdict) -> None:
    written = await parts.bindings.records.save(Record(binding(tenant, verdict), "f", "d"), 0)
    assert written.binding.revision == 1
    assert await parts.bindings.records.load(tenant, NAME) == written
    assert await parts.bindings.records.head(tenant, NAME) == Head(
        pb.KEY_TYPE_RSA, 1, "", pb.EXCHANGE_BITGET, 0, ("f",), verdict.status, SCOPES, verdict is FULL
    )


async def test_a_record_of_a_rotation_comes_back_as_it_was_written(parts: Any, tenant: str) -> None:
    rotating = binding(tenant, FULL)
    rotating.rotation.state = pb.ROTATION_STATE_VERIFYING
    rotating.rotation.started_at.CopyFrom(Timestamp(seconds=1_800_000_002, nanos=5_000_000))
    rotating.rotation.credential.CopyFrom(rotating.credential)
    staged, past = Attempt("k", "r", "g", 3), (Attempt("j", "q", "h", 2, "invalid_secret"),)
    wanted = Record(rotating, "f", "d", staged, past, ("h",))
    written = await parts.bindings.records.save(wanted, 0)
    assert await parts.bindings.records.load(tenant, NAME) == written
    assert (written.staged, written.past, written.left) == (staged, past, ("h",))
    assert await parts.bindings.records.head(tenant, NAME) == Head(
        pb.KEY_TYPE_RSA, 1, "", pb.EXCHANGE_BITGET, 3, ("f", "g"), FULL.status, SCOPES, True
    )


def test_the_quick_way_reads_what_json_format_writes() -> None:
    for verdict in (FULL, pb.Verdict(status=pb.STATUS_PENDING)):
        whole = binding("t" * 26, verdict)
        assert _quickly(json_format.MessageToDict(whole, preserving_proto_field_name=True)) == whole


async def test_a_record_of_a_newer_version_is_read_as_far_as_it_is_known(parts: Any, tenant: str) -> None:
    stored = json_format.MessageToDict(binding(tenant, FULL), preserving_proto_field_name=True)
    stored["verdict"]["mood"] = "good"
    stored["verdict"]["findings"][0]["weight"] = 5
    data = {"binding": stored, "fingerprint": "f", "request_digest": "d"}
    await parts.documents.write(tenant, "bindings", NAME, data, 0)
    expected = binding(tenant, FULL)
    expected.revision = 1
    assert (await parts.bindings.records.load(tenant, NAME)).binding == expected


async def test_what_a_newer_version_wrote_outlives_the_changes_of_this_one(parts: Any, tenant: str) -> None:
    stored = json_format.MessageToDict(binding(tenant, FULL), preserving_proto_field_name=True)
    stored |= {"mood": "good", "revision": 1}
    stored["credential"]["colour"] = "red"
    stored["verdict"]["findings"][0]["weight"] = 5
    past = {**asdict(Attempt("j", "q", "h", 2)), "weather": "fair"}
    rotations = {"staged": None, "past": [past], "left": None, "right": 1}
    data = {"binding": stored, "fingerprint": "f", "request_digest": "d", "rotations": rotations, "season": "spring"}
    await parts.documents.write(tenant, "bindings", NAME, data, 0)
    records = parts.bindings.records

    labelled = await records.load(tenant, NAME)
    labelled.binding.label = "Other"
    labelled.binding.ClearField("whitespace_removed")
    assert await records.save(labelled, 1)
    kept = (await parts.documents.read(tenant, "bindings", NAME)).data
    del stored["whitespace_removed"]
    assert kept == {**data, "binding": {**stored, "label": "Other", "revision": 2}}

    judged = await records.load(tenant, NAME)
    judged.binding.verdict.findings.pop()
    assert await records.save(judged, 2)
    kept = (await parts.documents.read(tenant, "bindings", NAME)).data
    assert kept["binding"]["verdict"] == json_format.MessageToDict(
        judged.binding.verdict, preserving_proto_field_name=True
    ), "a verdict that is told anew has nothing of the one before"
    assert (kept["binding"]["mood"], kept["binding"]["credential"]["colour"]) == ("good", "red")
    assert (kept["season"], kept["rotations"]) == ("spring", rotations)


async def test_the_head_of_what_is_not_there_or_only_marked_is_not_found(parts: Any, tenant: str) -> None:
    records = parts.bindings.records
    with pytest.raises(NotFound):
        await records.head(tenant, NAME)
    await records.mark(tenant, NAME, sweeping=True, cas=0)
    with pytest.raises(NotFound):
        await records.head(tenant, NAME)

"""Own the findings that follow from the record itself, beside those of the verdict. Pure; no proof about a key."""

from typing import Any, Final

from strongroom.types.v1 import binding_pb2 as pb

CODES: Final = frozenset(["whitespace_removed", "frozen", "delete_key_at_exchange"])
FROZEN: Final = {
    "code": "frozen",
    "severity": "info",
    "title": "Frozen by the platform",
    "detail": "The platform's operators have stopped everything that is signed with this key, also the looks at it: "
    "the status is the last proven one.",
    "remedy": "Nothing has to be done at Bitget. The platform's support knows until when.",
    "actor": "operator",
    "evidence": None,
}


DELETE_KEY: Final = {
    "code": "delete_key_at_exchange",
    "severity": "info",
    "title": "Delete the key at Bitget too",
    "detail": "This binding has ended and nothing is signed for it any more. The API key itself still exists at Bitget "
    "until it is deleted there, and works for whoever has it.",
    "remedy": "Log in at Bitget, open your profile picture, then API keys, and delete the key {hint}. Nobody but the "
    "owner of the account can do that.",
    "actor": "customer",
    "evidence": None,
}


def of(record: pb.Binding) -> list[dict[str, Any]]:
    """Return the notices of a record in the shape of a finding."""
    found = []
    if record.whitespace_removed:
        found.append(_whitespace_removed(", ".join(record.whitespace_removed)))
    if record.frozen:
        found.append(FROZEN)
    if record.verdict.status == pb.STATUS_REVOKED:
        remedy = str(DELETE_KEY["remedy"]).format(hint=record.credential.api_key_hint)
        found.append({**DELETE_KEY, "remedy": remedy})
    return found


def _whitespace_removed(names: str) -> dict[str, Any]:
    return {
        "code": "whitespace_removed",
        "severity": "info",
        "title": "Spaces or invisible characters were removed",
        "detail": f"They came with these pasted values: {names}.",
        "remedy": "Nothing needs to be done if the binding connects; otherwise copy the values again.",
        "actor": "customer",
        "evidence": None,
    }

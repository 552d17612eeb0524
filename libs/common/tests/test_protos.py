"""What the protos may never hold: an answer with a secret."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import strongroom
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

SECRET = {"secret", "secret_key", "wrapped_secret", "passphrase", "api_key", "token", "private_key", "credential_value"}


def methods() -> Iterator[MethodDescriptor]:
    root = Path(strongroom.__path__[0]).parent
    for file in sorted(root.glob("strongroom/**/*_pb2.py")):
        module = importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def fields(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Yield every field that a message can hold, however deep."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type:
            yield from fields(field.message_type, seen)


# A client that logs a private WebSocket in sends these itself, by a right of its own. The secret key is not among them.
HANDED_OUT = {
    f"strongroom.{service}.SignWebSocketLogin: {name}"
    for service in ("signing.v1.SigningService", "vault.v1.Signer")
    for name in ("api_key", "passphrase")
}
# Whoever receives webhooks checks them by a secret made for that alone, which is shown once; it is no customer's.
HANDED_OUT |= {f"strongroom.vault.v1.Webhooks.{name}: secret" for name in ("CreateEndpoint", "RotateSecret")}


@pytest.mark.bar(13)
def test_no_answer_of_any_method_has_a_field_for_a_secret() -> None:
    found = list(methods())
    assert len(found) >= 15
    named = {f"{one.full_name}: {field.name}" for one in found for field in fields(one.output_type, set())}
    assert {one for one in named if one.rsplit(" ", 1)[1] in SECRET} == HANDED_OUT


@pytest.mark.bar(13)
def test_the_search_sees_the_fields_for_secrets_of_requests() -> None:
    asked = {field.name for one in methods() for field in fields(one.input_type, set())}
    assert {"secret_key", "wrapped_secret", "passphrase", "api_key"} <= asked

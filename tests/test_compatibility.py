"""Processes of the last release and of this one run side by side: what one writes, the other reads, and passes on."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from verifier.jobs import FIELDS, TRACE, Job, decode

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT / "protos" / "released.binpb"
BUF = Path(sys.executable).parent / "buf"
SAMPLES = {
    FieldDescriptor.CPPTYPE_STRING: "é",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
    FieldDescriptor.CPPTYPE_FLOAT: 0.5,
}


def _released() -> dict[str, type[Any]]:
    """Return the messages of the last release, by name, as classes of a pool of their own."""
    files, pool = FileDescriptorSet.FromString(RELEASED.read_bytes()).file, DescriptorPool()
    for file in files:
        pool.Add(file)  # in the order of their imports
    ours = [pool.FindFileByName(file.name) for file in files if file.package.startswith("strongroom.")]
    return {kind.full_name: GetMessageClass(kind) for file in ours for kind in _kinds(file.message_types_by_name)}


def _kinds(named: Any) -> Iterator[Descriptor]:
    for kind in named.values():
        if not kind.GetOptions().map_entry:
            yield kind
            yield from _kinds(kind.nested_types_by_name)


def _current(kind: type[Any]) -> type[Any]:
    """Return this version's class of a released message."""
    module = kind.DESCRIPTOR.file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
    found: Any = importlib.import_module(module)
    for name in kind.DESCRIPTOR.full_name.removeprefix(f"{kind.DESCRIPTOR.file.package}.").split("."):
        found = getattr(found, name)
    assert isinstance(found, type)
    return found


def _fill(message: Any, depth: int = 0) -> Any:
    """Set every field of a message, of a choice the last one, and of messages within as deep as it makes sense."""
    for field in message.DESCRIPTOR.fields:
        map_of = field.message_type.fields_by_name["value"] if _is_map(field) else None
        if map_of is not None:
            getattr(message, field.name)["k"] = _sample(map_of)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth < 4:
                inner = getattr(message, field.name)
                _fill(inner.add() if field.is_repeated else inner, depth + 1)
                if not field.is_repeated:
                    inner.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).append(_sample(field))
        else:
            setattr(message, field.name, _sample(field))
    return message


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _sample(field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"\xff"
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[-1].number
    return SAMPLES.get(field.cpp_type, 7)


KINDS = _released()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_the_last_release_says_is_understood_and_what_this_one_says_there(name: str) -> None:
    old, new = KINDS[name], _current(KINDS[name])
    said = _fill(old())
    heard = new.FromString(said.SerializeToString(deterministic=True))
    assert str(heard) == str(said)
    whole = _fill(new())
    passed_on = old.FromString(whole.SerializeToString(deterministic=True))
    assert new.FromString(passed_on.SerializeToString()) == whole, "what it does not know, it passes on"


def test_a_job_of_the_last_release_is_one_of_this_one_and_the_other_way_round() -> None:
    job = Job("t" * 26, "b" * 32, "bind")
    entry = {b"tenant": b"t" * 26, b"binding": b"b" * 32, b"cause": b"bind", b"attempt": b"0"}
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    assert decode(entry) == job
    assert decode({**entry, b"traceparent": traceparent.encode()}) == replace(job, traceparent=traceparent)
    assert entry.keys() == FIELDS
    assert TRACE == b"traceparent", "a field more is a job that the last release buries"


def test_the_messages_of_the_last_release_are_all_there() -> None:
    assert {"strongroom.types.v1.Binding", "strongroom.verifier.v1.Event"} <= KINDS.keys()
    assert len(KINDS) > 50


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("  string label = ", "  string labels = ", 'changed name from "label" to "labels"'),
        ("  string label = ", "  bytes label = ", 'changed type from "string" to "bytes"'),
        ("  STATUS_REVOKED = ", "  STATUS_ENDED = ", "STATUS_REVOKED"),
    ],
)
def test_a_change_that_breaks_the_last_release_is_refused(tmp_path: Path, before: str, after: str, told: str) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("*.binpb"))
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    command = [BUF, "breaking", "protos", "--against", RELEASED]

    def said() -> str:
        return subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout

    assert said() == ""
    changed = tmp_path / "protos/strongroom/types/v1/binding.proto"
    text = changed.read_text()
    assert before in text
    changed.write_text(text.replace(before, after))
    assert told in said()

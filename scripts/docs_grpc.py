"""A hook of the documentation site: the reference of gRPC, made of protos/ and their comments at each build.

The protos are the only source: what is not in them is not here. Nothing of this is committed.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PROTOS: Final = Path(__file__).resolve().parent.parent / "protos"
FOLDER: Final = "reference/grpc"
HEAD: Final = """Every service, made of the protos and their comments. Who may call what, with which token: [the
contract](../../contract.md#grpc).

| service | methods |
|---|---|
"""
# Numbers of the fields in descriptor.proto, by which comments name their places.
MESSAGE, ENUM, SERVICE, PACKAGE, SYNTAX = 4, 5, 6, 2, 12
MEMBER, NESTED, NESTED_ENUM = 2, 3, 4


def described() -> list[FileDescriptorProto]:
    """Return every proto file with its comments, in the order of names."""
    names = [path.relative_to(PROTOS).as_posix() for path in sorted(PROTOS.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "described"
        options = [f"-I{PROTOS}", f"--descriptor_set_out={target}", "--include_source_info"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *names], check=True, cwd=PROTOS)
        return list(FileDescriptorSet.FromString(target.read_bytes()).file)


class Comments:
    """The comments of one file, by the path of what they stand before."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._all = {tuple(one.path): one for one in file.source_code_info.location}

    def __call__(self, *path: int) -> str:
        """Return the comment before an element, or else behind it, as one paragraph."""
        one = self._all.get(path)
        return " ".join((one.leading_comments or one.trailing_comments).split()) if one else ""

    def head(self) -> str:
        """Return the comment at the head of the file."""
        one = self._all.get((SYNTAX,))
        return " ".join(" ".join([*one.leading_detached_comments, one.leading_comments]).split()) if one else ""


def anchor(full: str) -> str:
    """Return the anchor of a service, a message or an enum."""
    return full.lower().replace(".", "-")


def typed(name: str) -> str:
    """Return the link to a message or an enum, shown without its package if it is of ours."""
    full = name.removeprefix(".")
    parts = full.split(".")
    if parts[0] != "strongroom":
        return f"`{full}`"
    return f"[{'.'.join(parts[3:])}]({'-'.join(parts[1:3])}.md#{anchor(full)})"


def kind(field: FieldDescriptorProto) -> str:
    """Return the type of a field."""
    plain = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    one = typed(field.type_name) if field.type_name else f"`{plain}`"
    return f"repeated {one}" if field.label == FieldDescriptorProto.LABEL_REPEATED else one


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return text.replace("|", "\\|")


def fields(message: DescriptorProto, comments: Comments, path: tuple[int, ...]) -> Iterable[str]:
    """Yield the rows of a message's fields."""
    for index, field in enumerate(message.field):
        alone = not field.HasField("oneof_index") or field.proto3_optional
        one_of = "" if alone else f"one of `{message.oneof_decl[field.oneof_index].name}`. "
        said = one_of + comments(*path, MEMBER, index)
        yield f"| `{field.name}` | {field.number} | {kind(field)} | {cell(said)} |"


def message(one: DescriptorProto, owner: str, comments: Comments, path: tuple[int, ...]) -> str:
    """Return the section of a message, and of those inside it."""
    full = f"{owner}.{one.name}"
    text = f"## {'.'.join(full.split('.')[3:])} {{ #{anchor(full)} }}\n\n{comments(*path)}\n\n"
    rows = list(fields(one, comments, path))
    table = "| field | number | type | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
    text += table if rows else "No fields.\n\n"
    for index, inner in enumerate(one.enum_type):
        text += enum(inner, full, comments, (*path, NESTED_ENUM, index))
    for index, nested in enumerate(one.nested_type):
        text += message(nested, full, comments, (*path, NESTED, index))
    return text


def enum(one: EnumDescriptorProto, owner: str, comments: Comments, path: tuple[int, ...]) -> str:
    """Return the section of an enum."""
    full = f"{owner}.{one.name}"
    text = f"## {'.'.join(full.split('.')[3:])} {{ #{anchor(full)} }}\n\n{comments(*path)}\n\n"
    rows = [
        f"| `{value.name}` | {value.number} | {cell(comments(*path, MEMBER, index))} |"
        for index, value in enumerate(one.value)
    ]
    return text + "| value | number | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"


def services(file: FileDescriptorProto, comments: Comments) -> str:
    """Return the sections of a file's services."""
    text = ""
    for place, service in enumerate(file.service):
        full = f"{file.package}.{service.name}"
        text += f"## {service.name} {{ #{anchor(full)} }}\n\n{comments.head()} {comments(SERVICE, place)}\n\n"
        for index, method in enumerate(service.method):
            takes = ("stream of " if method.client_streaming else "") + typed(method.input_type)
            answers = ("stream of " if method.server_streaming else "") + typed(method.output_type)
            text += f"### {service.name}.{method.name} {{ #{anchor(f'{full}.{method.name}')} }}\n\n"
            text += f"{comments(SERVICE, place, MEMBER, index)}\n\n"
            text += f"`{full}/{method.name}` takes {takes}, answers {answers}.\n\n"
    return text


def pages() -> dict[str, str]:
    """Return the text of each page, one for each package, by its name in the folder without suffix."""
    made: dict[str, str] = {}
    messages: dict[str, str] = {}
    rows = []
    for file in described():
        comments = Comments(file)
        name = "-".join(file.package.split(".")[1:])
        made.setdefault(name, f"# gRPC: {file.package}\n\n")
        made[name] += services(file, comments)
        for service in file.service:
            methods = ", ".join(f"`{method.name}`" for method in service.method)
            full = f"{file.package}.{service.name}"
            rows.append(f"| [`{full}`]({name}.md#{anchor(full)}) | {methods} |")
        for index, one in enumerate(file.enum_type):
            messages[name] = messages.get(name, "") + enum(one, file.package, comments, (ENUM, index))
        for index, inner in enumerate(file.message_type):
            messages[name] = messages.get(name, "") + message(inner, file.package, comments, (MESSAGE, index))
    made = {name: text + messages.get(name, "") for name, text in made.items()}
    made["index"] = "# gRPC\n\n" + HEAD + "\n".join(rows) + "\n"
    return made


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, text in pages().items():
        files.append(File.generated(config, f"{FOLDER}/{name}" + ".md", content=text))
    return files

"""Write what REST answers as the client library's dataclasses, or with --check fail when they are not committed.

The gateway's openapi.json is the only source: a field that is new there is new here, or CI fails.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "libs" / "client" / "src" / "strongroom_client" / "resources.py"
TAGGED = ("Binding", "Tenant")  # answered with an ETag
SIMPLE = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "object": "dict[str, object]"}
HEAD = '''"""What REST answers, as frozen dataclasses. Made from openapi.json by scripts/client_resources.py.

Amounts are decimal texts, times are RFC 3339 texts in UTC; what is not known is None. Never edit this file.
"""

from dataclasses import dataclass
from typing import Literal
'''


def answered(document: dict[str, Any]) -> list[str]:
    """Return the names of the schemas that answers hold, whatever refers to another one after it."""
    schemas = document["components"]["schemas"]
    done: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in done and name != "Problem":
                visit(schemas[name])
                done.append(name)
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    for methods in document["paths"].values():
        for operation in methods.values():
            visit([answer for status, answer in operation["responses"].items() if status.startswith("2")])
    visit(schemas["Problem"])
    return done


def kind(schema: dict[str, Any]) -> str:
    """Return the annotation of one schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind(one) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return f"Literal[{', '.join(json.dumps(one) for one in schema.get('enum', [schema.get('const')]))}]"
    if schema.get("type") == "array":
        return f"tuple[{kind(schema['items'])}, ...]"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"dict[str, {kind(schema['additionalProperties'])}]"
    return {**SIMPLE, "null": "None"}[schema["type"]]


def dataclass(name: str, schema: dict[str, Any]) -> str:
    """Return the source of one dataclass."""
    summary = str(schema.get("description", name)).split("\n")[0]
    doc = "\n    ".join(textwrap.wrap(f'"""{summary}"""', 112))
    fields = [f"    {field}: {kind(one)}" for field, one in schema["properties"].items()]
    if name in TAGGED:
        fields.append("    etag: str | None = None  # of the answer that showed it alone; None in a list")
    return "\n".join(["", "", "@dataclass(frozen=True, slots=True)", f"class {name}:", f"    {doc}", "", *fields, ""])


def source() -> str:
    """Return the whole module, formatted."""
    document = json.loads((ROOT / "services" / "gateway" / "openapi.json").read_text())
    schemas = document["components"]["schemas"]
    made = [dataclass(name, schemas[name]) for name in answered(document) if not name.endswith("Page")]
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    done = subprocess.run(command, input=HEAD + "".join(made), capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def main() -> int:
    """Write in place, or compare."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(source())
        return 0
    if TARGET.read_text() == source():
        return 0
    sys.stderr.write(f"{TARGET.name} is not what openapi.json says: run `make client`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""A hook of the documentation site: the reference of REST, made of the gateway's openapi.json at each build.

The document is the only source: what is not in it is not here. Nothing of this is committed.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE: Final = Path(__file__).resolve().parent.parent / "services" / "gateway" / "openapi.json"
FOLDER: Final = "reference/rest"
CODE: Final = re.compile(r"`(\w+)`: ([^;]+)")
HEAD: Final = """Every call, made of the gateway's own description. What the words mean, and what a table cannot tell:
[the contract](../../contract.md). Every call brings an access token with the scope named.

| call | scope | does |
|---|---|---|
"""


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (method, path, operation) of every operation, as the document orders them."""
    found = []
    for path, methods in document["paths"].items():
        found += [(method.upper(), path, operation) for method, operation in methods.items()]
    return found


def scopes(operation: dict[str, Any], document: dict[str, Any]) -> str:
    """Return the scopes that open an operation, and whether it can be asked without a token."""
    needed = operation.get("security", document["security"])
    words = [f"`{scope}`" for one in needed for names in one.values() for scope in names]
    return ", ".join(words) + (", or none" if {} in needed else "")


def anchor(method: str, path: str) -> str:
    """Return the anchor of an operation."""
    return re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")


def cell(text: Any) -> str:
    """Return a text as one cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def kind(schema: dict[str, Any], page: str = "schemas.md") -> str:
    """Return the type of a value, with links to the schemas it is made of."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}]({page}#{name.lower()})"
    if parts := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(kind(one, page) for one in parts))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else None):
        return " ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}), page)}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return f"object of {kind(inner, page)}"
    return f"{schema.get('type', 'any')}{bounds(schema)}"


def bounds(schema: dict[str, Any]) -> str:
    """Return the limits of a value, in brackets; nothing where there are none."""
    names = {
        "minLength": "at least {} characters", "maxLength": "at most {} characters", "minimum": "from {}",
        "maximum": "to {}", "minItems": "at least {}", "maxItems": "at most {}", "pattern": "`{}`", "format": "{}",
    }  # fmt: skip
    said = [text.format(schema[name]) for name, text in names.items() if name in schema]
    return f" ({', '.join(said)})" if said else ""


def contents(holder: dict[str, Any]) -> str:
    """Return what a request or an answer carries."""
    carried = holder.get("content", {}).items()
    return " or ".join(f"`{media}` {kind(one['schema']) if 'schema' in one else ''}".strip() for media, one in carried)


def described(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    """Return the section of one operation."""
    lines = [f"## {operation['summary']} {{ #{anchor(method, path)} }}", "", f"`{method} {path}`", ""]
    lines += [operation.get("description", ""), "", f"Scope: {scopes(operation, document)}", ""]
    if parameters := operation.get("parameters"):
        lines += ["| parameter | in | type | needed | meaning |", "|---|---|---|---|---|"]
        for one in parameters:
            needed = "yes" if one.get("required") else "no"
            what = cell(kind(one["schema"]))
            lines.append(f"| `{one['name']}` | {one['in']} | {what} | {needed} | {cell(one.get('description', ''))} |")
        lines.append("")
    if "requestBody" in operation:
        lines += [f"Body: {contents(operation['requestBody'])}", ""]
    lines += ["| status | answer |", "|---|---|"]
    for status, answer in sorted(operation["responses"].items()):
        codes = CODE.findall(answer["description"])
        said = ", ".join(f"`{code}`" for code, _ in codes) if codes else answer["description"]
        carried = f": {contents(answer)}" if not codes and answer.get("content") else ""
        lines.append(f"| {status} | {cell(said + carried)} |")
    return "\n".join([*lines, "", ""])


def schema(name: str, one: dict[str, Any]) -> str:
    """Return the section of one schema."""
    lines = [f"## {name} {{ #{name.lower()} }}", "", one.get("description", ""), ""]
    if properties := one.get("properties"):
        lines += ["| field | type | needed | meaning |", "|---|---|---|---|"]
        for field, value in properties.items():
            needed = "yes" if field in one.get("required", []) else "no"
            lines.append(f"| `{field}` | {cell(kind(value))} | {needed} | {cell(value.get('description', ''))} |")
    else:
        lines.append(kind(one))
    return "\n".join([*lines, "", ""])


def pages() -> dict[str, str]:
    """Return the text of each page, by its name in the folder without suffix."""
    document = json.loads(SOURCE.read_text())
    made: dict[str, str] = {}
    rows: list[str] = []
    problems: dict[str, tuple[str, str]] = {}
    for method, path, operation in operations(document):
        tag = operation["tags"][0]
        name = tag.replace(" ", "-")
        made.setdefault(name, f"# REST: {tag}\n\n")
        made[name] += described(method, path, operation, document)
        link = f"{name}.md#{anchor(method, path)}"
        rows.append(f"| [`{method} {path}`]({link}) | {scopes(operation, document)} | {cell(operation['summary'])} |")
        for status, answer in operation["responses"].items():
            problems |= {code: (status, title) for code, title in CODE.findall(answer["description"])}
    made["index"] = "# REST\n\n" + HEAD + "\n".join(rows) + "\n"
    told = [f"| `{code}` | {status} | {title} |" for code, (status, title) in sorted(problems.items())]
    made["problems"] = "# REST: problems\n\n| code | status | title |\n|---|---|---|\n" + "\n".join(told) + "\n"
    schemas = document["components"]["schemas"]
    made["schemas"] = "# REST: schemas\n\n" + "".join(schema(name, one) for name, one in schemas.items())
    return made


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, text in pages().items():
        files.append(File.generated(config, f"{FOLDER}/{name}" + ".md", content=text))
    return files

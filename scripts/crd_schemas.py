"""Write tests/schemas/crds.json: closed JSON schemas of the kinds of KEDA, cert-manager and Prometheus that we apply.

Made from the types of the npm packages @kubernetes-models (MIT), which are generated from those projects' CRDs; without
their prose. Run it by hand with the node_modules folder that holds them; nothing at run time reads what it writes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "tests" / "schemas" / "crds.json"
KINDS: Final = {
    "keda": ("keda.sh/v1alpha1", ("ScaledObject", "TriggerAuthentication")),
    "cert-manager": ("cert-manager.io/v1", ("Certificate", "ClusterIssuer")),
    "prometheus-operator": ("monitoring.coreos.com/v1", ("PodMonitor", "PrometheusRule", "ServiceMonitor")),
}
# One of these apart: a comment, a text, a name, or a sign.
TOKEN: Final = re.compile(r'\s+|(/\*.*?\*/|//[^\n]*)|("(?:[^"\\]|\\.)*"|[\w$]+|[{}\[\]<>():;|?,=*])', re.DOTALL)
BASIC: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "any": {},
    "unknown": {},
    "null": {"type": "null"},
}
# Written by hand: metadata is closed but for what we use, and these two are no interfaces there.
GIVEN: Final[dict[str, dict[str, Any]]] = {
    "ObjectMeta": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    "IntOrString": {"type": ["string", "integer"]},
    "Quantity": {"type": ["string", "number"]},
}
Schema = dict[str, Any]


class Types:
    """The declarations of one file, read as schemas; other files are read when one of their names is met."""

    def __init__(self, file: Path, modules: Path) -> None:
        text = file.read_text()
        self._file, self._modules = file, modules
        self._imports = {
            name.strip(): source
            for names, source in re.findall(r"import \{([^}]*)\} from \"([^\"]+)\"", text)
            for name in names.split(",")
        }
        self._words = [found[2] for found in TOKEN.finditer(text) if found[2]]
        self._at = 0

    def of(self, name: str) -> Schema:
        """Return the schema of an exported interface or alias."""
        for at, word in enumerate(self._words):
            if word in ("interface", "type") and self._words[at + 1] == name:
                self._at = at + 2
                return self._interface() if word == "interface" else self._alias()
        raise LookupError(f"{name} is not declared in {self._file}")

    def _interface(self) -> Schema:
        bases = []
        if self._words[self._at] == "extends":
            while self._words[self._at] != "{":
                self._at += 1
                if self._words[self._at] not in (",", "{", "TypeMeta"):
                    bases.append(self._words[self._at])
        made = self._object()
        for base in bases:
            more = self._named(base)
            made["properties"] = {**more["properties"], **made["properties"]}
            made["required"] = sorted({*more["required"], *made["required"]})
        return made

    def _alias(self) -> Schema:
        self._take("=")
        return self._union()

    def _take(self, *expected: str) -> str:
        word = self._words[self._at]
        if expected and word not in expected:
            raise SyntaxError(f"{self._file}: {word!r} where {expected} was expected")
        self._at += 1
        return word

    def _object(self) -> Schema:
        self._take("{")
        made: Schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        while self._words[self._at] != "}":
            word = self._take()
            if word == "[":
                while self._take() != "]":
                    pass
                self._take(":")
                made["additionalProperties"] = self._union()
            else:
                optional = self._words[self._at] == "?"
                self._at += optional
                self._take(":")
                made["properties"][word.strip('"')] = self._union()
                made["required"] += [] if optional else [word.strip('"')]
            self._take(";")
        self._take("}")
        return made

    def _union(self) -> Schema:
        options = [self._single()]
        while self._words[self._at] == "|":
            self._take("|")
            options.append(self._single())
        if len(options) == 1:
            return options[0]
        if all("const" in option for option in options):
            return {"enum": [option["const"] for option in options]}
        return {"anyOf": options}

    def _single(self) -> Schema:
        word = self._words[self._at]
        if word == "{":
            return self._object()
        self._take()
        if word == "(":
            made = self._union()
            self._take(")")
        elif word in ("Array", "ReadonlyArray"):
            self._take("<")
            made = {"type": "array", "items": self._union()}
            self._take(">")
        elif word.startswith('"'):
            made = {"const": json.loads(word)}
        else:
            made = BASIC.get(word) or ({} if word in BASIC else self._named(word))
        return made

    def _named(self, name: str) -> Schema:
        """Return the schema of a name that this file declares or another one exports, perhaps under a longer name."""
        source = self._imports.get(name)
        if source is None:
            return Types(self._file, self._modules).of(name)
        short = source.rpartition("/")[2].removesuffix(".js")
        if short in GIVEN:
            return GIVEN[short]
        home = self._file.parent if source.startswith(".") else self._modules
        return Types(home / f"{source.removesuffix('.js')}.d.ts", self._modules).of(f"I{short}")


def main(modules: Path) -> None:
    """Write the schemas of every kind, with where each comes from."""
    made: dict[str, Schema] = {}
    origin = []
    for package, (group, kinds) in KINDS.items():
        folder = modules / "@kubernetes-models" / package
        facts = json.loads((folder / "package.json").read_text())
        origin.append(f"{facts['name']} {facts['version']} ({facts['license']})")
        for kind in kinds:
            schema = Types(folder / f"{group}/{kind}.d.ts", modules).of(f"I{kind}")
            schema["properties"].pop("status", None)
            schema["required"] = sorted({*schema["required"], "metadata"})
            made[f"{group}/{kind}"] = schema
    TARGET.parent.mkdir(exist_ok=True)
    document = {"origin": f"npm: {', '.join(origin)}; types only, by scripts/crd_schemas.py", "schemas": made}
    TARGET.write_text(json.dumps(document, indent=None, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

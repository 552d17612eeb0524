"""Write what each member installs, as CycloneDX 1.6, and the table of all packages and licences in docs/licences.md.

Reads the locks and the metadata of the development environment, which holds every package at the locked version. Two
runs write the same bytes: no time and no random number is in them.
"""

import json
import re
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs/licences.md"
MEMBERS: Final = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
# Long names of the metadata that SPDX has short ones for.
SHORT: Final = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
HEAD: Final = """\
# Licences

What the members install, on Linux and Python 3.11, from their locks: written by `make sbom`, compared by a test.
Strongroom's own is in `LICENSE`. `make sbom` also writes a list for each member, as CycloneDX, to `build/sbom`.

| package | version | licence | members |
|---|---|---|---|
"""


def locked(member: Path) -> dict[str, str]:
    """Return the versions of the packages that a member's lock has this platform install, by name."""
    lines = (member / "requirements.txt").read_text().splitlines()
    wanted = [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]
    return {
        one.name: str(one.specifier).removeprefix("==") for one in wanted if not one.marker or one.marker.evaluate()
    }


def own(member: Path) -> set[str]:
    """Return the names of our packages that a member needs, its own included."""
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    needed = {name for name in project["dependencies"] if name.startswith("strongroom-")}
    folders = [folder for folder in MEMBERS if f"strongroom-{folder.name}" in needed]
    return {project["name"]}.union(*map(own, folders))


def licence(package: Distribution) -> str:
    """Return the licence that a package's metadata names, by its short name where there is one."""
    facts = package.metadata
    if "License-Expression" in facts:
        return facts["License-Expression"]
    classified = [
        each.rpartition(" :: ")[2]
        for each in facts.get_all("Classifier") or []
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    said = facts["License"].strip() if "License" in facts else ""
    short = said if said and "\n" not in said and len(said) < 40 else ""
    name = short or " AND ".join(classified) or "see the package"
    return SHORT.get(name, name)


def bom(member: Path) -> dict[str, Any]:
    """Return a member's list as a CycloneDX document."""
    versions = {name: distribution(name).version for name in own(member)} | locked(member)
    components = []
    for name, version in sorted(versions.items()):
        package = distribution(name)
        if package.version != version:
            raise LookupError(f"{name} is here as {package.version} and locked as {version}: run `make env`")
        purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        components.append({**component, "licenses": [{"license": {"name": licence(package)}}]})
    root = {
        "type": "application",
        "name": f"strongroom-{member.name}",
        "version": versions[f"strongroom-{member.name}"],
    }
    facts = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": root}}
    return {**facts, "components": components}


def page() -> str:
    """Return the page of licences."""
    users: dict[tuple[str, str], list[str]] = {}
    for member in MEMBERS:
        for entry in locked(member).items():
            users.setdefault(entry, []).append(member.name)
    lines = [
        f"| {name} | {version} | {licence(distribution(name))} | {', '.join(members)} |\n"
        for (name, version), members in sorted(users.items())
    ]
    return HEAD + "".join(lines)


def main(folder: Path) -> None:
    """Write the lists into `folder`, and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for member in MEMBERS:
        (folder / f"{member.name}.cdx.json").write_text(json.dumps(bom(member), indent=1) + "\n")
    PAGE.write_text(page())


if __name__ == "__main__":
    main(ROOT / sys.argv[1])

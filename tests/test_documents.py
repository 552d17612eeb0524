"""What the documents say, compared with the code: lists, tables, links and names that would rot unseen."""

import contextlib
import fnmatch
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from common.config import ServiceSettings, Settings
from common.decidable import DECIDABLE, USUAL_ERRORS
from gateway.notices import CODES as NOTICES
from gateway.problems import TYPES
from gateway.settings import DelivererSettings, GatewaySettings
from strongroom.types.v1 import binding_pb2
from vault.freezes_servicer import CALLERS as FREEZES_CALLERS
from vault.revocations_servicer import CALLERS as REVOCATIONS_CALLERS
from vault.servicer import CALLERS as VAULT_CALLERS
from vault.settings import ProvisionSettings, VaultSettings
from vault.tenants_servicer import CALLERS as TENANTS_CALLERS
from vault.trail_servicer import CALLERS as TRAIL_CALLERS
from vault.webhooks_servicer import CALLERS as WEBHOOKS_CALLERS
from verifier.api import CALLERS as VERIFIER_CALLERS
from verifier.enrolment import KEYS_LIMIT
from verifier.findings import TEMPLATES
from verifier.rights import CLASSIC, OPTIONAL, OPTIONAL_UNIFIED, UNIFIED, UNIFIED_READING
from verifier.settings import ApiSettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[1]
IGNORED = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]
# Put together here, so that this file does not hold them.
REGISTRIES = [
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"))
]
REGISTRIES += [".".join(parts) for parts in (("docker", "io"), ("ghcr", "io"), ("quay", "io"), ("golang", "org"))]


def document(name: str) -> str:
    """Return the text of a document."""
    return (ROOT / name).read_text()


def section(text: str, begin: str, end: str = "\n## ") -> str:
    """Return what stands between the line `begin` and the next `end`."""
    rest = text.split(f"\n{begin}\n", 1)[1]
    return rest.split(end, 1)[0]


def words(text: str) -> set[str]:
    """Return every single word in backticks."""
    return {word for quoted in re.findall(r"`([^`\n]+)`", text) for word in quoted.split()}


def own_files() -> list[Path]:
    """Return every file that is ours: whatever .gitignore does not name."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [one for one in folders if not any(fnmatch.fnmatch(one, pattern) for pattern in IGNORED)]
        kept = (one for one in files if not any(fnmatch.fnmatch(one, pattern) for pattern in IGNORED))
        found += [Path(folder, one) for one in kept]
    return found


def texts() -> dict[str, str]:
    """Return the text of each of our files that is text, by its path from the root."""
    found = {}
    for path in OWN:
        with contextlib.suppress(UnicodeDecodeError):
            found[str(path.relative_to(ROOT))] = path.read_text()
    return found


OWN = own_files()
DOCUMENTS = [path for path in OWN if path.suffix == ".md"]
# A document and its numbered headings, as in "docs/bitget.md 1.2, 1.4-1.6 and 3"; a line may break in between.
HEADING = r"\d+(?:\.\d+)*"
CITATION = re.compile(rf"\b(docs/[\w/-]+\.md)[\s#]+({HEADING}(?:(?:-|,|,? and)[\s#]*{HEADING})*)")


def test_the_threat_model_lists_exactly_the_files_that_uncover_a_secret() -> None:
    sources = [path for path in OWN if path.suffix == ".py" and "src" in path.parts and "strongroom" not in path.parts]
    calling = {str(path.relative_to(ROOT)) for path in sources if re.search(r"[\w)\]]\.reveal\(\)", path.read_text())}
    listed = section(document("docs/threat-model.md"), "## Where secrets are uncovered")
    assert {word for word in words(listed) if word.endswith(".py")} == calling


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = {word for word in words(document("docs/threat-model.md")) if word.startswith("test_")}
    tests = [path.read_text() for path in OWN if path.name.startswith("test_") and path.suffix == ".py"]
    existing = {name for text in tests for name in re.findall(r"def (test_\w+)", text)}
    assert named - existing == set()
    assert len(named) > 50


def test_no_file_holds_the_address_of_a_package_registry() -> None:
    assert [(name, host) for name, text in texts().items() for host in REGISTRIES if host in text] == []


def test_no_lock_holds_any_address() -> None:
    locks = [path for path in OWN if path.name == "requirements.txt" or path.parent.name == "requirements"]
    assert len(locks) >= 8
    for lock in locks:
        lines = lock.read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith(("-i", "--index", "--extra", "--find"))]
        assert "--hash=sha256:" in lock.read_text(), lock


LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as the places where it is shown make them."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", plain.strip().lower()).replace(" ", "-")
        number = sum(one == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", one) is not None for one in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_in_it(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(prose):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        leads = path.parent / name if name else path
        assert leads.exists(), target
        assert not anchor or anchor in anchors(leads), target


def test_the_places_elsewhere_that_documents_lead_to_are_known() -> None:
    # Fetched by nobody here: a new one is looked at by whoever adds it.
    led = {target for path in DOCUMENTS for target in LINK.findall(path.read_text()) if "://" in target}
    assert led == {"https://www.standardwebhooks.com/"}


def test_every_document_that_a_source_names_exists() -> None:
    # What makes the site names pages of it, which the strict build checks.
    site = ("mkdocs.yml", "scripts/docs_")
    sources = {name: text for name, text in texts().items() if not name.endswith(".md") and not name.startswith(site)}
    named = {(name, cited) for name, text in sources.items() for cited in re.findall(r"[\w./-]*\w\.md\b", text)}
    assert {(name, cited) for name, cited in named if not (ROOT / cited).is_file()} == set()
    assert len(named) > 10


def test_every_heading_that_is_cited_by_its_number_exists() -> None:
    cited = {
        (name, page, number)
        for name, text in texts().items()
        for page, numbers in CITATION.findall(text)
        for number in re.findall(HEADING, numbers)
    }
    headings = {
        page: set(re.findall(rf"^#+ ({HEADING}) ", document(page), re.MULTILINE))
        for page in {page for _, page, _ in cited}
    }
    assert {(name, page, number) for name, page, number in cited if number not in headings[page]} == set()
    assert len(cited) > 10


SETTINGS: list[tuple[str, type[Settings], bool]] = [
    ("All services (", ServiceSettings, False),
    ("Gateway:", GatewaySettings, True),
    ("`gateway deliver`,", DelivererSettings, True),
    ("Vault service:", VaultSettings, True),
    ("`python -m vault provision`:", ProvisionSettings, False),
    ("`verifier api`:", ApiSettings, True),
    ("`verifier worker`:", WorkerSettings, True),
]


@pytest.mark.parametrize(("begin", "model", "beyond"), SETTINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_tables_of_settings_are_those_of_the_processes(begin: str, model: type[Settings], beyond: bool) -> None:
    text = document("docs/operations.md").split(f"\n{begin}", 1)[1].split("|---|---|---|\n", 1)[1].split("\n\n", 1)[0]
    told = {}
    for row in text.splitlines():
        name, usual, _ = (cell.strip() for cell in row.strip("|").split("|", 2))
        told[name.strip("`").removeprefix("STRONGROOM_").lower()] = usual.strip("`")
    common = set(ServiceSettings.model_fields) if beyond else set()
    fields = {name: field for name, field in model.model_fields.items() if name not in common}
    assert told.keys() == fields.keys()
    for name, field in fields.items():
        assert (told[name] == "required") == field.is_required(), name
        if not field.is_required() and field.default not in (None, ()):
            assert told[name] == str(field.default), name


def test_the_contract_names_every_route() -> None:
    paths = json.loads(document("services/gateway/openapi.json"))["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    told = section(document("docs/contract.md"), "## REST")
    assert set(re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) /v1[^`]*)`", told, re.MULTILINE)) == served


def test_the_contract_names_every_problem_with_its_status() -> None:
    told: dict[str, str] = {}
    for row in re.findall(
        r"^\| (\d{3}[^|]*)\| (.*) \|$", section(document("docs/contract.md"), "## Problems"), re.MULTILINE
    ):
        for code in words(row[1]):
            told[code] = row[0]
    assert {code for code in TYPES if str(TYPES[code][0]) not in told.get(code, "")} == set()
    assert told.keys() - TYPES.keys() <= {"Retry-After", "Idempotency-Key"}


def test_the_contract_names_who_may_call_each_method() -> None:
    rows = re.findall(r"^\| `(strongroom\.\S+)` \| ([a-z, ]+) \|", document("docs/contract.md"), re.MULTILINE)
    told = {f"/{method}": frozenset(callers.replace(" ", "").split(",")) for method, callers in rows}
    bulk = {**FREEZES_CALLERS, **REVOCATIONS_CALLERS, **WEBHOOKS_CALLERS}
    assert told == {**VAULT_CALLERS, **TENANTS_CALLERS, **TRAIL_CALLERS, **bulk, **VERIFIER_CALLERS}


def test_the_contract_names_every_status_reason_and_finding() -> None:
    text = document("docs/contract.md")
    status, findings, planned = (
        section(text, f"## {name}") for name in ("Status", "Findings", "Planned, and not there")
    )
    statuses = {name.removeprefix("STATUS_").lower() for name in dict(binding_pb2.Status.items())} - {"unspecified"}
    reasons = {name.removeprefix("REASON_").lower() for name in dict(binding_pb2.Reason.items())} - {"unspecified"}
    rows = {word for row in re.findall(r"^\| (`.*?) \|", status, re.MULTILINE) for word in words(row)}
    assert rows | (words(planned) & reasons) == statuses | reasons
    codes = {word for row in re.findall(r"^\| (`.*?) \|", findings, re.MULTILINE) for word in words(row)}
    assert codes - reasons - TEMPLATES.keys() == NOTICES - TEMPLATES.keys()
    assert TEMPLATES.keys() - codes - reasons - words(planned) == set()


def test_the_contract_names_the_findings_that_rules_decide_and_what_they_are_without_a_rule() -> None:
    findings = section(document("docs/contract.md"), "## Findings")
    rows = re.findall(r"^\| `(\w+)` \| rules, (\w+) \| (.*) \|$", findings, re.MULTILINE)
    assert {code for code, _, _ in rows} == DECIDABLE
    milder = {code: TEMPLATES[code].severity.replace("error", "warning") for code in DECIDABLE}
    assert {code: severity for code, severity, _ in rows} == milder
    assert {code for code, _, tells in rows if "(usually an error)" in tells} == USUAL_ERRORS


def test_the_guide_and_the_findings_name_permissions_and_limits_alike() -> None:
    guide = json.loads(document("services/gateway/src/gateway/data/bitget.json"))
    names = {name for modes in guide["permissions"].values() for mode in modes.values() for name in mode}
    told = {name.split(" (")[0] for name in names} | set(guide["unneeded"])
    rights = [*OPTIONAL_UNIFIED.values(), *(right for right, _ in OPTIONAL.values()), UNIFIED, UNIFIED_READING]
    rights += [right for needed in CLASSIC.values() for right in needed.values()]
    assert {re.split(r" \(|:", right)[0] for right in rights} - told == set()
    assert guide["limits"]["keys_per_account"] == KEYS_LIMIT


def test_the_customers_page_is_the_guide_of_the_gateway_in_its_steps_permissions_limits_and_errors() -> None:
    guide = json.loads(document("services/gateway/src/gateway/data/bitget.json"))
    page = document("docs/how-to/bitget-key.md")
    steps = re.findall(r"^\d\. \*\*(.+?)\.\*\*", page, re.MULTILINE)
    assert steps == [step["title"] for step in guide["steps"]]
    for scope, modes in guide["permissions"].items():
        row = re.search(rf"^\| {scope.title()} \| (.*) \| (.*) \|$", page, re.MULTILINE)
        assert row is not None
        assert row[1] == "; ".join(modes["classic"])
        assert row[2] in ("; ".join(modes["unified"]), "the same")
    errors = re.findall(r"^\| ([A-Z][^|]+) \| [A-Z]", page.split("\n## When it is not Connected\n")[1], re.MULTILINE)
    assert errors == [*(one["title"] for one in guide["errors"]), "Temporary issue"]
    limits = guide["limits"]
    for number in (limits["keys_per_account"], limits["addresses_per_key"]):
        assert f" {number}" in page
    assert limits["passphrase_rule"].split(",")[0] in page


def test_the_table_of_packages_is_what_the_members_pin() -> None:
    pinned = set()
    for path in OWN:
        if path.name == "pyproject.toml":
            parsed = tomllib.loads(path.read_text())
            groups = [parsed["project"].get("dependencies", []), *parsed.get("dependency-groups", {}).values()]
            pinned |= {
                entry.replace("==", " ") for group in groups for entry in group if not entry.startswith("strongroom")
            }
    told = " ".join(document("docs/adr/0003-packages.md").split())
    assert {entry for entry in pinned if entry not in told} == set()


def test_each_decision_is_one_numbered_page_with_its_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: ")
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Decision", "Why", "Weighed", "Consequence"], page.name
        assert len(text.splitlines()) <= 60, page.name


def test_each_item_of_the_bar_that_is_called_held_is_proven_by_a_test_that_names_it() -> None:
    sources = [path.read_text() for path in OWN if path.suffix == ".py" and path.name.startswith("test_")]
    marks = [mark for text in sources for mark in re.findall(r"mark\.bar\(([\d, ]+)\)", text)]
    named = {int(number) for mark in marks for number in mark.split(",")}
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", document("docs/bar.md"), re.MULTILINE)
    held = {int(number) for number, tick in rows if tick.strip()}
    assert sorted(int(number) for number, _ in rows) == list(range(1, 61))
    assert held <= named <= set(range(1, 61))

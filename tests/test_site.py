"""The documentation as a site: built once, strictly; complete, and asking nobody else for anything."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What a browser loads by itself: a link that a person follows is none of it.
LOADING = {"script", "img", "iframe", "source", "audio", "video", "embed", "object", "track", "input", "form"}
LOADING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class Markup(HTMLParser):
    """What one page loads, where its links lead, the anchors it has, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.policies: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag in LOADING:
            self.loads += [found[name] for name in ("src", "srcset", "data", "action", "poster") if name in found]
        if tag == "link" and LOADING_LINKS & set(found.get("rel", "").split()):
            self.loads.append(found["href"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(found["content"])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the site as `make docs` does, into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Markup]:
    """Every page by its path."""
    return {path.relative_to(site).as_posix(): Markup(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_document_is_a_page(pages: dict[str, Markup]) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert written <= pages.keys()
    assert {"index.html", "contributing.html", "changelog.html", "security.html", "simulator.html"} <= pages.keys()


def test_no_page_loads_anything_from_another_place(site: Path, pages: dict[str, Markup]) -> None:
    foreign = re.compile(r"(?:\w+:)?//")
    assert [(name, one) for name, page in pages.items() for one in page.loads if foreign.match(one)] == []
    styles = {path.name: path.read_text() for path in site.rglob("*.css")}
    loading = re.compile(r"url\(\s*[\"']?(?:https?:)?//|@import")
    assert [name for name, text in styles.items() if loading.search(text)] == []
    assert len(pages) > 60
    assert styles


def test_every_page_forbids_its_browser_any_other_place(pages: dict[str, Markup]) -> None:
    for name, page in pages.items():
        assert len(page.policies) == 1, name
        assert page.policies[0].startswith("default-src 'self'; ")
        assert "http" not in page.policies[0]
        assert "*" not in page.policies[0]


def test_every_link_of_the_site_leads_to_a_page_and_a_place_in_it(site: Path, pages: dict[str, Markup]) -> None:
    lost = []
    for name, page in pages.items():
        if name == "404.html":  # served at any address, so its links begin at the root
            continue
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", target):
                continue
            path = (site / name).parent.joinpath(target).resolve() if target else site / name
            path = path / "index.html" if path.is_dir() else path
            known = pages.get(path.relative_to(site.resolve()).as_posix()) if target else page
            if not path.is_file() or (anchor and known is not None and anchor not in known.anchors):
                lost.append((name, link))
    assert lost == []


def test_each_operation_of_rest_is_told_with_scope_parameters_bodies_answers_and_problems(
    pages: dict[str, Markup],
) -> None:
    document = json.loads((ROOT / "services" / "gateway" / "openapi.json").read_text())
    told = {name: page for name, page in pages.items() if name.startswith("reference/rest/")}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            call = f"{method.upper()} {path}"
            tag = operation["tags"][0].replace(" ", "-")
            section = told[f"reference/rest/{tag}.html"].text.split(f"\n{call}\n", 1)
            assert len(section) == 2, call
            rest = re.split(r"\n(?:GET|POST|PUT|PATCH|DELETE) /v1", section[1], maxsplit=1)[0]
            named = {one["name"] for one in operation.get("parameters", [])}
            named |= {scope for one in operation["security"] for scope in one.get("token", [])}
            named |= set(re.findall(r"`(\w+)`:", str(operation["responses"])))
            named |= set(operation["responses"])
            whole = json.dumps(operation)
            named |= set(re.findall(r"schemas/(\w+)", whole)) - {"Problem"}
            assert {word for word in named if word not in rest} == set(), call
            assert call in told["reference/rest/index.html"].text
    schemas = told["reference/rest/schemas.html"]
    for name, schema in document["components"]["schemas"].items():
        assert name.lower() in schemas.anchors
        assert {field for field in schema.get("properties", {}) if field not in schemas.text} == set()


def test_each_method_and_each_message_of_grpc_is_told(pages: dict[str, Markup]) -> None:
    text = "".join(page.text for name, page in pages.items() if name.startswith("reference/grpc/"))
    anchors = {anchor for name, page in pages.items() if name.startswith("reference/grpc/") for anchor in page.anchors}
    methods = 0
    for path in (ROOT / "protos").rglob("*.proto"):
        source = path.read_text()
        package = re.search(r"^package ([\w.]+);", source, re.MULTILINE)
        assert package is not None
        for service in re.findall(r"^service (\w+)", source, re.MULTILINE):
            for method in re.findall(r"^  rpc (\w+)\(", source, re.MULTILINE):
                assert f"{package[1]}.{service}/{method}" in text
                methods += 1
        for name in re.findall(r"^(?:message|enum) (\w+)", source, re.MULTILINE):
            assert f"{package[1]}.{name}".lower().replace(".", "-") in anchors
    assert methods > 30
    assert "Sign a request, send it and stream the exchange's answer back" in text

"""A hook of the documentation site: pages that lie elsewhere in the project, links between all of them, and the policy.

A link in a document is as it works in the project's folders; here it becomes one that works in the site. Never changes
a word of a document.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
# What is no file below docs/, and its page; a folder and the page that stands for it.
ELSEWHERE: Final = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "SECURITY.md": "security",
    "libs/simulator/README.md": "simulator",
}
FOLDERS: Final = {"docs/adr": "adr/index", "protos": "reference/grpc/index"}
LINK: Final = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")
# A browser loads nothing from anywhere else, whatever the theme may come to ask for. Its own scripts are partly inline.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)


def place(path: str) -> str:
    """Return where the site has a file of the project, both relative with `/`."""
    if page := ELSEWHERE.get(path) or FOLDERS.get(path):
        return page + ".md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}"


def targets(text: str, path: str) -> list[str]:
    """Return what the relative links of a document lead to, as paths in the project."""
    found = (target for _, target, _ in LINK.findall(text) if "://" not in target)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) for target in found]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, every file that a document links to, and the list of decisions."""
    for path in ELSEWHERE:
        files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
    decisions = sorted(ROOT.glob("docs/adr/*.md"))
    titles = [page.read_text().split("\n", 1)[0].removeprefix("# ") for page in decisions]
    rows = [f"- [{title}]({page.name})" for title, page in zip(titles, decisions, strict=True)]
    text = "# Decisions\n\nWhy it is built this way, one page for each choice.\n\n" + "\n".join(rows) + "\n"
    files.append(File.generated(config, "adr/index" + ".md", content=text))
    for document in [file for file in files.documentation_pages() if file.abs_src_path is not None]:
        path = Path(str(document.abs_src_path)).relative_to(ROOT).as_posix()
        for target in targets(document.content_string, path):
            if (ROOT / target).is_file() and files.get_file_from_path(place(target)) is None:
                files.append(File.generated(config, place(target), abs_src_path=str(ROOT / target)))
    config.nav = opened(config.nav, sorted(file.src_uri for file in files.documentation_pages()))
    return files


def opened(item: Any, pages: list[str]) -> Any:
    """Return a part of the navigation with the pages in place of each folder, the index first."""
    if isinstance(item, list):
        return [opened(one, pages) for one in item]
    if isinstance(item, dict):
        return {title: opened(one, pages) for title, one in item.items()}
    if not item.endswith("/"):
        return item
    return sorted(
        (page for page in pages if page.startswith(item)), key=lambda page: (not page.endswith("index.md"), page)
    )


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Return the document with its links leading to pages and files of the site."""
    if page.file.abs_src_path is None:
        return markdown
    folder = Path(page.file.abs_src_path).relative_to(ROOT).parent.as_posix()
    here = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        before, target, after = link.groups()
        if "://" in target:
            return link[0]
        return before + posixpath.relpath(place(posixpath.normpath(posixpath.join(folder, target))), here) + after

    return LINK.sub(moved, markdown)


def on_post_page(output: str, **_: object) -> str:
    """Put the policy into a page."""
    return output.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)


def on_post_template(output: str, **_: object) -> str:
    """Put the policy into what is no page, such as the one for addresses that do not exist."""
    return on_post_page(output)

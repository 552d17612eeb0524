"""The alerts: each fires and clears, is explained, and asks for nothing that no process tells."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy/observability"
HEADINGS = ["## What it means", "## How to see it", "## What to do", "## How to prove that it is over"]
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}
CASES = {case["name"]: case for case in yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]}


def known() -> set[str]:
    """Return every metric of the table, as it is asked for."""
    table = (ROOT / "docs/metrics.md").read_text()
    found = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))
    parts = {
        name + part for name, kind in found.items() if kind == "histogram" for part in ("_bucket", "_sum", "_count")
    }
    return {name for name, kind in found.items() if kind != "histogram"} | parts | {"process_resident_memory_bytes"}


def asked(query: str) -> set[str]:
    return set(re.findall(r"\b(?:gateway|strongroom|process)_\w+", query))


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, which tests alerts, is not on this machine (Debian's package prometheus)")
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_rules_are_those_of_prometheus_itself() -> None:
    done = promtool("check", "rules", "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_clears() -> None:
    done = promtool("test", "rules", "alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", RULES)
def test_an_alert_that_never_fires_or_never_clears_would_be_found(name: str, tmp_path: Path) -> None:
    cases = {**yaml.safe_load((FOLDER / "alerts_test.yaml").read_text()), "tests": [CASES[name]]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(cases))
    for broken in ("vector(1) < 0", "vector(1) > 0"):
        rule = {**RULES[name], "expr": broken}
        (tmp_path / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
        assert promtool("test", "rules", "case.yaml", folder=tmp_path).returncode != 0


def test_each_alert_has_a_case_that_fires_it_and_one_that_clears_it() -> None:
    assert list(CASES) == list(RULES)
    for name, case in CASES.items():
        expected = [(one["alertname"], bool(one["exp_alerts"])) for one in case["alert_rule_test"]]
        assert expected == [(name, True), (name, False)]


def test_each_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() -> None:
    assert len(RULES) > 20
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"].endswith("."), name
        page, words = rule["annotations"]["runbook"], re.findall("[A-Z][a-z]+", name)
        assert page == f"docs/runbooks/{'-'.join(words).lower()}.md"
        text = (ROOT / page).read_text()
        assert text.startswith(f"# {name}\n")
        assert re.findall("^## .*", text, re.MULTILINE) == HEADINGS, name
        assert f"```promql\n{rule['expr'].strip()}\n```" in text, f"{page} shows another rule"
        assert f"Severity {rule['labels']['severity']}." in text, name


def test_alerts_runbooks_and_dashboard_ask_for_metrics_that_are_listed() -> None:
    names = known()
    for name, rule in RULES.items():
        assert asked(rule["expr"]), name
        assert asked(rule["expr"]) <= names, name
        text = (ROOT / rule["annotations"]["runbook"]).read_text()
        assert asked(text) <= names, name
    panels = [one for one in json.loads((FOLDER / "dashboard.json").read_text())["panels"] if one["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) > 20
    for query in queries:
        assert asked(query), query
        assert asked(query) <= names, query


def test_what_is_made_of_the_alerts_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/observability.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = yaml.safe_load((ROOT / "deploy/k8s/base/alerts.yaml").read_text())
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == yaml.safe_load((FOLDER / "alerts.yaml").read_text())


def test_every_page_of_an_alert_belongs_to_one() -> None:
    pages = {
        path
        for path in ROOT.glob("docs/runbooks/*.md")
        if HEADINGS[0] in path.read_text() and "promql" in path.read_text()
    }
    assert pages == {ROOT / rule["annotations"]["runbook"] for rule in RULES.values()}

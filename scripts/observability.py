"""Write, or with --check compare, the PrometheusRule of Kubernetes, made of deploy/observability, and the dashboard.

The alerts are written once, as a plain rule file; the dashboard's panels are the table below, on metrics of
docs/metrics.md alone.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
ALERTS: Final = ROOT / "deploy" / "observability" / "alerts.yaml"
RULE: Final = ROOT / "deploy" / "k8s" / "base" / "alerts.yaml"
DASHBOARD: Final = ROOT / "deploy" / "observability" / "dashboard.json"
HEAD: Final = """# Made of deploy/observability/alerts.yaml by `make observability`: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: { name: strongroom }
spec:
"""
WIDTH: Final = 24
PANELS_ABREAST: Final = 3
HEIGHT: Final = 7

Panel = tuple[str, str, str, str]  # title, unit, legend, query
ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "What tenants see": (
        ("Requests", "reqps", "{{status}}", "sum by (status) (rate(gateway_requests_total[$__rate_interval]))"),
        (
            "Slowest of a hundred",
            "s",
            "{{route}}",
            "histogram_quantile(0.99, sum by (le, route)"
            " (rate(gateway_request_duration_seconds_bucket[$__rate_interval])))",
        ),
        ("Open event streams", "short", "streams", "sum(gateway_event_streams)"),
        ("Binds", "cps", "{{outcome}}", "sum by (outcome) (rate(strongroom_binds_total[$__rate_interval])) > 0"),
        (
            "Verdicts",
            "cps",
            "{{status}} {{reason}}",
            "sum by (status, reason) (rate(strongroom_verdicts_total[$__rate_interval]))",
        ),
        (
            "Events late by (99 of a hundred)",
            "s",
            "lag",
            "histogram_quantile(0.99, sum by (le) (rate(strongroom_event_lag_seconds_bucket[$__rate_interval])))",
        ),
    ),
    "Custody": (
        (
            "Signatures",
            "cps",
            "{{purpose}} {{rule}} {{outcome}}",
            "sum by (purpose, rule, outcome) (rate(strongroom_signatures_total[$__rate_interval]))",
        ),
        (
            "Vault: slowest of a hundred",
            "s",
            "{{operation}}",
            "histogram_quantile(0.99, sum by (le, operation)"
            " (rate(strongroom_vault_request_duration_seconds_bucket[$__rate_interval])))",
        ),
        (
            "Vault: calls that failed",
            "cps",
            "{{operation}} {{outcome}}",
            "sum by (operation, outcome)"
            ' (rate(strongroom_vault_requests_total{outcome!~"done|missing"}[$__rate_interval])) > 0',
        ),
        ("Since the last canary", "s", "{{instance}}", "time() - strongroom_canary_last_success_timestamp_seconds"),
        ("Life left of the token", "s", "{{instance}}", "strongroom_vault_token_life_seconds"),
        (
            "Audit: slowest write of a hundred",
            "s",
            "{{instance}}",
            "histogram_quantile(0.99, sum by (le, instance)"
            " (rate(strongroom_audit_append_duration_seconds_bucket[$__rate_interval])))",
        ),
        (
            "Audit: failures",
            "short",
            "{{instance}}",
            "increase(strongroom_audit_append_failures_total[$__rate_interval])",
        ),
        (
            "Tidied up",
            "short",
            "{{finding}}",
            "sum by (finding) (increase(strongroom_tidied_total[$__rate_interval])) > 0",
        ),
        ("Certificates end in", "s", "{{instance}}", "strongroom_certificate_expires_timestamp_seconds - time()"),
    ),
    "The exchange": (
        (
            "Calls",
            "cps",
            "{{lane}} {{code}}",
            "sum by (lane, code) (rate(strongroom_exchange_requests_total[$__rate_interval])) > 0",
        ),
        (
            "Slowest of a hundred",
            "s",
            "{{lane}}",
            "histogram_quantile(0.99, sum by (le, lane)"
            " (rate(strongroom_exchange_request_duration_seconds_bucket[$__rate_interval])))",
        ),
        ("Clock ahead of ours", "s", "{{instance}}", "strongroom_exchange_clock_offset_seconds"),
        (
            "Turns",
            "cps",
            "{{lane}} {{outcome}}",
            "sum by (lane, outcome) (rate(strongroom_budget_turns_total[$__rate_interval])) > 0",
        ),
        ("Calls ahead of the rate", "s", "{{part}}", "max by (part) (strongroom_budget_ahead_seconds)"),
        ("Address shut out", "short", "shut", "max(strongroom_budget_address_shut)"),
    ),
    "Verification and webhooks": (
        ("Jobs waiting", "short", "{{queue}}", "max by (queue) (strongroom_jobs_waiting)"),
        ("Oldest job", "s", "{{queue}}", "max by (queue) (strongroom_jobs_oldest_seconds)"),
        (
            "Verifications",
            "cps",
            "{{outcome}}",
            "sum by (outcome) (rate(strongroom_verifications_total[$__rate_interval]))",
        ),
        (
            "Since the last round",
            "s",
            "{{kind}}",
            "time() - max by (kind) (strongroom_reconcile_last_round_timestamp_seconds)",
        ),
        (
            "Webhook attempts",
            "cps",
            "{{outcome}}",
            "sum by (outcome) (rate(strongroom_webhook_attempts_total[$__rate_interval]))",
        ),
        ("Webhooks overdue", "s", "overdue", "max(strongroom_webhook_overdue_seconds)"),
    ),
    "Processes": (
        ("Ready", "short", "{{instance}}", "strongroom_ready"),
        ("Memory", "bytes", "{{instance}}", "process_resident_memory_bytes"),
        (
            "Calls inside that failed",
            "cps",
            "{{method}} {{code}}",
            'sum by (method, code) (rate(strongroom_rpc_server_calls_total{code!="OK"}[$__rate_interval])) > 0',
        ),
    ),
}


def rule() -> str:
    """Return the PrometheusRule: the plain rules, one step further in."""
    lines = [line for line in ALERTS.read_text().splitlines() if not line.startswith("#")]
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


def dashboard() -> str:
    """Return the dashboard as Grafana imports it; it asks which Prometheus to use."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "panels": []})
        top += 1
        for number, panel in enumerate(row):
            line, column = divmod(number, PANELS_ABREAST)
            panels.append(_panel(len(panels) + 1, panel, column * WIDTH // PANELS_ABREAST, top + line * HEIGHT))
        top += -(-len(row) // PANELS_ABREAST) * HEIGHT
    source = {"name": "prometheus", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    made = {
        "title": "Strongroom",
        "uid": "strongroom",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(made, indent=1) + "\n"


def _panel(number: int, panel: Panel, left: int, top: int) -> dict[str, Any]:
    title, unit, legend, query = panel
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${prometheus}"},
        "gridPos": {"h": HEIGHT, "w": WIDTH // PANELS_ABREAST, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": unit, "min": None if "Clock" in title else 0}, "overrides": []},
        "targets": [{"refId": "A", "expr": query, "legendFormat": legend}],
    }


def main() -> int:
    """Write both files, or tell which one is not what it would be."""
    made = {RULE: rule(), DASHBOARD: dashboard()}
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text)
        return 0
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what is made of its source: run `make observability`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

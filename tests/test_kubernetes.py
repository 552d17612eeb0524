"""What is applied to a cluster, rendered: valid, closed, and in agreement with the services and the documentation."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from cli import redis_users
from common.config import ServiceSettings, Settings
from gateway.settings import DelivererSettings, GatewaySettings
from vault import freezes_servicer, revocations_servicer, tenants_servicer, trail_servicer, webhooks_servicer
from vault import servicer as vault_servicer
from vault.settings import ProvisionSettings, VaultSettings
from verifier import api, jobs
from verifier.settings import ApiSettings, WorkerSettings

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs/kubernetes.md"
OURS = ("gateway", "vault", "verifier", "worker", "deliverer")
SETTINGS: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "vault": VaultSettings,
    "verifier": ApiSettings,
    "worker": WorkerSettings,
    "deliverer": DelivererSettings,
    "provision": ProvisionSettings,
}
OUTSIDE = {
    "strongroom/front": "your ingress",
    "strongroom/client": "your services",
    "strongroom/redis": "Redis",
    "strongroom/hashicorp-vault": "HashiCorp Vault",
}
# Of the kinds that Kubernetes does not know itself, closed: see scripts/crd_schemas.py.
SCHEMAS = json.loads((ROOT / "tests/schemas/crds.json").read_text())["schemas"]
Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the manifests, is not on this machine")
    made = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(made.stdout))


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return rendered(ROOT / "deploy" / "k8s" / "prod")


def of(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return what each pod is made from, by name."""
    found = of(manifests, "Deployment", "StatefulSet", "Job")
    return {name: one["spec"]["template"] for name, one in found.items()}


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for name, pod in pods(manifests).items():
        yield from ((name, one) for one in pod["spec"]["containers"])


@pytest.mark.bar(58)
@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_every_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(
    manifests: list[Manifest], version: str
) -> None:
    for one in manifests:
        kind = f"{one['apiVersion']}/{one['kind']}"
        if kind in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[kind])
        else:
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("kind", ["ScaledObject", "TriggerAuthentication", "Certificate"])
def test_a_mistyped_field_of_a_kind_of_others_would_be_found(manifests: list[Manifest], kind: str) -> None:
    one = next(iter(of(manifests, kind).values()))
    schema = SCHEMAS[f"{one['apiVersion']}/{kind}"]
    for wrong in ({**one, "spek": {}}, {**one, "spec": {**one["spec"], "pollInterval": 1}}, {**one, "spec": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_a_mistyped_field_would_be_found(manifests: list[Manifest]) -> None:
    pod = of(manifests, "Deployment")["gateway"]
    container = pod["spec"]["template"]["spec"]["containers"][0]
    wrong = {**container, "livenesProbe": container["livenessProbe"]}
    spec = {**pod["spec"]["template"]["spec"], "containers": [wrong]}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**pod, "spec": {**pod["spec"], "template": {**pod["spec"]["template"], "spec": spec}}}, "1.34", strict=True
        )


@pytest.mark.bar(58)
def test_no_secret_is_among_the_manifests(manifests: list[Manifest]) -> None:
    assert of(manifests, "Secret") == {}


@pytest.mark.bar(58)
def test_every_pod_keeps_to_the_restricted_profile_and_has_no_token(manifests: list[Manifest]) -> None:
    assert set(pods(manifests)) == {*OURS, "provision"}
    for name, pod in pods(manifests).items():
        spec, context = pod["spec"], pod["spec"]["securityContext"]
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False), name
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] > 10_000, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec), name
        assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "secret", "configMap"}, name
    for name, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        resources = container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"], name
    labels = of(manifests, "Namespace")["strongroom"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.bar(58)
def test_every_image_is_named_by_its_digest(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        assert re.fullmatch(r"strongroom-(gateway|vault|verifier)@sha256:[0-9a-f]{64}", container["image"]), name


def test_every_process_gets_the_settings_that_it_knows_and_needs(manifests: list[Manifest]) -> None:
    platform = next(one for name, one in of(manifests, "ConfigMap").items() if name.startswith("platform-"))
    for name, container in containers(manifests):
        names = [one["name"] for one in container["env"] if one["name"].startswith("STRONGROOM_")]
        given = {one.removeprefix("STRONGROOM_").lower() for one in names}
        fields = SETTINGS[name].model_fields
        assert len(given) == len(names), name
        assert given <= set(fields), (name, given - set(fields))
        needed = {field for field, one in fields.items() if one.is_required()}
        assert needed <= given, (name, needed - given)
        for one in container["env"]:
            if "valueFrom" in one:
                assert one["valueFrom"]["configMapKeyRef"]["name"] == platform["metadata"]["name"]
                assert one["valueFrom"]["configMapKeyRef"]["key"] in platform["data"], name
        assert {"name": "STRONGROOM_PROFILE", "value": "production"} in container["env"], name


def test_every_file_of_a_setting_lies_on_a_volume(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        mounted = [one["mountPath"] for one in container["volumeMounts"]]
        claimed = {"audit"} if name == "vault" else set()
        volumes = {one["name"] for one in pods(manifests)[name]["spec"]["volumes"]} | claimed
        assert {one["name"] for one in container["volumeMounts"]} == volumes, name
        for one in container["env"]:
            if one.get("value", "").startswith("/"):
                assert str(Path(one["value"]).parent) in mounted, (name, one["name"])


@pytest.mark.bar(58)
def test_every_process_is_watched_as_it_answers(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        if name == "provision":
            continue
        asked = [container[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        if name == "gateway":
            assert [one["httpGet"]["path"] for one in asked] == ["/livez", "/livez", "/readyz"]
        else:
            assert [one["grpc"].get("service", "") for one in asked] == ["live", "live", ""]
            assert {one["grpc"]["port"] for one in asked} == {9090}
        assert {"name": "health", "containerPort": 9090} in container["ports"]
        stops = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pods(manifests)[name]["spec"]["terminationGracePeriodSeconds"] >= stops + 10 + 5


@pytest.mark.bar(58)
def test_a_disruption_takes_one_process_at_most_and_two_of_each_kind_run(manifests: list[Manifest]) -> None:
    budgets, scaled = of(manifests, "PodDisruptionBudget"), of(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    assert set(budgets) == set(scaled) == set(OURS)
    for name in OURS:
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert budgets[name]["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}
        assert scaled[name]["spec"].get("minReplicas", scaled[name]["spec"].get("minReplicaCount", 0)) >= 2
        assert scaled[name]["spec"]["scaleTargetRef"]["name"] == name
        target = of(manifests, "Deployment", "StatefulSet")[name]
        assert target["kind"] == scaled[name]["spec"]["scaleTargetRef"]["kind"]
        assert "replicas" not in target["spec"], "a number here and the scaling would take turns"


@pytest.mark.bar(58)
def test_workers_are_scaled_by_the_jobs_that_somebody_waits_for(manifests: list[Manifest]) -> None:
    spec = of(manifests, "ScaledObject")["worker"]["spec"]
    (trigger,) = spec["triggers"]
    asked = trigger["metadata"]
    # What KEDA's scaler reads; it ignores a name that it does not know.
    known = {"address", "enableTLS", "databaseIndex", "stream", "consumerGroup", "lagCount", "activationLagCount"}
    assert (trigger["type"], set(asked)) == ("redis-streams", known)
    assert all(isinstance(value, str) for value in asked.values())
    assert (asked["stream"], asked["consumerGroup"], asked["enableTLS"]) == (jobs.ASKED, jobs.GROUP, "true")
    assert int(asked["lagCount"]) == WorkerSettings.model_fields["slots"].default
    platform = next(one for name, one in of(manifests, "ConfigMap").items() if name.startswith("platform-"))
    assert asked["address"] == platform["data"]["redis-address"]
    allowed = of(manifests, "TriggerAuthentication")[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert {one["parameter"] for one in allowed} == {"username", "password"}
    assert spec["fallback"]["replicas"] >= spec["minReplicaCount"]


def test_each_process_is_a_user_of_its_own_at_redis_over_tls(manifests: list[Manifest]) -> None:
    found = {}
    for name, container in containers(manifests):
        for one in container["env"]:
            if one["name"] == "STRONGROOM_REDIS_URL":
                found[name] = one["value"]
    assert found == {name: f"rediss://{name}@$(REDIS_ADDRESS)/0$(REDIS_OPTIONS)" for name in set(OURS) - {"vault"}}
    assert set(found) < set(redis_users.users())


def test_certificates_carry_the_names_that_the_services_ask_for(manifests: list[Manifest]) -> None:
    certificates = of(manifests, "Certificate")
    assert set(certificates) == set(OURS)
    domain = ServiceSettings.model_fields["trust_domain"].default
    for name, one in certificates.items():
        assert one["spec"]["uris"] == [f"spiffe://{domain}/ns/strongroom/sa/{name}"]
        assert name in one["spec"]["dnsNames"]
        assert one["spec"]["secretName"] == f"{name}-tls"
    methods = (
        vault_servicer,
        freezes_servicer,
        revocations_servicer,
        tenants_servicer,
        trail_servicer,
        webhooks_servicer,
        api,
    )
    callers = {caller for module in methods for names in module.CALLERS.values() for caller in names}
    assert callers <= {*OURS, "client"}
    for caller in callers - {"client"}:
        assert "client auth" in certificates[caller]["spec"]["usages"]
    for server in ("vault", "verifier"):
        assert "server auth" in certificates[server]["spec"]["usages"]


def _peers(rule: Manifest, side: str, mine: str) -> Iterator[str]:
    for peer in rule.get(side, [{}]):
        if "ipBlock" in peer:
            assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(peer["ipBlock"]["except"])
            yield "receivers" if mine == "deliverer" else "the exchange"
        elif peer and "namespaceSelector" in peer:
            labels = peer["namespaceSelector"]["matchLabels"]
            yield next((OUTSIDE[label] for label in labels if label in OUTSIDE), "names")
        else:
            yield peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] if peer else "anybody"


def _pairs(manifests: list[Manifest], side: str) -> set[tuple[str, str, int]]:
    """Return (from, to, port) of what the policies of one side, `ingress` or `egress`, let through."""
    found = set()
    for policy in of(manifests, "NetworkPolicy").values():
        mine = policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name", "everybody")
        for rule in policy["spec"].get(side, []):
            for peer in _peers(rule, "from" if side == "ingress" else "to", mine):
                ends = (peer, mine) if side == "ingress" else (mine, peer)
                found |= {(*ends, port["port"]) for port in rule["ports"]}
    return found


@pytest.mark.bar(58)
def test_who_may_talk_to_whom_is_what_the_documentation_says_and_both_ends_agree(manifests: list[Manifest]) -> None:
    table = re.findall(r"^\| ([\w ]+) \| ([\w ]+) \| (\d+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    told = {(one, other, int(port)) for one, other, port in table}
    out, into = _pairs(manifests, "egress"), _pairs(manifests, "ingress")
    assert {pair for pair in out if pair[2] != 53} == {pair for pair in told if not pair[0].startswith("your ")}
    assert {pair for pair in into if pair[2] != 9090} == {pair for pair in told if pair[1] in OURS}
    assert {pair for pair in out if pair[2] == 53} == {("everybody", "names", 53)}
    assert {pair for pair in into if pair[2] == 9090} == {("anybody", name, 9090) for name in OURS}


def test_whatever_is_not_listed_is_denied_in_both_directions(manifests: list[Manifest]) -> None:
    spec = of(manifests, "NetworkPolicy")["nobody"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_what_must_be_brought_is_told(manifests: list[Manifest]) -> None:
    made = set(of(manifests, "ConfigMap", "Secret")) | {f"{name}-tls" for name in OURS}
    used = {
        one["name"]
        for each in of(manifests, "TriggerAuthentication").values()
        for one in each["spec"]["secretTargetRef"]
    }
    for pod in pods(manifests).values():
        for volume in pod["spec"]["volumes"]:
            used.add(volume.get("secret", {}).get("secretName") or volume["configMap"]["name"])
    columns = re.findall(r"^\| (?:ConfigMap|Secret) \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert used - made == {name for column in columns for name in re.findall("`(.*?)`", column)}


def test_only_what_asks_the_exchange_leaves_through_the_fixed_addresses(manifests: list[Manifest]) -> None:
    fixed = {name for name, pod in pods(manifests).items() if pod["spec"].get("nodeSelector")}
    assert fixed == {"verifier", "worker"}


@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_traces_add_a_collector_and_one_way_to_it_for_our_processes_and_change_nothing_else(
    manifests: list[Manifest], tmp_path: Path, version: str
) -> None:
    shutil.copytree(ROOT / "deploy" / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "prod" / "kustomization.yaml"
    text = overlay.read_text()
    overlay.write_text(text.replace("components: [release]", "components: [release, ../traces]"))
    traced = rendered(overlay.parent)
    added = [one for one in traced if one not in manifests and one["kind"] not in ("Deployment", "StatefulSet")]
    assert [one["metadata"]["name"] for one in added] == ["traces"]
    kubernetes_validate.validate(added[0], version, strict=True)
    (chosen,) = added[0]["spec"]["podSelector"]["matchExpressions"]
    assert (chosen["operator"], set(chosen["values"])) == ("In", set(OURS))
    before = {name: one["env"] for name, one in containers(manifests)}
    for name, one in containers(traced):
        more = [variable["name"] for variable in one["env"] if variable not in before[name]]
        wanted = [] if name == "provision" else ["STRONGROOM_OTLP_ENDPOINT", "STRONGROOM_OTLP_CA_FILE"]
        assert more == wanted, name
        assert {field.removeprefix("STRONGROOM_").lower() for field in more} <= set(SETTINGS[name].model_fields)

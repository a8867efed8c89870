"""The API of a cluster, as whom a kubeconfig names: what every story needs, and all that most of them do."""

import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import yaml
from lightkube import KubeConfig
from lightkube.config.client_adapter import verify_cluster


class CommandFailed(Exception):
    """A command, mostly kubectl, ended with an error; the text is what it said."""


class KubeApi:
    """kubectl: the program. kubeconfig: a file that names one cluster and one user in its current context."""

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        self._kubectl = kubectl
        self.kubeconfig = kubeconfig

    def command(self, *arguments: str) -> list[str]:
        """How kubectl is called for this cluster."""
        return [str(self._kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; `given` is its standard input. Raises CommandFailed with what it complains of."""
        done = subprocess.run(self.command(*arguments), input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Creates or changes what `manifests` describe, as `kubectl apply` does."""
        return self.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(manifests))

    def trusted(self) -> ssl.SSLContext:
        """Whom to trust as this cluster's API server, and how to introduce oneself where that takes a certificate."""
        config = KubeConfig.from_file(str(self.kubeconfig)).get()
        if config is None or config.user is None:
            raise CommandFailed(f"{self.kubeconfig} names no cluster with a user in its current context")
        return verify_cluster(config.cluster, config.user, config.abs_file)

    def kubeconfig_with(self, token: str) -> dict[str, Any]:
        """What a kubeconfig says for somebody who has nothing but this token."""
        config: dict[str, Any] = json.loads(
            self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
        )
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        return config

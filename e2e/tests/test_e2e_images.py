"""The images run as the charts run them: a user without rights, a read-only root, nothing to build with inside.

They are run by podman, from the storage in `.cache/containers` that `setup/e2e_images.py` built them in.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from wattfleet_e2e.provider import Provider
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = sorted((ROOT / ".cache" / "images").glob("*.tar"))
STORAGE = ROOT / ".cache" / "containers"
OURS = ("tenants", "operator", "gateway", "ui", "agent")
START_S = 60
HARMLESS = ("--read-only", "--tmpfs=/tmp:rw,mode=1777", "--cap-drop=all", "--security-opt=no-new-privileges")

pytestmark = pytest.mark.nodes

INSPECTION = """
import json, os, pwd, shutil, sys
writable = [place for place in ("/", "/app", "/app/lib", "/opt/wattfleet", "/etc") if os.access(place, os.W_OK)]
tools = ("pip", "pip3", "uv", "cc", "gcc", "make", "git", "curl", "node", "bun", "nats-server")
foreign = ("pip", "uv", "pytest", "ensurepip", "hatchling", "ziglang", "nats_server", "wattfleet_tenants.testing")
def there(module):
    try:
        return bool(__import__(module))
    except ImportError:
        return False
print(json.dumps({
    "user": pwd.getpwuid(os.getuid()).pw_name, "ids": [os.getuid(), os.getgid()], "writable": writable,
    "tools": [tool for tool in tools if shutil.which(tool)], "modules": [one for one in foreign if there(one)],
    "of_the_build": [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "HTTP"))],
}))
"""


@pytest.fixture(scope="module", autouse=True)
def _built(provider: Provider) -> None:
    missing = "podman (python setup/podman.py)" if not shutil.which("podman") else ""
    missing = missing or ("the archives of the images (make e2e-images)" if not ARCHIVES else "")
    if missing and provider.name == "local" and "2" in os.environ.get("E2E_TIERS", "").split(","):
        pytest.fail(f"missing: {missing}")
    if missing:
        pytest.skip(f"missing: {missing}")


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "CONTAINERS_CONF": str(STORAGE / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(STORAGE / "storage.conf"),
    }
    command = ["podman", *arguments]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=START_S, check=False
    )


def app_version(chart: str) -> str:
    version = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["appVersion"]
    return str(version)


def image(target: str) -> str:
    return f"docker.io/wattfleet/{target}:{app_version('wattfleet')}"


def run(target: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """What a container of one of our images says, without any network."""
    return podman("run", "--rm", "--network=none", *HARMLESS, *options, image(target), *arguments)


def python(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(target, *arguments, options=("--entrypoint=python",))


def named_by_charts() -> Iterator[str]:
    for chart in ("wattfleet", "wattfleet-agent"):
        values = yaml.safe_load((ROOT / "charts" / chart / "values.yaml").read_text())
        for named in (*values.get("images", {}).values(), values.get("image")):
            if isinstance(named, dict):
                repository = named["repository"].removeprefix("docker.io/")
                yield f"docker.io/{repository}:{named['tag'] or app_version(chart)}"


def test_every_image_that_the_charts_name_is_in_the_archives() -> None:
    held: set[str] = set()
    for archive in ARCHIVES:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            held |= {name for one in json.load(manifest) for name in one["RepoTags"]}
    assert set(named_by_charts()) <= held


@pytest.mark.parametrize("target", OURS)
def test_inside_is_a_user_without_rights_and_nothing_to_build_with(target: str) -> None:
    seen = json.loads(python(target, "-c", INSPECTION).stdout)
    assert seen == {
        "user": "wattfleet",
        "ids": [65532, 65532],
        "writable": [],
        "tools": [],
        "modules": [],
        "of_the_build": [],
    }


@pytest.mark.parametrize("target", OURS)
def test_an_image_says_what_it_is_and_nothing_of_where_it_was_built(target: str) -> None:
    inspected = json.loads(podman("image", "inspect", image(target)).stdout)[0]
    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == app_version("wattfleet")
    assert labels["org.opencontainers.image.title"].startswith("Wattfleet")
    assert inspected["Config"]["User"] == "65532:65532"
    history = " ".join(step["created_by"] for step in inspected["History"])
    assert "UV_DEFAULT_INDEX" not in history
    assert "PIP_INDEX_URL" not in history


@pytest.mark.parametrize(
    ("target", "module"),
    [
        ("tenants", "wattfleet_tenants.writer.__main__"),
        ("operator", "wattfleet_operator.handlers"),
        ("gateway", "wattfleet_gateway.app"),
        ("ui", "reflex"),
        ("agent", "wattfleet_agent.__main__"),
    ],
)
def test_nothing_is_compiled_when_a_program_starts(target: str, module: str) -> None:
    done = python(target, "-v", "-c", f"import {module}")
    said = done.stderr.splitlines()
    assert done.returncode == 0
    assert any(".pyc matches" in line for line in said)
    assert [line for line in said if line.startswith("# code object from") and line.endswith(".py")] == []


@pytest.mark.parametrize(
    ("target", "arguments", "setting"),
    [
        ("tenants", ("wattfleet_tenants.writer",), "WATTFLEET_SHARD"),
        ("tenants", ("wattfleet_tenants.reader",), "WATTFLEET_SHARD"),
        ("tenants", ("wattfleet_tenants.ingest",), "WATTFLEET_SHARD"),
        ("operator", (), "WATTFLEET_NATS_URLS"),
    ],
)
def test_a_program_says_in_one_line_which_setting_is_missing(
    target: str, arguments: tuple[str, ...], setting: str
) -> None:
    done = run(target, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{setting} must be set\n")


def test_the_gateway_says_which_setting_is_missing() -> None:
    done = run("gateway")
    assert done.returncode == 2
    assert done.stderr.startswith("wattfleet_gateway: WATTFLEET_")
    assert done.stderr.count("\n") == 1


def test_the_gateway_finds_the_page_where_it_looks_for_it() -> None:
    look = "import os; print(os.listdir(os.environ['WATTFLEET_UI_FOLDER']))"
    assert "index.html" in python("gateway", "-c", look).stdout


def test_the_agent_tells_what_it_can_do() -> None:
    done = run("agent", "--help")
    assert done.returncode == 0
    assert "replay" in done.stdout


def test_the_pages_backend_answers_with_a_read_only_root_and_stops_when_told() -> None:
    port = free_port()
    addresses = [f"--env={name}=http://127.0.0.1:{port}" for name in ("WATTFLEET_GATEWAY_URL", "WATTFLEET_PUBLIC_URL")]
    here = ("--env=prod", "--backend-only", "--backend-host=127.0.0.1", f"--backend-port={port}")
    options = ("--detach", "--network=host", *HARMLESS, *addresses, "--entrypoint=reflex")
    container = podman("run", *options, image("ui"), "run", *here).stdout.strip()
    try:
        ping = f"http://127.0.0.1:{port}/ping"
        assert wait_until(lambda: _answer(ping), START_S, "the page's backend answers") == '"pong"'
        podman("stop", f"--time={START_S // 2}", container)
        state = json.loads(podman("container", "inspect", container).stdout)[0]["State"]
        assert state["ExitCode"] == 0, podman("logs", container).stdout
    finally:
        podman("rm", "--force", "--time=0", container)


@pytest.mark.parametrize(
    ("server", "asked"),
    [
        ("docker.io/library/nats:2.15.1", "--version"),
        ("docker.io/victoriametrics/victoria-metrics:v1.145.0", "-version"),
        ("docker.io/victoriametrics/vmauth:v1.145.0", "-version"),
    ],
)
def test_servers_of_others_run_as_a_user_without_rights(server: str, asked: str) -> None:
    done = podman("run", "--rm", "--network=none", "--user=65532:65532", *HARMLESS, server, asked)
    assert done.returncode == 0, done.stderr


def _answer(url: str) -> str | None:
    try:
        return httpx.get(url, trust_env=False).raise_for_status().text
    except httpx.HTTPError:
        return None

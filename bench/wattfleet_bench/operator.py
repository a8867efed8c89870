"""How the operator bears thousands of households: `make bench-operator`, on a real API server, etcd and NATS server.

From nothing to Ready; then the operator is killed and has to look at all of them again; then one of all is edited, many
times over. A shard's store and processes are not there: they only say that they are. Results go to
build/bench-operator.json; a missed target is shown and does not make the command fail.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from lightkube import AsyncClient, KubeConfig
from lightkube.types import PatchType
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.operator_parts import broker_server
from wattfleet_operator.adapters.cluster import HOUSEHOLDS
from wattfleet_operator.adapters.cluster_secrets import ClusterVault
from wattfleet_tenants.crd import API_VERSION
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_bench import results
from wattfleet_bench.measure import Meter, disk_bytes, machine
from wattfleet_bench.results import Result, at_most, number
from wattfleet_bench.shard_under_test import running

_DEFINITIONS = Path(__file__).resolve().parents[2] / "charts" / "wattfleet-crds" / "templates"
_OUTPUT = Path("build/bench-operator.json")
_SIZES = (1_000, 10_000)
_NAMESPACE = "wattfleet-system"
_SHARD_CAPACITY = 30_000
_READY = 'wattfleet_operator_resources{kind="Household",ready="true"}'
_LOOKED_AT = 'wattfleet_operator_reconciles_total{kind="Household",outcome="done"}'
_CREATED_AT_ONCE = 50
_EDITS = 20
_LOOK_EVERY_S = 0.5
_EDIT_LOOK_EVERY_S = 0.05
_MOST_REQUESTS = 6.0
_MOST_MEMORY_MB = 400.0
_RECOVERED_WITHIN_S = 120.0
_EDITED_WITHIN_S = 2.0
_TEN_THOUSAND_WITHIN_S = 300.0
_GIVE_UP_AFTER_S = 1200.0


@dataclass(slots=True)
class Fleet:
    """A control plane, a broker, and an operator that can be killed and started again."""

    cluster: ControlPlane
    client: AsyncClient
    operator: Program
    metrics_url: str
    folder: Path

    async def until(self, series: str, count: int, what: str) -> None:
        """Returns when the operator tells of `series` that it is at least `count`."""

        def reached() -> bool:
            text = httpx.get(self.metrics_url, timeout=30, trust_env=False).text
            found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
            return found is not None and float(found[1]) >= count

        await asyncio.to_thread(wait_until, reached, _GIVE_UP_AFTER_S, what, _LOOK_EVERY_S)

    def requests(self) -> int:
        """How many writes and single reads the API server has answered, creations of households left aside."""
        text = self.cluster.kubectl("get", "--raw", "/metrics")
        counted = re.findall(r"^apiserver_request_total{([^}]*)} (\S+)$", text, re.MULTILINE)
        ours = [
            float(count)
            for labels, count in counted
            if re.search(r'resource="(households|secrets)"', labels)
            and re.search(r'verb="(APPLY|PATCH|PUT|GET|POST|DELETE)"', labels)
            and not ('resource="households"' in labels and 'verb="POST"' in labels)
        ]
        return int(sum(ours))


@asynccontextmanager
async def fleet(programs: Path, folder: Path) -> AsyncIterator[Fleet]:
    """Everything, with one shard that is Ready."""
    with ControlPlane(programs, folder) as cluster:
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        cluster.kubectl("apply", "--server-side", "-f", str(_DEFINITIONS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
        client = AsyncClient(config=KubeConfig.from_file(str(cluster.kubeconfig)))
        nats_port, metrics_port = free_port(), free_port()
        server = await broker_server(ClusterVault(client, _NAMESPACE), nats_port, folder)
        metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        argv = [sys.executable, "-m", "wattfleet_e2e.operator_process", _NAMESPACE]
        argv += [f"nats://127.0.0.1:{nats_port}", str(metrics_port)]
        operator = Program(argv, folder / "operator.log", lambda: _answers(metrics_url))
        with running(server, operator):
            shard = {"apiVersion": API_VERSION, "kind": "Shard", "metadata": {"name": "s1"}}
            cluster.apply({**shard, "spec": {"capacity": _SHARD_CAPACITY}})
            cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "shard", "s1")
            yield Fleet(cluster, client, operator, metrics_url, folder)
        await client.close()


async def measure(fleet: Fleet, count: int) -> list[Result]:
    """Births, a restart, edits, at `count` households."""
    name = f"operator.{count}"
    homes = [mint_household_id() for _ in range(count)]
    requests = fleet.requests()
    watched = {"operator": fleet.operator, "apiserver": fleet.cluster.api_server, "etcd": fleet.cluster.etcd}
    with Meter({name: program.pid for name, program in watched.items()}) as meter:
        began_s = time.monotonic()
        await _create(fleet.client, homes)
        created_s = time.monotonic() - began_s
        await fleet.until(_READY, count, "all are Ready")
        born_s = time.monotonic() - began_s
    _require_ready(fleet.cluster, count)
    births = (fleet.requests() - requests) / count
    used = meter.usage["operator"]
    _say(f"{count:,} households: Ready after {born_s:.1f} s")
    fleet.operator.kill()
    began_s = time.monotonic()
    fleet.operator.start()
    await fleet.until(_LOOKED_AT, count, "all are looked at again")
    recovered_s = time.monotonic() - began_s
    _say(f"{count:,} households: looked at again {recovered_s:.1f} s after a kill")
    edits = [await _edit(fleet.client, homes[turn * count // _EDITS]) for turn in range(_EDITS)]
    slowest_s = quantiles(edits, n=20)[-1]
    what = f"{count:,} households, each with a real NATS credential and Secret; the API server beside it"
    return [
        at_most(f"{name}.ready", born_s, "s", _TEN_THOUSAND_WITHIN_S * count / 10_000, what),
        Result(f"{name}.created", created_s, "s", None, None, "of that, until the last one was created"),
        Result(f"{name}.cpu", used.cpu_s, "CPU-s", None, None, "of the operator, until all were Ready"),
        at_most(f"{name}.memory", used.memory.peak / 1e6, "MB", _MOST_MEMORY_MB, "of the operator, peak"),
        at_most(f"{name}.requests", births, "per birth", _MOST_REQUESTS, "of the API server: households and Secrets"),
        at_most(f"{name}.recovered", recovered_s, "s", _RECOVERED_WITHIN_S, "after kill -9, until all are looked at"),
        at_most(f"{name}.edit.p95", slowest_s, "s", _EDITED_WITHIN_S, f"{_EDITS} edits, until the status says so"),
        Result(f"{name}.apiserver.cpu", meter.usage["apiserver"].cpu_s, "CPU-s", None, None, "until all were Ready"),
        Result(f"{name}.etcd.cpu", meter.usage["etcd"].cpu_s, "CPU-s", None, None, "until all were Ready"),
        Result(f"{name}.apiserver.memory", meter.usage["apiserver"].memory.peak / 1e6, "MB", None, None, "peak"),
        Result(f"{name}.etcd", disk_bytes(fleet.folder / "etcd") / 1e6, "MB", None, None, "on disk"),
    ]


async def _create(client: AsyncClient, homes: Sequence[str]) -> None:
    slots = asyncio.Semaphore(_CREATED_AT_ONCE)

    async def one(household: str) -> None:
        async with slots:
            metadata: dict[str, Any] = {"name": household}
            wish = {"apiVersion": API_VERSION, "kind": "Household", "metadata": metadata, "spec": {}}
            await client.create(HOUSEHOLDS.from_dict(wish))

    await asyncio.gather(*[one(household) for household in homes])


async def _edit(client: AsyncClient, household: str) -> float:
    """Seconds from an edit until the status speaks of it."""
    began_s = time.monotonic()
    wish = {"spec": {"deletionPolicy": "Retain"}}
    edited: Any = await client.patch(HOUSEHOLDS, household, wish, patch_type=PatchType.MERGE)
    generation = edited.to_dict()["metadata"]["generation"]

    async with asyncio.timeout(_GIVE_UP_AFTER_S):
        while True:
            found: Any = await client.get(HOUSEHOLDS, household)
            if found.to_dict()["status"]["observedGeneration"] >= generation:
                break
            await asyncio.sleep(_EDIT_LOOK_EVERY_S)
    return time.monotonic() - began_s


def _require_ready(cluster: ControlPlane, count: int) -> None:
    found = json.loads(cluster.kubectl("get", "households", "-o", "json"))["items"]
    ready = sum(
        condition["status"] == "True"
        for one in found
        for condition in one.get("status", {}).get("conditions", [])
        if condition["type"] == "Ready"
    )
    if ready != count:
        raise RuntimeError(f"{ready} of {count} households are Ready")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _say(text: str) -> None:
    print(f"  · {text}", file=sys.stderr, flush=True)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wattfleet-bench-") as folder:
        yield Path(folder)


async def _all(options: argparse.Namespace) -> list[Result]:
    found = []
    for count in options.households or _SIZES:
        with _folder() as folder:
            async with fleet(options.programs, folder) as started:
                found += await measure(started, count)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m wattfleet_bench.operator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--programs", type=Path, required=True, help="the folder that setup/controlplane.py made")
    parser.add_argument(
        "--households", type=int, action="append", help="how many; again for another size (default: 1000 and 10000)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown, for a README")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="where the results go (default: %(default)s)")
    options = parser.parse_args(arguments)
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    conditions = str(machine())
    try:
        found = asyncio.run(_all(options))
    except KeyboardInterrupt:
        _say("stopped: nothing is written, everything that was started is stopped")
        return 130
    results.write(options.output, found, conditions)
    print(f"\n{conditions}\n\n{results.table(found, markdown=options.markdown)}")
    for one in results.missed(found):
        print(f"\nmissed: {one.name} is {number(one.value)} {one.unit}, target {one.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A real VictoriaMetrics, with the flags that the platform gives it, and a look into what it really holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from wattfleet_tenants.server_settings import STORE_ENVIRONMENT, STORE_FLAGS, STORE_FLUSH_S
from wattfleet_tenants.testing.programs import Program, find_program, free_port

FLAGS = (
    *STORE_FLAGS,
    "-retentionPeriod=100y",
    "-memory.allowedBytes=256MB",
    "-search.maxConcurrentRequests=8",
)


@dataclass(frozen=True, slots=True)
class Series:
    """A stored series as exported: labels with `__name__`, values, Unix times in ms."""

    labels: Mapping[str, str]
    values: list[float]
    at_ms: list[int]


class VictoriaMetrics(Program):
    """A single node with a folder of its own. flush_s: how long a sample may be in memory only."""

    def __init__(self, folder: Path, flush_s: int = STORE_FLUSH_S) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [
            find_program("victoria-metrics", "victoria-metrics-prod"),
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={folder / 'store'}",
            f"-inmemoryDataFlushInterval={flush_s}s",
            *FLAGS,
        ]
        super().__init__(argv, folder / "victoria-metrics.log", self._answers)
        self.env = {**self.env, **STORE_ENVIRONMENT}

    def export(self, selector: str) -> list[Series]:
        """Everything stored under `selector`, once what is in memory was made visible."""
        httpx.get(f"{self.url}/internal/force_flush", timeout=10).raise_for_status()
        answer = httpx.get(
            f"{self.url}/api/v1/export", params={"match[]": selector, "reduce_mem_usage": "0"}, timeout=60
        )
        answer.raise_for_status()
        lines = [json.loads(line) for line in answer.text.splitlines()]
        return [Series(line["metric"], line["values"], line["timestamps"]) for line in lines]

    def count(self, selector: str) -> int:
        """How many samples are stored under `selector`."""
        return sum(len(series.values) for series in self.export(selector))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=1).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

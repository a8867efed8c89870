"""What a load says of itself: one process's report, all processes' reports added up, and both as text and JSON.

Reports travel from a worker to the load as JSON lines; all counts are since the start of the process.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from wattfleet_bench.load.tally import Latencies


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a load, or of one of its processes, at the Unix time `at_s`.

    waiting: messages in outboxes that are not acknowledged. not_recorded: minutes that an outbox did not take.
    latency_buckets: of `Latencies`. sent_by_second: messages by Unix time in s; only in a process's last report.
    memory_bytes, memory_before_bytes: resident, now and before the first agent started. finished: no more will come.
    """

    at_s: float = 0.0
    agents: int = 0
    started: int = 0
    connected: int = 0
    recorded: int = 0
    not_recorded: int = 0
    sent: int = 0
    acknowledged: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    latency_buckets: Mapping[int, int] = field(default_factory=dict)
    sent_by_second: Mapping[int, int] = field(default_factory=dict)
    cpu_s: float = 0.0
    memory_bytes: int = 0
    memory_before_bytes: int = 0
    finished: bool = False

    def as_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str | bytes) -> "Report":
        """The report in a line of JSON; raises ValueError or TypeError when it is none."""
        fields: dict[str, Any] = json.loads(line)
        for name in ("latency_buckets", "sent_by_second"):
            fields[name] = {int(key): count for key, count in fields.get(name, {}).items()}
        return cls(**fields)

    @property
    def latencies(self) -> Latencies:
        """How long acknowledgements took."""
        return Latencies(self.latency_buckets)

    @property
    def refusals(self) -> int:
        """All refusals, whatever the reason."""
        return sum(self.refused.values())


def total(reports: Iterable[Report]) -> Report:
    """All of `reports` added up; its time is the latest, and it is finished when all are."""
    all_of_them = list(reports)
    refused: Counter[str] = Counter()
    latency_buckets: Counter[int] = Counter()
    sent_by_second: Counter[int] = Counter()
    for report in all_of_them:
        refused.update(report.refused)
        latency_buckets.update(report.latency_buckets)
        sent_by_second.update(report.sent_by_second)
    return Report(
        at_s=max((report.at_s for report in all_of_them), default=0.0),
        agents=sum(report.agents for report in all_of_them),
        started=sum(report.started for report in all_of_them),
        connected=sum(report.connected for report in all_of_them),
        recorded=sum(report.recorded for report in all_of_them),
        not_recorded=sum(report.not_recorded for report in all_of_them),
        sent=sum(report.sent for report in all_of_them),
        acknowledged=sum(report.acknowledged for report in all_of_them),
        refused=dict(refused),
        waiting=sum(report.waiting for report in all_of_them),
        latency_buckets=dict(latency_buckets),
        sent_by_second=dict(sent_by_second),
        cpu_s=sum(report.cpu_s for report in all_of_them),
        memory_bytes=sum(report.memory_bytes for report in all_of_them),
        memory_before_bytes=sum(report.memory_before_bytes for report in all_of_them),
        finished=all(report.finished for report in all_of_them),
    )


def progress_line(now: Report, before: Report, elapsed_s: float) -> str:
    """One line for a person: the state `now`, and the rate since `before`."""
    passed_s = now.at_s - before.at_s
    rate = (now.sent - before.sent) / passed_s if passed_s > 0 else 0.0
    return (
        f"{elapsed_s:6.0f} s  agents {now.started:,}/{now.agents:,} connected {now.connected:,} | "
        f"recorded {now.recorded:,} sent {now.sent:,} acknowledged {now.acknowledged:,} "
        f"refused {now.refusals:,} waiting {now.waiting:,} | {rate:,.1f} msg/s | ack {latency_text(now.latencies)}"
    )


def latency_text(latencies: Latencies) -> str:
    """p50, p95 and p99 in ms."""
    if not latencies.count:
        return "none yet"
    shown = ((percent, latencies.percentile_s(percent) or 0.0) for percent in (50, 95, 99))
    return " ".join(f"p{percent} {latency_s * 1000:.1f}" for percent, latency_s in shown) + " ms"

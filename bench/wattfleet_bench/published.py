"""What the published project measured, on its own machines, as far as it says so (11 readings a message).

For ratios on one machine in one run there is the baseline, which builds the published design anew.
"""

from dataclasses import dataclass

from wattfleet_bench.results import Result, number


@dataclass(frozen=True, slots=True)
class Published:
    """One published number, and the result of ours (its name) that answers the same question."""

    what: str
    value: float
    unit: str
    ours: str
    scale: float = 1.0


NUMBERS = (
    Published("broker, default data", 51_000, "msg/s", "broker.core.rate"),
    Published("broker, own data", 46_000, "msg/s", "broker.core.rate"),
    Published("broker, manual acknowledgement", 21_000, "msg/s", "ingest.fsync_before_ack.rate"),
    Published("whole application, automatic acknowledgement", 20_000, "msg/s", "pipeline.60k.rate"),
    Published("whole application, manual acknowledgement (5,000 to 6,000)", 5_500, "msg/s", "pipeline.60k.rate"),
    Published("database, really stored", 61_000, "samples/s", "pipeline.60k.rate", 30),
    Published("message of 11 readings", 470, "B", "message.11_readings.bytes"),
)


def beside(results: list[Result]) -> str:
    """A Markdown table of the published numbers and ours; what was not measured in this run is left out."""
    ours = {one.name: one.value for one in results}
    lines = ["| what | published | here | unit | result |", "|---|---:|---:|---|---|"]
    lines += [
        f"| {one.what} | {number(one.value)} | {number(ours[one.ours] * one.scale)} | {one.unit} | {one.ours} |"
        for one in NUMBERS
        if one.ours in ours
    ]
    return "\n".join(lines) if len(lines) > 2 else ""

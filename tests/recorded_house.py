"""The recorded house of the tests, summed straight from its file, without any code of the product."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

FILE = Path(__file__).parents[2] / "shared" / "data" / "uci-household-2006-12.csv.gz"
TIME_ZONE = "Europe/Paris"
SOCKETS = ("Kitchen", "Laundry", "Water heater and air conditioning", "Everything else")


def minutes() -> Iterator[tuple[datetime, tuple[float, float, float, float]]]:
    """Per row, its local time and the Wh of the three sub-meters and of what none of them measures."""
    with gzip.open(FILE, "rt") as file:
        for row in csv.DictReader(file, delimiter=";"):
            at = datetime.strptime(f"{row['Date']} {row['Time']}", "%d/%m/%Y %H:%M:%S")
            first, second, third = (float(row[f"Sub_metering_{n}"]) for n in (1, 2, 3))
            whole = float(row["Global_active_power"]) * 1000 / 60
            yield at, (first, second, third, whole - first - second - third)


def energy_by_day() -> dict[date, tuple[float, ...]]:
    """Per local day, the Wh of each of the four."""
    sums: dict[date, list[float]] = defaultdict(lambda: [0.0] * 4)
    for at, energies_wh in minutes():
        for index, energy_wh in enumerate(energies_wh):
            sums[at.date()][index] += energy_wh
    return {day: tuple(values) for day, values in sums.items()}

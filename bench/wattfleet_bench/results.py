"""What was measured: a number with its unit, the target it was held against, and the conditions it holds under.

Every benchmark writes its results the same way, into build/<its name>.json, and prints them as the same table.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number.

    name: dotted, the same in every run ("pipeline.60k.rate"). target: ">= 50000" as text, None when there is none;
    met: whether it was, None likewise. conditions: what the number holds for, in a few words.
    """

    name: str
    value: float
    unit: str
    target: str | None = None
    met: bool | None = None
    conditions: str = ""


def at_least(name: str, value: float, unit: str, least: float, conditions: str = "") -> Result:
    """A result that should be `least` or more."""
    return Result(name, value, unit, f">= {number(least)}", value >= least, conditions)


def at_most(name: str, value: float, unit: str, most: float, conditions: str = "") -> Result:
    """A result that should be `most` or less."""
    return Result(name, value, unit, f"<= {number(most)}", value <= most, conditions)


def spread(values: Sequence[float]) -> str:
    """Of repeats, what to add to a median: how many there were, the least and the most."""
    return f"median of {len(values)} ({number(min(values))} to {number(max(values))})"


def middle(values: Sequence[float]) -> float:
    """The median; raises StatisticsError when there are none."""
    return float(median(values))


def write(path: Path, results: Iterable[Result], machine: str = "") -> None:
    """Writes `results` as a JSON list of {name, value, unit, target, met, conditions}, the whole file or nothing.

    machine: added to the conditions of each. Raises ValueError for a value that is no finite number.
    """
    rows = [asdict(one) for one in results]
    for row in rows:
        if not math.isfinite(row["value"]):
            raise ValueError(f"{row['name']} is {row['value']}: nothing was measured")
        row["conditions"] = "; ".join(part for part in (row["conditions"], machine) if part)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    os.replace(draft, path)  # noqa: PTH105 (as atomic, and says so)


def table(results: Iterable[Result], *, markdown: bool = False) -> str:
    """`results` as lines of text for the terminal, or as a Markdown table for a README."""
    head = ("what", "measured", "unit", "target", "met", "conditions")
    rows = [head, *[_row(one) for one in results]]
    if markdown:
        return _markdown(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    return "\n".join(_padded(row, widths) for row in rows)


def missed(results: Iterable[Result]) -> list[Result]:
    """Those that did not meet their target."""
    return [one for one in results if one.met is False]


def number(value: float) -> str:
    """A number for people: three digits that matter, thousands set apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _row(one: Result) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[one.met]
    return one.name, number(one.value), one.unit, one.target or "", met, one.conditions


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    name, value, *rest = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
    return "  ".join([name, value.strip().rjust(len(value)), *rest, row[-1]]).rstrip()


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(text.replace("|", "/") for text in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|---:|---|---|---|---|", *lines[1:]])

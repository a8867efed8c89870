"""What is killed when: a plan of rounds that a seed repeats."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from random import Random

_AGAIN_SHARE = 1 / 3
_AGAIN_WITHIN_S = 1.5


class Victim(StrEnum):
    """What a round kills, in the order of the rounds."""

    AGENTS = "agents"
    INGEST = "ingest"
    BROKER = "nats-server"
    WRITER = "writer"
    STORE = "VictoriaMetrics"
    ALL = "all at once"


@dataclass(frozen=True, slots=True)
class Round:
    """pause_s: how long all run before the kill. again_after_s: how long after the kill the same is killed once more,
    None for not at all. choice: from 0 to 1, of the agents to kill."""

    number: int
    victim: Victim
    pause_s: float
    again_after_s: float | None
    choice: float


def schedule(rounds: int, seed: int, pause_s: tuple[float, float]) -> list[Round]:
    """`rounds` rounds, each after a pause from the least to the most of `pause_s`; the same for the same seed."""
    dice = Random(seed)  # noqa: S311 (of moments, no secret)
    return [_round(number, victim, dice, pause_s) for number, victim in enumerate(_in_turn(rounds), 1)]


def _in_turn(rounds: int) -> Iterator[Victim]:
    return islice(cycle(Victim), rounds)


def _round(number: int, victim: Victim, dice: Random, pause_s: tuple[float, float]) -> Round:
    pause, again, after_s = dice.uniform(*pause_s), dice.random() < _AGAIN_SHARE, dice.uniform(0.0, _AGAIN_WITHIN_S)
    return Round(number, victim, pause, after_s if again else None, dice.random())

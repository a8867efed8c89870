"""Chance that comes out the same every time: seeded by names and dates, never by the moment.

Only `Random.random` is used, directly or through the functions here, because its sequence for a seed is guaranteed to
stay the same between Python versions.
"""

from random import Random


class Dice:
    """All of one appliance's chance; `name` tells it from every other appliance of every other home."""

    def __init__(self, name: str) -> None:
        self._name = name

    def roll(self, *occasion: object) -> Random:
        """The random numbers of one occasion, such as a date."""
        return Random(f"{self._name}/{'/'.join(map(str, occasion))}")  # noqa: S311 (appliances, not secrets)


def between(random: Random, low: float, high: float) -> float:
    """A number from `low` to `high`, all equally likely."""
    return low + (high - low) * random.random()


def happens(random: Random, probability: float) -> bool:
    """Whether something of that probability (0..1) happens."""
    return random.random() < probability

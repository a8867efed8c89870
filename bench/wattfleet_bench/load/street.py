"""The sensors of a load: homes along one street, alike enough to be cheap and different enough to be told apart.

A simulated home of 30 sockets takes 60 ms of CPU and 1.5 MB for each day, and 1.2 ms for each second that is read. A
street computes one such home for all: each house has its sockets in another order and draws a few watts more than its
neighbour, so no two of the first 9,973 send the same numbers, and a reading that strays into another home is noticed.
"""

from collections.abc import Callable

from wattfleet_agent.sensors import Sample
from wattfleet_agent.simulated.home import SimulatedHome

_HOME = "farm"
"""It has all there is: what feeds in is negative, and one socket in ten does not answer at times."""
_DIFFERENT_HOUSES = 9_973
_READ_EVERY_S = 5


class Street:
    """The home that all houses vary, with `sockets` sockets (1 to 64, else ValueError). clock: Unix time in s."""

    def __init__(self, sockets: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._home = SimulatedHome(_HOME, sockets, clock)
        self._second = -1
        self._sample = Sample(())

    def read(self) -> Sample:
        """What it drew at the last whole five seconds; computed once for all houses that ask within them."""
        second = int(self._clock()) // _READ_EVERY_S * _READ_EVERY_S
        if second != self._second:
            self._second, self._sample = second, self._home.second(second * 1000)
        return self._sample


class House:
    """House `number` of a street, as a sensor."""

    def __init__(self, street: Street, number: int) -> None:
        self._street = street
        self._number = number
        self._more_w = number % _DIFFERENT_HOUSES / 10

    def read(self) -> Sample:
        """The street's sample, its sockets rotated by the house's number and a little higher."""
        sample = self._street.read()
        first = self._number % len(sample.power_w)
        rotated = sample.power_w[first:] + sample.power_w[:first]
        more_w = self._more_w
        return Sample(tuple(None if power is None else power + more_w for power in rotated), sample.temperature_c)

"""A socket is one measured outlet or circuit of a household, known by its number.

Numbers start at 1; the value at index `i` of a message belongs to socket `i + 1`. Names live with the people, in the
gateway's database: the data plane knows numbers only.
"""

from typing import NewType

SocketNumber = NewType("SocketNumber", int)

MAX_SOCKETS = 64
"""More measured outlets than the largest home needs; it bounds a message to about 400 bytes."""


def parse_socket_number(value: int) -> SocketNumber:
    """The socket number that `value` is; raises ValueError outside 1..64."""
    if not 1 <= value <= MAX_SOCKETS:
        raise ValueError(f"{value} is not a socket number: it must be from 1 to {MAX_SOCKETS}")
    return SocketNumber(value)

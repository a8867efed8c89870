"""The compiled library."""

import ctypes
from pathlib import Path

_PATH = Path(__file__).with_name("libwattfleet.so")


def library() -> ctypes.CDLL:
    """Raises ImportError when it was not compiled, or for another kind of machine."""
    try:
        return ctypes.CDLL(str(_PATH))
    except OSError as error:
        raise ImportError(
            f"{_PATH.name} is not compiled for this machine; installing wattfleet-native does it"
        ) from error

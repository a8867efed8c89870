"""The compiled library. Its name says from which sources it was made: another one's functions are not called."""

import ctypes
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent
SOURCES = sorted(_FOLDER.glob("*.c"))
PATH = _FOLDER / f"libwattfleet-{sha256(b''.join(file.read_bytes() for file in SOURCES)).hexdigest()[:16]}.so"


def library() -> ctypes.CDLL:
    """Raises ImportError when it was not compiled from the sources that are here, or for another kind of machine."""
    try:
        return ctypes.CDLL(str(PATH))
    except OSError as error:
        raise ImportError(f"{PATH.name} is not there for this machine: install wattfleet-native anew") from error

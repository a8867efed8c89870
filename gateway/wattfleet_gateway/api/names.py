"""Names that people give."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def _printable(name: str) -> str:
    # No line ends, and none of the invisible characters that turn a text around.
    if not name.isprintable():
        raise ValueError("a name has printable characters only")
    return name


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60), AfterValidator(_printable)]

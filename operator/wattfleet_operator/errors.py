"""The two ways in which a reconcile can end before its wish is fulfilled.

Use cases raise them, adapters translate every outside error into one of them, and the loop alone turns them into
conditions. `reason` is a stable word in CamelCase that admins and tests may rely on; the message is for people.
"""


class NotYet(Exception):
    """The world is not there yet; looking again in `retry_in_s` seconds is worth it, without anybody's help."""

    def __init__(self, reason: str, message: str = "", retry_in_s: float = 2.0) -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.message = message
        self.retry_in_s = retry_in_s


class Refused(Exception):
    """The wish cannot be fulfilled as it stands; somebody has to change the resource or the platform."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.message = message

"""The page itself: the exported files of the UI, each with the cache life that fits it.

Files whose names carry a hash of their content never change, so browsers keep them for a year; everything else is asked
for again each time. Addresses inside the app (`/h/…`) are no files: a browser that navigates to one gets the app.
"""

from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

POLICY_FILE = "content-security-policy.txt"
"""The export says itself which inline scripts it needs."""
_HASHED_FOLDER = "assets/"
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
# Addresses that are answered by other parts, and never by the app.
_NOT_OURS = ("api", "auth", "_event")
_SHELLS = ("404.html", "index.html")


class Ui(StaticFiles):
    """Serves the static export in `folder`. policy: its Content-Security-Policy."""

    def __init__(self, folder: Path, policy: str) -> None:
        super().__init__(directory=folder, html=True)
        self._shell = next((name for name in _SHELLS if (folder / name).is_file()), None)
        self._policy = policy

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file at `path`, or the app for an address inside it; raises HTTPException 404 for anything else."""
        if path == POLICY_FILE:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        response = await self._file(path, scope)
        hashed = path.startswith(_HASHED_FOLDER)
        response.headers["Cache-Control"] = _FOREVER if hashed else _ASK_AGAIN
        if response.headers.get("content-type", "").startswith("text/html"):
            response.headers["Content-Security-Policy"] = self._policy
        return response

    async def _file(self, path: str, scope: Scope) -> Response:
        if self._shell and _is_address_in_the_app(path, scope):
            full_path, stat = self.lookup_path(f"{path}.html")
            if stat is None:
                full_path, stat = self.lookup_path(f"{path}/index.html")
            if stat is None:
                full_path, stat = self.lookup_path(self._shell)
            if stat is not None:
                return self.file_response(full_path, stat, scope)
        return await super().get_response(path, scope)


def page_policy(folder: Path, sign_out_origin: str) -> str:
    """The export's Content-Security-Policy; forms go to us, and on to the provider at `sign_out_origin`."""
    file = folder / POLICY_FILE
    policy = file.read_text().strip() if file.is_file() else "default-src 'self'; frame-ancestors 'none'"
    return f"{policy.rstrip(';')}; form-action 'self' {sign_out_origin}"


def _is_address_in_the_app(path: str, scope: Scope) -> bool:
    accepted = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if path in ("", ".") or path.partition("/")[0] in _NOT_OURS:
        return False
    return b"text/html" in accepted and "." not in Path(path).name

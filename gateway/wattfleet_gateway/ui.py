"""The page itself: the exported files of the UI, each with the cache life that fits it.

Files whose names carry a hash of their content never change, so browsers keep them for a year; everything else is asked
for again each time. Addresses inside the app (`/h/…`) are no files: a browser that navigates to one gets the app. The
export brings a compressed twin of each file, a sixth of its size, which is sent to whoever takes it.
"""

from http import HTTPStatus
from pathlib import Path
from stat import S_ISREG

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

POLICY_FILE = "content-security-policy.txt"
"""The export says itself which inline scripts it needs."""
_HASHED_FOLDER = "assets/"
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_SHELLS = ("__spa-fallback.html", "404.html", "index.html")
# Addresses that are answered by other parts, and never by the app.
_NOT_OURS = ("api", "auth", "_event")


class Ui(StaticFiles):
    """Serves the static export in `folder`. policy: its Content-Security-Policy."""

    def __init__(self, folder: Path, policy: str) -> None:
        super().__init__(directory=folder)
        self._policy = policy
        self._shell = next((name for name in _SHELLS if self._is_file(name)), None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file at `path`, or the app for an address inside it; raises HTTPException 404 for anything else."""
        headers = Headers(scope=scope)
        name = self._file_for("" if path == "." else path, headers)
        if name is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        compressed = "gzip" in headers.get("accept-encoding", "") and self._is_file(f"{name}.gz")
        response = await super().get_response(f"{name}.gz" if compressed else name, scope)
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = _FOREVER if name.startswith(_HASHED_FOLDER) else _ASK_AGAIN
        if name.endswith(".html"):
            response.headers["Content-Security-Policy"] = self._policy
        return response

    def _file_for(self, path: str, headers: Headers) -> str | None:
        if path.partition("/")[0] in _NOT_OURS or path == POLICY_FILE:
            return None
        for name in (path, f"{path}.html" if path else "index.html"):
            if self._is_file(name):
                return name
        in_the_app = "text/html" in headers.get("accept", "") and "." not in Path(path).name
        return self._shell if in_the_app else None

    def _is_file(self, name: str) -> bool:
        try:
            _, found = self.lookup_path(name)
        except (OSError, ValueError):  # a name that no file can have
            return False
        return found is not None and S_ISREG(found.st_mode)


def page_policy(folder: Path, sign_out_origin: str) -> str:
    """The export's Content-Security-Policy; forms go to us, and on to the provider at `sign_out_origin`."""
    file = folder / POLICY_FILE
    policy = file.read_text().strip() if file.is_file() else "default-src 'self'; frame-ancestors 'none'"
    return f"{policy.rstrip(';')}; form-action 'self' {sign_out_origin}"

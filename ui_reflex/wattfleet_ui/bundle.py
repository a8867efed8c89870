"""What our build adds to Reflex's: its own font, one origin, and a content security policy that fits the very files.

Reflex writes the backend's address, port included, into the bundle. Ours must work at any address that the gateway is
reached by, so the finished files are made to ask the browser where they came from. The inline scripts of the exported
pages are then hashed into `content-security-policy.txt`, which the gateway sends as it is.
"""

import base64
import hashlib
import re
from pathlib import Path

from reflex.plugins import Plugin

# A name that no network answers (RFC 2606), so that a forgotten marker fails at once instead of calling somebody.
PAGE_ORIGIN_MARKER = "http://page-origin.invalid"
_MARKED_URL = re.compile(r"""(["'`])(?P<scheme>http|ws)://page-origin\.invalid(?P<path>/[\w/-]*)\1""")
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
POLICY_FILE = "content-security-policy.txt"


class SameOriginBundle(Plugin):
    """The build step that Reflex calls: fonts before, addresses and policy after."""

    def get_frontend_dependencies(self, **_context: object) -> list[str]:
        """The font comes from npm into the bundle: no page load tells a font host who is at home."""
        return ["@fontsource-variable/inter@5.3.0"]

    def get_stylesheet_paths(self, **_context: object) -> list[str]:
        """The font's own style sheet, which names its files."""
        return ["@fontsource-variable/inter/index.css"]

    def post_build(self, *, static_dir: Path, **_context: object) -> None:
        """Rewrite the addresses in the finished bundle and write the policy beside it."""
        if not sum(_rewrite(file) for file in static_dir.rglob("*.js")):
            raise RuntimeError("Reflex's bundle no longer names its backend as expected: see PAGE_ORIGIN_MARKER")
        pages = [page.read_text() for page in sorted(static_dir.rglob("*.html"))]
        (static_dir / POLICY_FILE).write_text(content_security_policy(pages) + "\n")


def same_origin(javascript: str) -> str:
    """The script with every marked address replaced by one that the browser completes with the page's origin.

    While pages are rendered ahead there is no browser: then any address does, as long as it parses.
    """

    def expression(found: re.Match[str]) -> str:
        swap = '.replace("http","ws")' if found["scheme"] == "ws" else ""
        return f'((globalThis.location?.origin??"http://localhost"){swap}+"{found["path"]}")'

    return _MARKED_URL.sub(expression, javascript)


def content_security_policy(pages: list[str]) -> str:
    """The strictest policy under which these pages work: own files, and the hashed inline scripts, only.

    Styles stay open to inline ones, because React writes `style` attributes and Emotion `<style>` elements.
    No `form-action`: signing out is a form, and its answer may lead on to the identity provider.
    """
    scripts = {script for page in pages for script in _INLINE_SCRIPT.findall(page)}
    hashes = sorted(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; font-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


def _rewrite(file: Path) -> bool:
    before = file.read_text()
    after = same_origin(before)
    if "page-origin.invalid" in after:
        raise RuntimeError(f"{file.name}: an address of the page's origin is written in an unknown way")
    if after == before:
        return False
    file.write_text(after)
    return True

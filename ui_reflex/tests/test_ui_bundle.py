"""What our build does to Reflex's bundle."""

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_ui.bundle import POLICY_FILE, SameOriginBundle, content_security_policy, same_origin


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_the_page_asks_the_browser_where_its_socket_is(quote: str) -> None:
    before = f"var e={{EVENT:{quote}ws://page-origin.invalid/_event{quote},T:1}};"
    assert same_origin(before) == (
        'var e={EVENT:((globalThis.location?.origin??"http://localhost").replace("http","ws")+"/_event"),T:1};'
    )


@given(st.text(max_size=200))
def test_other_scripts_stay_as_they_are(script: str) -> None:
    assert same_origin(script) == script


def test_the_policy_allows_the_pages_own_inline_scripts_and_no_other() -> None:
    page = '<script src="/a.js"></script><script>boot()</script><script type="module">go()</script>'
    policy = content_security_policy([page, page])
    for script in ("boot()", "go()"):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert policy.count(f"'sha256-{digest}'") == 1
    [scripts] = [part for part in policy.split("; ") if part.startswith("script-src")]
    assert "unsafe" not in scripts
    assert scripts.count("sha256") == 2


def test_a_build_whose_addresses_look_different_fails_loudly(tmp_path: Path) -> None:
    (tmp_path / "env.js").write_text('const a = "ws:" + "//page-origin.invalid/_event"')
    with pytest.raises(RuntimeError, match="unknown way"):
        SameOriginBundle().post_build(static_dir=tmp_path)
    (tmp_path / "env.js").write_text("const a = 1")
    with pytest.raises(RuntimeError, match="no longer names"):
        SameOriginBundle().post_build(static_dir=tmp_path)


def test_a_build_writes_the_policy_beside_the_pages(tmp_path: Path) -> None:
    (tmp_path / "env.js").write_text('export default {EVENT:"ws://page-origin.invalid/_event"}')
    (tmp_path / "index.html").write_text("<script>boot()</script>")
    SameOriginBundle().post_build(static_dir=tmp_path)
    assert "'sha256-" in (tmp_path / POLICY_FILE).read_text()
    assert "page-origin" not in (tmp_path / "env.js").read_text()
